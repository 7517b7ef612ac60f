use cogwheel_graph::{GraphBuilder, GraphError, Value};
use cogwheel_tensor::{DType, Tensor, TensorError};

use super::{
    causal_conv::{CACHED_FRAMES, LEAD},
    resolution::frame_count,
};

/// How often the encoder halves and the decoder doubles time: its `temporal_compression_ratio` is always 4.
pub(super) const TIME_LEVELS: usize = 2;

/// The decoder's inputs that say what comes from which frame, i64 vectors, for a chunk of `latent_frames` (at least 1)
/// that is or is not the first of its video.
///
/// `lead` repeats the first frame in front of every causal convolution where there is no cache. For each doubling of
/// time `frames.N` says which frame before it a frame is, and `latent_frames.N` from which of the latents its norms
/// take scale and shift.
///
/// # Errors
/// [`TensorError::Overflow`] for more frames than can be addressed.
pub fn decode_inputs(
    latent_frames: usize,
    is_first: bool,
) -> Result<Vec<(String, Tensor)>, TensorError> {
    let lead = if is_first { vec![0; CACHED_FRAMES] } else { Vec::new() };
    let mut inputs = vec![(LEAD.to_owned(), indices(lead)?)];
    let mut frames = latent_frames;
    for level in 1..=TIME_LEVELS {
        let doubled = doubled(frames);
        frames = doubled.len();
        inputs.push((frames_name(level), indices(doubled)?));
        inputs.push((latent_frames_name(level), indices(stretched(latent_frames, frames))?));
    }
    Ok(inputs)
}

/// The encoder's inputs that say what comes from which frame, i64 vectors, for a chunk of `frames` (at least 1) that is or
/// is not the first of its video.
///
/// `lead` as in [`decode_inputs`]. For each halving of time `earlier.N` and `later.N` say which two frames before it a frame
/// is the mean of: neighbours, but the first of an odd number stands alone, as in diffusers' `CogVideoXDownsample3D`.
///
/// # Errors
/// [`TensorError::Overflow`] for more frames than can be addressed.
pub fn encode_inputs(frames: usize, is_first: bool) -> Result<Vec<(String, Tensor)>, TensorError> {
    let lead = if is_first { vec![0; CACHED_FRAMES] } else { Vec::new() };
    let mut inputs = vec![(LEAD.to_owned(), indices(lead)?)];
    let mut frames = frames;
    for level in 1..=TIME_LEVELS {
        let single = frames % 2;
        let earlier: Vec<usize> = (0..single).chain((single..frames).step_by(2)).collect();
        let later = (0..single).chain((single..frames).step_by(2).map(|frame| frame + 1)).collect();
        frames = earlier.len();
        inputs.push((earlier_name(level), indices(earlier)?));
        inputs.push((later_name(level), indices(later)?));
    }
    Ok(inputs)
}

pub(super) fn earlier_name(level: usize) -> String {
    format!("earlier.{level}")
}

pub(super) fn later_name(level: usize) -> String {
    format!("later.{level}")
}

/// Declares the input that says which frame before a doubling of time a frame is.
pub(super) fn frames_input(g: &mut GraphBuilder, level: usize) -> Result<Value, GraphError> {
    g.input(&frames_name(level), DType::I64, &[frame_count(level)])
}

fn frames_name(level: usize) -> String {
    format!("frames.{level}")
}

pub(super) fn latent_frames_name(level: usize) -> String {
    format!("latent_frames.{level}")
}

/// Frames with time doubled, as diffusers' `CogVideoXUpsample3D`: every frame twice, but the first of an odd number
/// once.
fn doubled(frames: usize) -> Vec<usize> {
    let single = frames % 2;
    (0..single).chain((single..frames).flat_map(|frame| [frame, frame])).collect()
}

/// `to` frames from `from` by repeating them, as diffusers' `CogVideoXSpatialNorm3D`: evenly, but the first of an odd
/// number stands alone.
fn stretched(from: usize, to: usize) -> Vec<usize> {
    let single = if to > 1 { to % 2 } else { 0 };
    let rest = |frame| single + (frame - single) * (from - single) / (to - single);
    (0..single).chain((single..to).map(rest)).collect()
}

fn indices(frames: Vec<usize>) -> Result<Tensor, TensorError> {
    Tensor::from_i64([frames.len()], frames.into_iter().map(|frame| frame as i64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(latent_frames: usize, expected: [&[i64]; 4]) {
        let inputs = decode_inputs(latent_frames, true).unwrap();
        let names: Vec<_> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["lead", "frames.1", "latent_frames.1", "frames.2", "latent_frames.2"]);
        for ((name, tensor), expected) in inputs[1..].iter().zip(expected) {
            assert_eq!(tensor.as_i64().unwrap().as_ref(), expected, "{name}");
        }
    }

    #[test]
    fn an_even_number_of_latent_frames_is_repeated_evenly() {
        check(
            2,
            [&[0, 0, 1, 1], &[0, 0, 1, 1], &[0, 0, 1, 1, 2, 2, 3, 3], &[0, 0, 0, 0, 1, 1, 1, 1]],
        );
    }

    #[test]
    fn the_first_of_an_odd_number_stands_alone() {
        check(
            3,
            [
                &[0, 1, 1, 2, 2],
                &[0, 1, 1, 2, 2],
                &[0, 1, 1, 2, 2, 3, 3, 4, 4],
                &[0, 1, 1, 1, 1, 2, 2, 2, 2],
            ],
        );
        check(1, [&[0], &[0], &[0], &[0]]);
    }

    #[test]
    fn only_the_first_chunk_repeats_its_first_frame() {
        let lead = |is_first| decode_inputs(2, is_first).unwrap().remove(0).1;
        assert_eq!(lead(true).as_i64().unwrap().as_ref(), [0, 0]);
        assert_eq!(lead(false).shape(), [0]);
    }
}
