use std::{collections::BTreeMap, fmt, ops::Range, path::Path};

use cogwheel_tensor::DType;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use crate::WeightsError;

/// Bytes of the length field at the start of a file.
const LENGTH: usize = 8;

/// The format allows 100 MB. Published files stay far below 1 MB, those of trainers that note every tag of their pictures
/// below 8; and reading takes up to eleven bytes of memory for each.
const LARGEST_HEADER: usize = 8 << 20;

/// Dimensions of a shape that a message says; a header can state millions.
const SHOWN: usize = 8;

const SUPPORTED: &str = "F32, F16, BF16, I64, I32, U8 and I8";

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    /// Where its bytes lie in the file.
    pub(crate) range: Range<usize>,
}

/// The header's JSON object. Read by hand rather than by `flatten`, which would hold all of it a second time in an
/// untyped form many times the size of its text, and would let the last of two tensors of one name win.
struct RawHeader {
    tensors: BTreeMap<String, RawEntry>,
    metadata: BTreeMap<String, String>,
}

/// What a file's header says, checked.
#[derive(Debug)]
pub(crate) struct Header {
    /// The tensors, by name.
    pub(crate) tensors: BTreeMap<String, Entry>,
    /// The texts under `__metadata__`.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        // Free text of whoever wrote the file; only its form is checked.
                        metadata = map
                            .next_value::<Option<BTreeMap<String, String>>>()?
                            .unwrap_or_default();
                    } else if let Some((name, _)) = tensors.get_key_value(&name) {
                        return Err(A::Error::custom(format_args!(
                            "tensor '{name}' stands there twice"
                        )));
                    } else {
                        tensors.insert(name, map.next_value()?);
                    }
                }
                Ok(RawHeader { tensors, metadata })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// Reads the header of a whole file. Every range returned lies within `file`, holds exactly its shape, and no two
/// overlap; as the format prescribes, the tensors cover the data without a gap.
///
/// Takes memory in proportion to the header's text alone: no length or shape in it is used to allocate.
///
/// # Errors
/// A [`WeightsError`] that says what was expected and found.
pub(crate) fn parse(path: &Path, file: &[u8]) -> Result<Header, WeightsError> {
    let data_start = data_start(path, file)?;
    let raw: RawHeader = serde_json::from_slice(&file[LENGTH..data_start])
        .map_err(|error| malformed(path, "a header of JSON", error))?;
    let mut by_offset: Vec<(String, RawEntry)> = raw.tensors.into_iter().collect();
    by_offset.sort_by_key(|(_, entry)| entry.data_offsets);

    let mut entries = BTreeMap::new();
    let mut next = 0;
    for (name, raw) in by_offset {
        let entry = check(path, &name, raw, next, data_start, file.len())?;
        next = entry.range.end - data_start;
        entries.insert(name, entry);
    }
    if data_start + next != file.len() {
        let expected = format!("{} bytes as the header says", data_start + next);
        return Err(malformed(path, expected, format_args!("{} bytes", file.len())));
    }
    if entries.is_empty() {
        return Err(malformed(path, "at least one tensor", "none"));
    }
    Ok(Header { tensors: entries, metadata: raw.metadata })
}

fn data_start(path: &Path, file: &[u8]) -> Result<usize, WeightsError> {
    let Some(length) = file.first_chunk::<LENGTH>() else {
        let found = format!("{} bytes", file.len());
        return Err(malformed(path, "safetensors of at least 8 bytes", found));
    };
    let length = u64::from_le_bytes(*length);
    let Some(length) = usize::try_from(length).ok().filter(|&length| length <= LARGEST_HEADER)
    else {
        let expected = format!("safetensors with a header of at most {LARGEST_HEADER} bytes");
        return Err(malformed(path, expected, format_args!("a length of {length}")));
    };
    let start = LENGTH + length;
    if start > file.len() {
        let expected = format!("a header of {length} bytes");
        return Err(malformed(path, expected, format_args!("a file of {} bytes", file.len())));
    }
    Ok(start)
}

fn check(
    path: &Path,
    name: &str,
    raw: RawEntry,
    next: usize,
    data_start: usize,
    file_length: usize,
) -> Result<Entry, WeightsError> {
    let error = |expected: String, found: String| WeightsError::MalformedTensor {
        path: path.to_path_buf(),
        tensor: name.to_owned(),
        expected,
        found,
    };
    let dtype = dtype(&raw.dtype).ok_or_else(|| WeightsError::UnsupportedDType {
        path: path.to_path_buf(),
        tensor: name.to_owned(),
        supported: SUPPORTED,
        found: raw.dtype.clone(),
    })?;
    let (start, end) = raw.data_offsets;
    let size = raw.shape.iter().try_fold(dtype.size(), |size, &dim| size.checked_mul(dim));
    if start != next {
        let expected = format!("data from offset {next}, where the tensor before it ends");
        return Err(error(expected, format!("offset {start}")));
    }
    if end < start || size != Some(end - start) {
        let size =
            size.map_or("more bytes than can be addressed".to_owned(), |s| format!("{s} bytes"));
        let expected = format!("{size} for shape {} of {dtype}", shown(&raw.shape));
        return Err(error(expected, format!("offsets {start} to {end}")));
    }
    let data_length = file_length - data_start;
    if end > data_length {
        let expected = format!("data up to offset {end}");
        return Err(error(expected, format!("a file cut short at {data_length}")));
    }
    Ok(Entry { dtype, shape: raw.shape, range: data_start + start..data_start + end })
}

fn shown(shape: &[usize]) -> String {
    match shape.get(SHOWN..) {
        None | Some([]) => format!("{shape:?}"),
        Some(rest) => format!("{:?} and {} more dimensions", &shape[..SHOWN], rest.len()),
    }
}

fn dtype(name: &str) -> Option<DType> {
    [DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8, DType::I8]
        .into_iter()
        .find(|dtype| dtype.name() == name)
}

fn malformed(path: &Path, expected: impl fmt::Display, found: impl fmt::Display) -> WeightsError {
    WeightsError::Malformed {
        path: path.to_path_buf(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests;
