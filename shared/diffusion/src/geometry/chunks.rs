//! How the encoder and the decoder cut time.

use std::ops::Range;

use super::{DECODE_BATCH, ENCODE_BATCH};

/// The latent frames that are decoded together: two at a time, a left-over one goes into the first chunk.
///
/// As `AutoencoderKLCogVideoX._decode`. The cut matters: group norms take their statistics over a chunk.
pub fn decode_chunks(latent_frames: usize) -> Vec<Range<usize>> {
    let remainder = latent_frames % DECODE_BATCH;
    let first = (DECODE_BATCH + remainder).min(latent_frames);
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < latent_frames {
        let end = if start == 0 { first } else { start + DECODE_BATCH };
        chunks.push(start..end);
        start = end;
    }
    chunks
}

/// The frames that are encoded together: eight at a time, left-over ones go into the first chunk.
///
/// As `AutoencoderKLCogVideoX._encode`. The cut matters as it does to the decoder.
pub fn encode_chunks(frames: usize) -> Vec<Range<usize>> {
    let first = (ENCODE_BATCH + frames % ENCODE_BATCH).min(frames);
    let rest = (first..frames).step_by(ENCODE_BATCH);
    let chunks = std::iter::once(0..first).chain(rest.map(|start| start..start + ENCODE_BATCH));
    chunks.filter(|chunk| !chunk.is_empty()).collect()
}

/// How many frames the decoder gives for so many latent frames, chunk by chunk.
pub fn decoded_frames(latent_frames: usize, temporal_compression: usize) -> usize {
    // All chunks but the first are even.
    match latent_frames % DECODE_BATCH {
        0 => latent_frames.saturating_mul(temporal_compression),
        _ => (latent_frames - 1).saturating_mul(temporal_compression).saturating_add(1),
    }
}

/// How many frames the decoder gives for a chunk of so many latent frames: every latent frame becomes
/// `temporal_compression` frames, but the first one of an odd number a single frame.
pub fn frames_of_chunk(latent_frames: usize, temporal_compression: usize) -> usize {
    match latent_frames % 2 {
        0 => latent_frames * temporal_compression,
        _ => (latent_frames - 1) * temporal_compression + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_encoded_by_eight_with_the_left_over_ones_first() {
        let ends = |frames| -> Vec<usize> {
            let chunks = encode_chunks(frames);
            let starts = chunks.iter().map(|chunk| chunk.start);
            let before = std::iter::once(0).chain(chunks.iter().map(|chunk| chunk.end));
            assert!(starts.eq(before.take(chunks.len())), "{chunks:?}");
            chunks.iter().map(|chunk| chunk.end).collect()
        };
        for (frames, expected) in [
            (0, &[][..]),
            (1, &[1]),
            (7, &[7]),
            (8, &[8]),
            (9, &[9]),
            (17, &[9, 17]),
            (49, &[9, 17, 25, 33, 41, 49]),
        ] {
            assert_eq!(ends(frames), expected);
        }
    }

    #[test]
    fn the_frames_of_all_chunks_are_those_of_the_clip() {
        for latent_frames in 1..20 {
            let chunks = decode_chunks(latent_frames);
            let frames: usize = chunks.iter().map(|chunk| frames_of_chunk(chunk.len(), 4)).sum();
            assert_eq!(decoded_frames(latent_frames, 4), frames, "{latent_frames}");
        }
        assert_eq!(decoded_frames(usize::MAX, 4), usize::MAX);
    }
}
