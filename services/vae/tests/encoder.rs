//! The encoder gives diffusers' latents (tools/reference/vae.py).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{ops::ControlFlow, path::Path};

use cogwheel_diffusion::{geometry::Tiles, noise::Generator};
use cogwheel_engine::{CancellationToken, EngineError, Provider, Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_vae::{Encoded, Encoder, Posterior, VaeError};
use cogwheel_weights::Weights;

/// Of the root of the mean square, over that of the reference.
const MAX_ERROR: f64 = 2e-6;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");

fn reference(name: &str) -> Tensor {
    let file = Path::new(ROOT).join("tests/data/vae.safetensors");
    Weights::open_file(&file).unwrap().tensor(name).unwrap()
}

fn encoder(name: &str) -> Encoder {
    let checkpoint =
        Checkpoint::open(&Path::new(ROOT).join("tests/data/checkpoints").join(name)).unwrap();
    let options =
        SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() };
    Encoder::load(&checkpoint, &Runtime::load().unwrap(), &options).unwrap()
}

/// The frames that the reference encodes.
fn frames(count: usize, height: usize, width: usize) -> Tensor {
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 1008.0;
    let values = (0..count * height * width * 3).map(|i| value(i) as f32).collect();
    Tensor::from_f32([count, height, width, 3], values).unwrap()
}

/// The distribution, and how many frames were told to be done.
fn encode(encoder: &mut Encoder, clip: &Tensor) -> (Posterior, Vec<usize>) {
    let mut told = Vec::new();
    let on_encoded = |encoded| {
        let Encoded::Frames { frames, num_frames } = encoded else { panic!("expected no tiles") };
        assert_eq!(num_frames, clip.shape()[0]);
        told.push(frames);
        ControlFlow::Continue(())
    };
    let token = CancellationToken::new();
    let posterior = encoder.encode(clip, None, on_encoded, &token).unwrap();
    (posterior.unwrap(), told)
}

#[track_caller]
fn check_moments(key: &str, posterior: &Posterior) {
    let expected = reference(key);
    let [latent_frames, channels, rows, columns] = posterior.shape();
    assert_eq!(expected.shape(), [latent_frames, 2 * channels, rows, columns]);
    let half = channels * rows * columns;
    let values = expected.as_f32().unwrap();
    let (mut means, mut log_variances) = (Vec::new(), Vec::new());
    for frame in values.chunks_exact(2 * half) {
        means.extend_from_slice(&frame[..half]);
        log_variances.extend_from_slice(&frame[half..]);
    }
    check(&format!("{key} means"), &posterior.mode().unwrap().as_f32().unwrap(), &means);
    check(&format!("{key} log variances"), posterior.log_variances(), &log_variances);
}

#[track_caller]
fn check(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let error = squares(&mut pairs.map(|(a, b)| f64::from(a - b)))
        / squares(&mut expected.iter().map(|v| f64::from(*v)));
    println!("{what}: {:.1e}", error.sqrt());
    assert!(error.sqrt() <= MAX_ERROR, "{what}: {:.1e}", error.sqrt());
}

#[test]
fn latents_are_those_of_diffusers() {
    for name in ["sincos", "rope"] {
        let mut encoder = encoder(name);
        for (count, chunks) in [
            (1, vec![1]),
            (2, vec![2]),
            (8, vec![8]),
            (9, vec![9]),
            (10, vec![10]),
            (17, vec![9, 17]),
            (25, vec![9, 17, 25]),
        ] {
            for (height, width) in [(16, 24), (48, 32)] {
                let (posterior, told) = encode(&mut encoder, &frames(count, height, width));
                assert_eq!(told, chunks);
                check_moments(&format!("{name}.encoded.{count}.{height}x{width}"), &posterior);
            }
        }
    }
}

