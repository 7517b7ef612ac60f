//! Latent geometry, patches, chunks and frames against diffusers.

mod reference;

use cogwheel_diffusion::frames::{denormalize, interleave, to_u8};
use cogwheel_diffusion::geometry::{
    GeometryConfig, GeometryError, LatentGeometry, TokenGrid, decode_chunks, frames_of_chunk,
    patchify, unpatchify,
};
use reference::Reference;

const ONE: GeometryConfig = GeometryConfig {
    latent_channels: 16,
    spatial_compression: 8,
    temporal_compression: 4,
    patch_size: 2,
    patch_size_t: None,
};
const ONE_AND_A_HALF: GeometryConfig = GeometryConfig { patch_size_t: Some(2), ..ONE };

#[test]
fn published_sizes_give_the_published_latents() {
    let geometry = LatentGeometry::new(&ONE, 49, 720, 480).unwrap();
    assert_eq!(geometry.shape(), [13, 16, 60, 90]);
    assert_eq!((geometry.padding_frames, geometry.decoded_frames()), (0, 13));
    assert_eq!(geometry.token_grid(2, None), TokenGrid { frames: 13, height: 30, width: 45 });
    assert_eq!(geometry.token_grid(2, None).token_count(), 17_550);

    let geometry = LatentGeometry::new(&ONE_AND_A_HALF, 81, 1360, 768).unwrap();
    assert_eq!(geometry.shape(), [22, 16, 96, 170]);
    assert_eq!((geometry.padding_frames, geometry.decoded_frames()), (1, 21));
    assert_eq!(geometry.token_grid(2, Some(2)).token_count(), 44_880);
    assert_eq!(geometry.element_count(), 22 * 16 * 96 * 170);
}

#[test]
fn every_possible_number_of_frames_comes_out_of_the_decoder() {
    for config in [ONE, ONE_AND_A_HALF] {
        for num_frames in (9..400).step_by(8) {
            let geometry = LatentGeometry::new(&config, num_frames, 16, 16).unwrap();
            let chunks = decode_chunks(geometry.decoded_frames());
            let decoded: usize = chunks.iter().map(|chunk| frames_of_chunk(chunk.len(), 4)).sum();
            assert_eq!(decoded, num_frames);
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_what_is_possible() {
    let errors = LatentGeometry::new(&ONE, 50, 720, 484).unwrap_err();
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "expected 8n+1 frames with n at least 1, found 50: possible are 49 and 57",
            "expected a height that is a multiple of 16, found 484: possible are 480 and 496",
        ]
    );
    assert_eq!(
        errors.iter().map(GeometryError::field).collect::<Vec<_>>(),
        [Some("num_frames"), Some("height")]
    );

    let nearest = |num_frames| match &LatentGeometry::new(&ONE, num_frames, 16, 16).unwrap_err()[..]
    {
        [GeometryError::NumFrames { nearest, .. }] => nearest.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest(0), [9]);
    assert_eq!(nearest(1), [9]);
    assert_eq!(nearest(8), [9]);
    assert_eq!(nearest(10), [9, 17]);
    assert_eq!(nearest(16), [9, 17]);
    assert_eq!(nearest(usize::MAX), [usize::MAX - 6]);
    let errors = LatentGeometry::new(&ONE, 9, 0, 15).unwrap_err();
    assert_eq!(errors.len(), 2);
    assert!(
        matches!(&errors[0], GeometryError::Side { side: "width", nearest, .. } if nearest == &[16])
    );
}

#[test]
fn no_size_of_a_request_or_a_file_overflows() {
    let large = usize::MAX / 16 * 16;
    let errors = LatentGeometry::new(&ONE, usize::MAX - 6, large, large).unwrap_err();
    assert!(matches!(errors[..], [GeometryError::TooLarge { .. }]));
    for value in [0, usize::MAX] {
        let config = GeometryConfig {
            latent_channels: value,
            spatial_compression: value,
            temporal_compression: value,
            patch_size: value,
            patch_size_t: Some(value),
        };
        let errors = LatentGeometry::new(&config, 49, 720, 480).unwrap_err();
        assert_eq!(errors.len(), 5);
        assert!(errors.iter().all(|error| error.field().is_none()));
    }
}

#[test]
fn tokens_are_ordered_as_the_patch_embeddings_take_them_and_the_output_gives_them() {
    let reference = Reference::read("positions");
    for (version, patch_size_t, shape) in
        [("1.0", None, [3, 4, 4, 6]), ("1.5", Some(2), [4, 3, 6, 4])]
    {
        let latents = reference.f32(&format!("patch.{version}.latents"));
        let tokens = patchify(&latents, shape, 2, patch_size_t);
        assert_eq!(tokens, reference.f32(&format!("patch.{version}.tokens")), "{version}");
        let output = unpatchify(&tokens, shape, 2, patch_size_t);
        assert_eq!(output, reference.f32(&format!("patch.{version}.output")), "{version}");
        assert_eq!(output, latents, "{version}");
    }
}

#[test]
fn chunks_are_those_that_the_decoder_takes() {
    let reference = Reference::read("positions");
    let (rows, frames) = (reference.i64("chunks"), reference.i64("chunks.frames"));
    let mut expected = rows.chunks_exact(3).zip(frames);
    for count in [1, 2, 3, 4, 5, 12, 13, 21] {
        for chunk in decode_chunks(count) {
            let (row, frames) = expected.next().unwrap();
            assert_eq!([count as i64, chunk.start as i64, chunk.end as i64], row);
            assert_eq!(frames_of_chunk(chunk.len(), 4) as i64, frames);
        }
    }
    assert!(expected.next().is_none());
    assert!(decode_chunks(0).is_empty());
}

#[test]
fn frames_are_those_of_the_video_processor() {
    let reference = Reference::read("positions");
    let mut values = reference.f32("frames.decoded");
    denormalize(&mut values);
    let pixels = interleave(&values);
    assert_eq!(pixels, reference.f32("frames.np"));
    assert_eq!(to_u8(&pixels), reference.bytes("frames.u8"));
}

#[test]
fn bytes_are_rounded_to_the_nearest_with_halves_to_even() {
    assert_eq!(
        to_u8(&[0.0, 0.5 / 255.0, 1.5 / 255.0, 2.5 / 255.0, 1.0, 7.0, -1.0, f32::NAN]),
        [0, 0, 2, 2, 255, 255, 0, 0]
    );
}
