use cogwheel_tensor::DType;

use super::*;
use crate::checkpoint::{Checkpoint, Workload};

fn two_b() -> Checkpoint {
    let dir = tempfile::tempdir().unwrap();
    write_folder(dir.path(), &published()["CogVideoX-2b"]);
    Checkpoint::open(dir.path()).unwrap()
}

const CLIP: Workload =
    Workload { batch: 2, num_frames: 49, height: 480, width: 720, encoded_frames: 0, tiled: false };

#[test]
fn weights_take_what_their_precision_takes() {
    let checkpoint = two_b();
    let weights = |dtype| checkpoint.memory_estimate(dtype, DType::F32, &CLIP);
    assert_eq!(weights(DType::F32).transformer.weights, 4 * 1_693_783_872);
    assert_eq!(weights(DType::F16).transformer.weights, 2 * 1_693_783_872);
    // The blocks' 30 x (16 d^2 + 12 x 512 d) parameters in bytes, those beside them and the vectors in fp32.
    let in_bytes = 30 * (12 * 1920 * 1920 + 12 * 512 * 1920);
    let expected = in_bytes + 4 * (1_693_783_872 - in_bytes);
    assert_eq!(weights(DType::I8).transformer.weights, expected);
    // 24 layers' `wo` stay fp32, and so do the embeddings of tokens and of 64 heads' distances, and the norms.
    let wo = 24 * 4096 * 10240;
    let alone = 32128 * 4096 + 32 * 64 + 49 * 4096;
    let expected = (4_762_310_656 - wo - alone) + 4 * (wo + alone);
    assert_eq!(weights(DType::I8).text_encoder.weights, expected);
    assert_eq!(weights(DType::F16).text_encoder.weights, 2 * 4_762_310_656 + 2 * wo);
    assert_eq!(weights(DType::F32).text_encoder.weights, 4 * 4_762_310_656);
}

#[test]
fn the_transformers_activations_are_near_what_was_measured() {
    // 2 x 2,146 tokens at 1,920 channels: 700 MB. 226 are text, 1,920 video: 4 latent frames of 24 x 20 patches.
    let slice = Workload {
        batch: 2,
        num_frames: 13,
        height: 384,
        width: 320,
        encoded_frames: 0,
        tiled: false,
    };
    let estimate = two_b().memory_estimate(DType::F32, DType::F32, &slice);
    let measured = 700e6;
    assert!((estimate.transformer.activations as f64 / measured - 1.0).abs() < 0.1);
}

#[test]
fn the_vaes_activations_are_near_what_was_measured_and_never_below() {
    // Growth of resident memory in services/vae's decode example over what it had once loaded: fp32, the published
    // decoder's widths, one decode of two chunks or of ten.
    for (num_frames, height, width, measured) in
        [(81, 128, 192, 2.092e9), (17, 192, 256, 4.189e9), (17, 240, 320, 6.413e9)]
    {
        let tile =
            Workload { batch: 1, num_frames, height, width, encoded_frames: 0, tiled: false };
        let estimate = two_b().memory_estimate(DType::F32, DType::F32, &tile);
        let ratio = estimate.vae.activations as f64 / measured;
        assert!((1.0..1.25).contains(&ratio), "{height}x{width}: {ratio} times what was measured");
    }
}

#[test]
fn the_encoders_activations_are_not_below_what_was_measured() {
    // Growth of resident memory in services/vae's example over what it had once loaded: fp32, the published encoder's widths.
    // The arena grows in steps, which are larger in small runs; of a single frame some of the caches are views.
    for (encoded_frames, height, width, measured, most) in [
        (9, 128, 192, 1.067e9, 1.1),
        (33, 128, 192, 1.344e9, 1.1),
        (17, 192, 256, 2.156e9, 1.35),
        (9, 256, 384, 3.250e9, 1.35),
        (1, 480, 720, 4.312e9, 1.6),
    ] {
        let clip =
            Workload { batch: 1, num_frames: 9, height, width, encoded_frames, tiled: false };
        let vae = |workload| two_b().memory_estimate(DType::F32, DType::F32, &workload).vae;
        let (both, decoder) = (vae(clip), vae(Workload { encoded_frames: 0, ..clip }));
        let ratio = (both.activations - decoder.activations) as f64 / measured;
        assert!((1.0..most).contains(&ratio), "{encoded_frames}: {ratio} times what was measured");
        assert_eq!(both.weights - decoder.weights, 4 * 92_215_456);
    }
}

