//! Decoding takes the memory of a chunk, however long the clip. One test, since the memory is the process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{fs, ops::ControlFlow, path::Path};

use cogwheel_engine::{CancellationToken, Provider, Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_tensor::Tensor;
use cogwheel_vae::Decoder;

const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/checkpoints/rope");

/// Rows and columns of the latents: a chunk of these takes far more than anything else in the process.
const SIDES: [usize; 2] = [24, 32];

/// Of the process, in bytes.
fn memory(kind: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<usize>().unwrap() * 1024
}

/// How much memory a decoder that has run on nothing yet takes for a clip.
fn peak_of(latent_frames: usize) -> usize {
    let checkpoint = Checkpoint::open(Path::new(CHECKPOINT)).unwrap();
    let options =
        SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() };
    let mut decoder = Decoder::load(&checkpoint, &Runtime::load().unwrap(), &options).unwrap();
    let shape = [latent_frames, checkpoint.vae.latent_channels, SIDES[0], SIDES[1]];
    let values = (0..shape.iter().product()).map(|i: usize| (i % 97) as f32 / 48.0 - 1.0);
    let latents = Tensor::from_f32(shape, values.collect()).unwrap();

    let before = memory("VmRSS");
    // Has the kernel begin anew with the highest resident size.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let on_decoded = |_| ControlFlow::Continue(());
    decoder.decode(&latents, None, on_decoded, &CancellationToken::new()).unwrap();
    memory("VmHWM").saturating_sub(before)
}

#[test]
fn eighty_one_frames_take_the_memory_of_seventeen() {
    let [short, long] = [5, 21].map(peak_of);
    assert!(short > 50 << 20, "{short} bytes are too few to tell");
    assert!(long * 100 <= short * 105, "{long} bytes for 81 frames, {short} for 17");
}