#[test]
fn tiles_are_blended_as_diffusers_blends_them() {
    let tiles = Tiles::of([6, 5]);
    for name in ["sincos", "rope"] {
        let mut encoder = encoder(name);
        for (count, height, width, tile_count) in [(9, 88, 72, 9), (17, 96, 32, 3), (1, 24, 56, 2)]
        {
            let mut told = Vec::new();
            let on_encoded = |encoded| {
                let Encoded::Tiles { tiles, num_tiles } = encoded else { panic!("no tile") };
                assert_eq!(num_tiles, tile_count);
                told.push(tiles);
                ControlFlow::Continue(())
            };
            let clip = frames(count, height, width);
            let token = CancellationToken::new();
            let posterior = encoder.encode(&clip, Some(tiles), on_encoded, &token).unwrap();
            assert_eq!(told, (0..=tile_count).collect::<Vec<_>>());
            let key = format!("{name}.encoded.tiled.6x5.{count}.{height}x{width}");
            check_moments(&key, &posterior.unwrap());
        }
    }
}

#[test]
fn bytes_are_encoded_as_the_brightness_that_they_stand_for() {
    let bytes: Vec<u8> = (0..9 * 16 * 24 * 3).map(|i| (i * 7919 % 256) as u8).collect();
    let brightness = bytes.iter().map(|byte| f32::from(*byte) / 255.0).collect();
    let shape = [9, 16, 24, 3];
    let mut encoder = encoder("sincos");
    let of_bytes = encode(&mut encoder, &Tensor::new(DType::U8, shape, bytes).unwrap()).0;
    let of_brightness = encode(&mut encoder, &Tensor::from_f32(shape, brightness).unwrap()).0;
    assert_eq!(of_bytes.mode().unwrap(), of_brightness.mode().unwrap());
}

#[test]
fn latents_drawn_with_a_seed_are_those_that_diffusers_draws() {
    for name in ["sincos", "rope"] {
        let (posterior, _) = encode(&mut encoder(name), &frames(9, 16, 24));
        let noise = Generator::new(7).normal_f32(posterior.shape().iter().product());
        let expected = reference(&format!("{name}.sampled.9.16x24"));
        let drawn = posterior.sample(&noise).unwrap();
        assert_eq!(drawn.shape(), expected.shape());
        check(name, &drawn.as_f32().unwrap(), &expected.as_f32().unwrap());
        assert!(posterior.sample(&noise[1..]).is_err(), "noise of another clip");
    }
}

#[test]
fn a_clip_does_not_depend_on_what_was_encoded_before() {
    let mut encoder = encoder("sincos");
    let (first, _) = encode(&mut encoder, &frames(17, 16, 24));
    encode(&mut encoder, &frames(2, 48, 32));
    let (again, _) = encode(&mut encoder, &frames(17, 16, 24));
    assert_eq!(first.mode().unwrap(), again.mode().unwrap());
}

#[test]
fn encoding_ends_where_the_caller_breaks_off_or_cancels() {
    let mut encoder = encoder("sincos");
    let clip = frames(25, 16, 24);
    let token = CancellationToken::new();
    let broken = encoder.encode(&clip, None, |_| ControlFlow::Break(()), &token).unwrap();
    assert!(broken.is_none());
    let cancelled = encoder.encode(
        &clip,
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
fn frames_of_another_form_are_refused() {
    let mut encoder = encoder("sincos");
    let mut check = |frames: Tensor, found: &str| {
        let token = CancellationToken::new();
        let error = encoder.encode(&frames, None, |_| panic!("encoded"), &token).unwrap_err();
        assert!(error.to_string().ends_with(found), "{error}");
    };
    check(frames(1, 12, 16), "multiples of 8, found F32 [1, 12, 16, 3]");
    check(Tensor::from_f32([0, 8, 8, 3], vec![]).unwrap(), "found F32 [0, 8, 8, 3]");
    check(Tensor::from_f32([1, 8, 8, 4], vec![0.0; 256]).unwrap(), "found F32 [1, 8, 8, 4]");
    check(Tensor::from_f32([8, 8, 3], vec![0.0; 192]).unwrap(), "found F32 [8, 8, 3]");
    check(Tensor::new(DType::F16, [1, 8, 8, 3], vec![0; 384]).unwrap(), "found F16 [1, 8, 8, 3]");
}
