use proptest::prelude::*;

use super::*;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; data]);
    file
}

fn parse(file: &[u8]) -> Result<BTreeMap<String, Entry>, WeightsError> {
    super::parse(Path::new("x.safetensors"), file).map(|header| header.tensors)
}

fn check_error(header: &str, data: usize, expected: &str) {
    assert_eq!(parse(&file(header, data)).unwrap_err().to_string(), expected);
}

const TWO: &str = r#"{"__metadata__":{"format":"pt"},
    "a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}"#;

#[test]
fn tensors_lie_where_the_header_says() {
    let file = file(TWO, 10);
    let tensors = parse(&file).unwrap();
    assert_eq!(tensors["a"].shape, [2, 1]);
    assert_eq!(tensors["b"].dtype, DType::BF16);
    assert_eq!(tensors["b"].range, file.len() - 2..file.len());
}

#[test]
fn a_file_cut_short_names_the_tensor_that_is_cut() {
    check_error(
        TWO,
        9,
        "x.safetensors: tensor 'b': expected data up to offset 10, found a file cut short at 9",
    );
}

#[test]
fn bytes_that_belong_to_no_tensor_are_refused() {
    let found = file(TWO, 11).len();
    let expected = format!(
        "x.safetensors: expected {} bytes as the header says, found {found} bytes",
        found - 1
    );
    check_error(TWO, 11, &expected);
    check_error(
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
        2,
        "x.safetensors: tensor 'a': expected data from offset 0, where the tensor before it ends, found offset 1",
    );
}

#[test]
fn overlapping_tensors_are_refused() {
    check_error(
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        12,
        "x.safetensors: tensor 'b': expected data from offset 8, where the tensor before it ends, found offset 4",
    );
}

#[test]
fn a_shape_at_odds_with_its_offsets_is_refused() {
    check_error(
        r#"{"a":{"dtype":"F16","shape":[3],"data_offsets":[0,8]}}"#,
        8,
        "x.safetensors: tensor 'a': expected 6 bytes for shape [3] of F16, found offsets 0 to 8",
    );
    check_error(
        r#"{"a":{"dtype":"F16","shape":[],"data_offsets":[8,0]}}"#,
        8,
        "x.safetensors: tensor 'a': expected data from offset 0, where the tensor before it ends, found offset 8",
    );
}

#[test]
fn a_shape_of_very_many_dimensions_is_not_repeated_whole() {
    let ones = vec!["1"; 100_000].join(",");
    check_error(
        &format!(r#"{{"a":{{"dtype":"U8","shape":[{ones}],"data_offsets":[0,8]}}}}"#),
        8,
        "x.safetensors: tensor 'a': expected 1 bytes for shape [1, 1, 1, 1, 1, 1, 1, 1] and 99992 more dimensions of U8, found offsets 0 to 8",
    );
}

#[test]
fn a_tensor_named_twice_is_refused() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let error = parse(&file(header, 1)).unwrap_err().to_string();
    assert!(error.contains("tensor 'a' stands there twice"), "{error}");
}

#[test]
fn dtypes_that_nothing_computes_with_are_named() {
    for dtype in ["F64", "F8_E4M3", "F8_E5M2", "BOOL", "F4"] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,8]}}}}"#);
        check_error(
            &header,
            8,
            &format!("x.safetensors: tensor 'a': dtype {dtype} is not supported, only {SUPPORTED}"),
        );
    }
}

#[test]
fn lengths_that_no_file_has_take_no_memory() {
    for length in [u64::MAX, u64::MAX - 7, 1 << 62, LARGEST_HEADER as u64 + 1, 1000] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend(b"{}");
        assert!(parse(&file).is_err());
    }
    for shape in ["[18446744073709551615]", "[4294967296,4294967296]", "[1152921504606846976]"] {
        for end in ["8", "18446744073709551615", "4611686018427387904"] {
            let header =
                format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
            assert!(parse(&file(&header, 8)).is_err());
        }
    }
}

#[test]
fn offsets_that_add_up_to_more_than_can_be_addressed_are_refused() {
    // Each tensor is sound for itself; together they end at 2^64 - 8, so adding the header's length wraps around.
    let size = 1u64 << 61;
    let tensors: Vec<String> = (0..8u64)
        .map(|i| {
            let (start, length) = (i * size, if i == 7 { size - 8 } else { size });
            format!(
                r#""{i}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{start},{}]}}"#,
                start + length
            )
        })
        .collect();
    assert!(parse(&file(&format!("{{{}}}", tensors.join(",")), 8)).is_err());
}

#[test]
fn text_that_is_no_object_of_tensors_is_refused() {
    for header in
        ["", "[]", "{", "null", "{}", r#"{"a":1}"#, r#"{"__metadata__":{"a":1}}"#, "{\"a\":\u{0}}"]
    {
        assert!(parse(&file(header, 0)).is_err(), "{header}");
    }
    assert!(parse(&[]).is_err());
    assert!(parse(&[0; 7]).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let mut framed = (bytes.len() as u64).to_le_bytes().to_vec();
        framed.extend(&bytes);
        let _ = parse(&framed);
    }

    #[test]
    fn what_mutations_leave_sound_the_reference_reader_accepts_too(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 0usize..4,
    ) {
        let mut file = file(TWO, 10);
        for (at, byte) in edits {
            let at = at.index(file.len());
            // Mostly digits, which keep the JSON whole and change what it says.
            file[at] = if file[at].is_ascii_digit() { b'0' + byte % 10 } else { byte };
        }
        file.truncate(file.len() - cut);
        if let Ok(tensors) = parse(&file) {
            let reference = safetensors::SafeTensors::deserialize(&file).unwrap();
            prop_assert_eq!(reference.len(), tensors.len());
            for (name, entry) in tensors {
                let view = reference.tensor(&name).unwrap();
                prop_assert_eq!(view.shape(), &entry.shape[..]);
                prop_assert_eq!(view.data(), &file[entry.range]);
            }
        }
    }

    #[test]
    fn random_shapes_and_offsets_never_panic(
        tensors in proptest::collection::vec((any::<[u64; 2]>(), any::<u64>(), any::<u64>()), 1..4),
    ) {
        let tensors: Vec<String> = tensors.iter().enumerate().map(|(i, (shape, start, end))| {
            format!(r#""{i}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
        }).collect();
        let refused = parse(&file(&format!("{{{}}}", tensors.join(",")), 16)).is_err();
        prop_assert!(refused);
    }
}
