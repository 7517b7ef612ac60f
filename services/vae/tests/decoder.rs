//! The decoder gives diffusers' frames (tools/reference/vae.py).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{ops::ControlFlow, path::Path};

use cogwheel_diffusion::geometry::Tiles;
use cogwheel_engine::{CancellationToken, EngineError, Provider, Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_vae::{Decoded, Decoder, VaeError};
use cogwheel_weights::Weights;

/// Every STRIDE-th value of the frames is in the reference file.
const STRIDE: usize = 31;

/// Against a peak of 1.0. fp32 rounding in another order gives 131 dB and more on these checkpoints; a wrong frame,
/// statistic or cache gives below 60.
const MIN_PSNR: f64 = 120.0;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");

fn reference() -> Weights {
    Weights::open_file(&Path::new(ROOT).join("tests/data/vae.safetensors")).unwrap()
}

fn decoder(name: &str) -> Decoder {
    let checkpoint =
        Checkpoint::open(&Path::new(ROOT).join("tests/data/checkpoints").join(name)).unwrap();
    let options =
        SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() };
    Decoder::load(&checkpoint, &Runtime::load().unwrap(), &options).unwrap()
}

/// All frames, and the number of frames in each chunk.
fn decode(decoder: &mut Decoder, latents: &Tensor) -> (Vec<f32>, Vec<usize>) {
    let (frames, chunks, tiles) = decode_in(decoder, latents, None);
    assert_eq!(tiles, []);
    (frames, chunks)
}