#[test]
fn encoding_takes_no_more_for_a_longer_clip_but_its_frames() {
    let vae = |encoded_frames, tiled| {
        let clip = Workload { encoded_frames, tiled, ..CLIP };
        two_b().memory_estimate(DType::F32, DType::F32, &clip).vae.activations
    };
    for tiled in [false, true] {
        // Bytes of the frames, as fp32 of a value a pixel, and the moments of two latent frames more for each eight.
        let more = 32 * 480 * 720 * 4 + 8 * 32 * 60 * 90 * 4;
        assert_eq!(vae(81, tiled) - vae(49, tiled), more);
    }
    assert!(vae(49, true) * 2 < vae(49, false));
}

#[test]
fn the_memory_of_tiles_is_near_what_was_measured_and_not_below() {
    // As above, 81 frames in four tiles of 64x96 pixels.
    let mut checkpoint = two_b();
    (checkpoint.vae.sample_height, checkpoint.vae.sample_width) = (128, 192);
    let workload = Workload {
        batch: 1,
        num_frames: 81,
        height: 96,
        width: 144,
        encoded_frames: 0,
        tiled: true,
    };
    let estimate = checkpoint.memory_estimate(DType::F32, DType::F32, &workload);
    let ratio = estimate.vae.activations as f64 / 0.577e9;
    assert!((1.0..1.25).contains(&ratio), "{ratio} times what was measured");
}

#[test]
fn more_to_compute_takes_more() {
    let checkpoint = two_b();
    let total = |workload| {
        let estimate = checkpoint.memory_estimate(DType::F32, DType::F32, &workload);
        [estimate.transformer.total(), estimate.vae.total()]
    };
    let clip = total(CLIP);
    for larger in [Workload { height: 768, ..CLIP }, Workload { width: 1360, ..CLIP }] {
        assert!(total(larger).iter().zip(&clip).all(|(larger, clip)| larger > clip));
    }
    assert!(total(Workload { num_frames: 81, ..CLIP })[0] > clip[0]);
    // The VAE decodes chunk by chunk: a longer clip takes it no more.
    assert_eq!(total(Workload { num_frames: 81, ..CLIP })[1], clip[1]);
}

#[test]
fn tiles_take_less_and_grow_by_the_frames_alone() {
    let checkpoint = two_b();
    let vae =
        |workload| checkpoint.memory_estimate(DType::F32, DType::F32, &workload).vae.activations;
    let tiled = Workload { tiled: true, ..CLIP };
    assert!(vae(tiled) * 3 < vae(CLIP), "{} of {}", vae(tiled), vae(CLIP));
    let small = Workload { height: 240, width: 360, ..tiled };
    assert_eq!(vae(small), vae(Workload { tiled: false, ..small }), "one tile is no tiling");
    // Frames of the clip, of a row of tiles, and of a tile.
    let frame = (480 * 720 + 240 * 2 * 720 + 240 * 360) * 3 * 4;
    assert_eq!(vae(Workload { num_frames: 81, ..tiled }) - vae(tiled), (81 - 49) * frame);
    let wide = Workload { height: 768, width: 1360, ..tiled };
    assert!(vae(wide) < vae(tiled) * 2, "{} of {}", vae(wide), vae(tiled));
}

#[test]
fn tiles_are_counted_where_whole_frames_call_for_them() {
    let checkpoint = two_b();
    let whole = checkpoint.memory_estimate(DType::F32, DType::F32, &CLIP);
    let limit = whole.vae.total();
    assert_eq!(checkpoint.memory_need(&CLIP, |need| need > limit), (whole, false));
    let (tiled, is_tiled) = checkpoint.memory_need(&CLIP, |need| need > limit - 1);
    assert!(is_tiled && tiled.vae.total() < limit);
    assert_eq!(tiled.transformer, whole.transformer);
}

#[test]
fn sizes_beyond_reason_saturate() {
    let most = usize::MAX;
    for sizes in [(most, most, most, most), (2, 0, 0, 0), (2, most, 16, 16), (2, 9, most, most)] {
        let (batch, num_frames, height, width) = sizes;
        let workload =
            Workload { batch, num_frames, height, width, encoded_frames: 0, tiled: false };
        let estimate = two_b().memory_estimate(DType::F32, DType::F32, &workload);
        assert!(estimate.vae.total() >= estimate.vae.weights);
        if height == most {
            assert_eq!(estimate.vae.total(), u64::MAX);
        }
        if num_frames == most {
            assert_eq!(estimate.transformer.total(), u64::MAX);
        }
    }
}
