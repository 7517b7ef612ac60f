use super::*;

/// Every token is once in the chunks, at the place that the sequences name, and in a chunk of its
/// kind.
fn check(batch: usize, text: usize, video: usize) -> (usize, usize) {
    let chunks = Chunks::new(batch, text, video).unwrap();
    let rows = chunks.video_chunks.shape()[1];
    assert_eq!(chunks.text_chunks.shape()[1], rows);
    let mut places = chunks.video_chunks.as_i64().unwrap().into_owned();
    places.extend_from_slice(&chunks.text_chunks.as_i64().unwrap());
    let kinds = chunks.chunk_kinds.as_i64().unwrap();
    assert_eq!(kinds.len() * rows, places.len());
    let length = text + video;
    for (token, &row) in chunks.sequences.as_i64().unwrap().iter().enumerate() {
        assert_eq!(places[row as usize], token as i64, "{batch} x ({text} + {video})");
        assert_eq!(kinds[row as usize / rows], i64::from(token % length < text));
    }
    assert!(places.iter().all(|&place| (0..(batch * length) as i64).contains(&place)));
    (rows, places.len())
}

#[test]
fn every_token_is_found_again() {
    for batch in 1..=3 {
        for text in [1, 16, 226, 500] {
            for video in [1, 36, 600, 1000] {
                check(batch, text, video);
            }
        }
    }
}

#[test]
fn the_published_sizes_repeat_few_rows() {
    assert_eq!(check(2, 226, 1920), (480, 2 * 2146 + 28));
    let (rows, computed) = check(2, 226, 17_550);
    assert!((FEWEST_ROWS..=MOST_ROWS).contains(&rows));
    assert!(computed <= 2 * 17_776 * 101 / 100, "{computed}");
    let (_, computed) = check(1, 226, 17_550);
    assert!(computed <= 17_776 * 101 / 100, "{computed}");
}

#[test]
fn sizes_beyond_what_can_be_addressed_are_refused() {
    assert!(matches!(Chunks::new(usize::MAX, 226, 1920), Err(TensorError::Overflow { .. })));
    assert!(matches!(Chunks::new(1, usize::MAX, 1920), Err(TensorError::Overflow { .. })));
}