/// All frames, the number of frames in each chunk, and what was told of tiles.
fn decode_in(
    decoder: &mut Decoder,
    latents: &Tensor,
    tiles: Option<Tiles>,
) -> (Vec<f32>, Vec<usize>, Vec<(usize, usize)>) {
    let (mut frames, mut chunks, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let on_decoded = |decoded| {
        let (first, chunk) = match decoded {
            Decoded::Tiles { tiles, num_tiles } => {
                told.push((tiles, num_tiles));
                return ControlFlow::Continue(());
            }
            Decoded::Frames { first, frames } => (first, frames),
        };
        assert_eq!(first, chunks.iter().sum::<usize>());
        assert_eq!(chunk.shape()[1..], [latents.shape()[2] * 8, latents.shape()[3] * 8, 3]);
        chunks.push(chunk.shape()[0]);
        frames.extend_from_slice(&chunk.as_f32().unwrap());
        ControlFlow::Continue(())
    };
    decoder.decode(latents, tiles, on_decoded, &CancellationToken::new()).unwrap();
    (frames, chunks, told)
}

fn psnr(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    -10.0 * (squares / found.len() as f64).log10()
}

fn check(name: &str) {
    let (reference, mut decoder) = (reference(), decoder(name));
    for (latent_frames, chunks) in [
        (1, vec![1]),
        (2, vec![8]),
        (3, vec![9]),
        (4, vec![8, 8]),
        (5, vec![9, 8]),
        (13, vec![9, 8, 8, 8, 8, 8]),
    ] {
        for size in ["2x3", "6x4"] {
            let key = format!("{name}.{latent_frames}.{size}");
            let latents = reference.tensor(&format!("{key}.latents")).unwrap();
            let expected = reference.tensor(&format!("{key}.frames")).unwrap();
            let (frames, found_chunks) = decode(&mut decoder, &latents);
            assert_eq!(found_chunks, chunks, "{key}");
            let sample: Vec<f32> = frames.into_iter().step_by(STRIDE).collect();
            let psnr = psnr(&sample, &expected.as_f32().unwrap());
            println!("{key}: {psnr:.1} dB");
            assert!(psnr >= MIN_PSNR, "{key}: {psnr} dB");
        }
    }
}

#[test]
fn frames_are_those_of_diffusers_for_the_sincos_checkpoint() {
    check("sincos");
}

#[test]
fn frames_are_those_of_diffusers_for_the_rope_checkpoint() {
    check("rope");
}

/// Every so many-th value of frames decoded in tiles.
const TILED_STRIDE: usize = 499;

#[test]
fn frames_decoded_in_tiles_are_those_of_diffusers() {
    let reference = reference();
    for name in ["sincos", "rope"] {
        let mut decoder = decoder(name);
        for (tile, case, chunks, num_tiles) in [
            ([6, 5], "6x5.3.11x9", vec![9], 9),
            ([6, 5], "6x5.4.12x4", vec![8, 8], 3),
            ([6, 5], "6x5.5.3x7", vec![9, 8], 2),
            ([30, 45], "30x45.3.32x46", vec![9], 4),
        ] {
            let key = format!("{name}.tiled.{case}");
            let latents = reference.tensor(&format!("{key}.latents")).unwrap();
            let expected = reference.tensor(&format!("{key}.frames")).unwrap();
            let (frames, found_chunks, told) =
                decode_in(&mut decoder, &latents, Some(Tiles::of(tile)));
            assert_eq!(found_chunks, chunks, "{key}");
            assert_eq!(told, (0..=num_tiles).map(|done| (done, num_tiles)).collect::<Vec<_>>());
            let sample: Vec<f32> = frames.iter().copied().step_by(TILED_STRIDE).collect();
            let psnr_found = psnr(&sample, &expected.as_f32().unwrap());
            println!("{key}: {psnr_found:.1} dB");
            assert!(psnr_found >= MIN_PSNR, "{key}: {psnr_found} dB");
            // Another decoding, of the same picture.
            let (whole, _) = decode(&mut decoder, &latents);
            assert!(whole != frames);
        }
    }
}

#[test]
fn latents_that_fit_one_tile_are_decoded_whole() {
    let (reference, mut decoder) = (reference(), decoder("sincos"));
    let latents = reference.tensor("sincos.5.6x4.latents").unwrap();
    let (whole, _) = decode(&mut decoder, &latents);
    let (tiled, _, told) = decode_in(&mut decoder, &latents, Some(Tiles::of([6, 4])));
    assert!(told.is_empty() && tiled == whole);
}

#[test]
fn any_size_of_tile_gives_frames_of_the_clips_size() {
    let (reference, mut decoder) = (reference(), decoder("sincos"));
    let latents = reference.tensor("sincos.2.6x4.latents").unwrap();
    for tile in [[1, 1], [2, 3], [3, 2], [4, 4], [5, 3]] {
        let (frames, chunks, told) = decode_in(&mut decoder, &latents, Some(Tiles::of(tile)));
        assert_eq!((frames.len(), chunks), (8 * 48 * 32 * 3, vec![8]), "{tile:?}");
        assert!(told.len() > 2 && frames.iter().all(|value| (0.0..=1.0).contains(value)));
    }
}

#[test]
fn decoding_in_tiles_ends_between_tiles_where_the_caller_breaks_off_or_cancels() {
    let (reference, mut decoder) = (reference(), decoder("sincos"));
    let latents = reference.tensor("sincos.tiled.6x5.3.11x9.latents").unwrap();
    let mut last = 0;
    let broken = decoder.decode(
        &latents,
        Some(Tiles::of([6, 5])),
        |decoded| match decoded {
            Decoded::Tiles { tiles: 2, .. } => ControlFlow::Break(()),
            Decoded::Tiles { tiles, .. } => {
                last = tiles;
                ControlFlow::Continue(())
            }
            Decoded::Frames { .. } => panic!("no frames of a clip that is not decoded"),
        },
        &CancellationToken::new(),
    );
    broken.unwrap();
    assert_eq!(last, 1);
    let token = CancellationToken::new();
    let cancelled = decoder.decode(
        &latents,
        Some(Tiles::of([6, 5])),
        |_| {
            token.cancel();
            ControlFlow::Continue(())
        },
        &token,
    );
    assert!(matches!(cancelled, Err(VaeError::Engine(EngineError::Cancelled))));
}

#[test]
fn a_clip_does_not_depend_on_what_was_decoded_before() {
    let (reference, mut decoder) = (reference(), decoder("sincos"));
    let latents = reference.tensor("sincos.5.6x4.latents").unwrap();
    let (first, _) = decode(&mut decoder, &latents);
    decode(&mut decoder, &reference.tensor("sincos.4.2x3.latents").unwrap());
    let (again, _) = decode(&mut decoder, &latents);
    assert_eq!(first, again);
}

#[test]
fn decoding_ends_where_the_caller_breaks_off_or_cancels() {
    let (reference, mut decoder) = (reference(), decoder("sincos"));
    let latents = reference.tensor("sincos.13.2x3.latents").unwrap();
    let token = CancellationToken::new();
    let mut chunks = 0;
    let broken = decoder.decode(
        &latents,
        None,
        |_| {
            chunks += 1;
            if chunks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        &token,
    );
    broken.unwrap();
    assert_eq!(chunks, 2);

    let cancelled = decoder.decode(
        &latents,
        None,
        |_| {
            token.cancel();
            ControlFlow::Continue(())
        },
        &token,
    );
    assert!(matches!(cancelled, Err(VaeError::Engine(EngineError::Cancelled))));
}

#[test]
fn latents_of_another_form_are_refused() {
    let mut decoder = decoder("sincos");
    let mut check = |latents: Tensor, found: &str| {
        let error = decoder
            .decode(&latents, None, |_| panic!("decoded"), &CancellationToken::new())
            .unwrap_err();
        let expected = "latents: expected F32 [frames, 4, height, width], none of them 0, found ";
        assert_eq!(error.to_string(), format!("{expected}{found}"));
    };
    check(Tensor::from_f32([1, 5, 2, 3], vec![0.0; 30]).unwrap(), "F32 [1, 5, 2, 3]");
    check(Tensor::from_f32([0, 4, 2, 3], vec![]).unwrap(), "F32 [0, 4, 2, 3]");
    check(Tensor::from_f32([4, 2, 3], vec![0.0; 24]).unwrap(), "F32 [4, 2, 3]");
    check(Tensor::new(DType::F16, [1, 4, 1, 1], vec![0; 8]).unwrap(), "F16 [1, 4, 1, 1]");
}

#[test]
fn every_family_can_be_run_once_with_the_least_there_is() {
    for checkpoint in ["sincos", "rope", "patches", "image", "image15", "control"] {
        let mut decoder = decoder(checkpoint);
        decoder.warm_up().unwrap_or_else(|error| panic!("{checkpoint}: {error}"));
        assert!(decoder.time_inside() > std::time::Duration::ZERO, "{checkpoint}");
    }
}
