//! Position tables against diffusers.

mod reference;

use cogwheel_diffusion::geometry::TokenGrid;
use cogwheel_diffusion::positions::{
    PositionError, RopeGrid, crop_region, rope_3d, sincos_3d, timestep_projection,
};
use reference::Reference;

/// Computed in double precision and rounded once: at most the last bit.
const SINCOS_TOLERANCE: f32 = 6e-8;
/// The last bit of a cosine or sine of the same single-precision angle.
const ROPE_TOLERANCE: f32 = 6e-8;
/// The same for most of a timestep's projection.
const LAST_BIT: f32 = 6e-8;
/// The share of torch's frequencies that its library does not round to the nearest: 5 of 256, 9 of 960 here, each
/// giving a cosine and a sine.
const MISROUNDED: f64 = 0.02;
/// The last bit of the angle of such a frequency, relative to the largest angle, which is the timestep.
const ANGLE_BIT: f32 = f32::EPSILON;

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

fn grid(frames: usize, height: usize, width: usize) -> TokenGrid {
    TokenGrid { frames, height, width }
}

#[test]
fn sin_cos_tables_are_those_of_diffusers() {
    let reference = Reference::read("positions");
    for (dim, (frames, height, width)) in [(32, (3, 4, 6)), (64, (2, 5, 3)), (1920, (2, 2, 3))] {
        let table = sincos_3d(dim, grid(frames, height, width), 1.875, 1.0).unwrap();
        let difference = largest_difference(
            &table,
            &reference.f32(&format!("sincos.{dim}.{frames}x{height}x{width}")),
        );
        println!("sincos {dim}: {difference:.2e}");
        assert!(difference <= SINCOS_TOLERANCE, "{dim}: {difference}");
    }
}

#[test]
fn rotary_tables_are_those_of_the_pipeline() {
    let reference = Reference::read("positions");
    let cropped = |base_height, base_width| RopeGrid::Cropped { base_height, base_width };
    let sliced = |max_height, max_width| RopeGrid::Sliced { max_height, max_width };
    let cases = [
        ("small", 32, grid(3, 4, 6), cropped(4, 6), 1),
        ("tall", 32, grid(2, 8, 4), cropped(4, 6), 1),
        ("wide", 16, grid(2, 3, 10), cropped(4, 6), 1),
        ("published_5b", 64, grid(13, 30, 45), cropped(30, 45), 211),
        ("square_5b", 64, grid(5, 30, 30), cropped(30, 45), 211),
        ("large_5b", 64, grid(5, 48, 85), cropped(30, 45), 211),
        ("small_1.5", 32, grid(3, 4, 3), sliced(4, 6), 1),
        ("published_1.5", 64, grid(11, 48, 85), sliced(48, 85), 211),
    ];
    for (name, head_dim, grid, placement, stride) in cases {
        let table = rope_3d(head_dim, grid, placement).unwrap();
        for (key, values) in [("cos", table.cos), ("sin", table.sin)] {
            assert_eq!(values.len(), grid.token_count() * head_dim / 2);
            let rows: Vec<f32> =
                values.chunks_exact(head_dim / 2).step_by(stride).flatten().copied().collect();
            let difference =
                largest_difference(&rows, &reference.f32(&format!("rope.{name}.{key}")));
            println!("rope {name} {key}: {difference:.2e}");
            assert!(difference <= ROPE_TOLERANCE, "{name}.{key}: {difference}");
        }
    }
}

#[test]
fn crop_regions_round_as_python_does() {
    let crops = Reference::read("positions").i64("crops");
    for row in crops.chunks_exact(8) {
        let size = |index: usize| row[index] as usize;
        let region = crop_region((size(2), size(3)), (size(0), size(1)));
        assert_eq!([region.top, region.left, region.bottom, region.right], row[4..], "{row:?}");
    }
}

#[test]
fn timesteps_are_projected_as_in_diffusers() {
    let reference = Reference::read("positions");
    for dim in [32, 512, 1920] {
        let expected = reference.f32(&format!("timestep.{dim}"));
        for (timestep, expected) in
            [0, 1, 19, 499, 500, 998, 999].iter().zip(expected.chunks_exact(dim))
        {
            let found = timestep_projection(*timestep as f32, dim);
            let difference = largest_difference(&found, expected);
            let misrounded =
                found.iter().zip(expected).filter(|(a, b)| (*a - *b).abs() > LAST_BIT).count();
            println!("timestep {timestep} of {dim}: {difference:.2e}, {misrounded} misrounded");
            assert!(
                misrounded as f64 <= MISROUNDED * dim as f64,
                "{timestep} of {dim}: {misrounded}"
            );
            let tolerance = LAST_BIT + ANGLE_BIT * *timestep as f32;
            assert!(difference <= tolerance, "{timestep} of {dim}: {difference}");
        }
    }
}

#[test]
fn impossible_tables_are_refused() {
    let small = grid(1, 2, 3);
    let sliced = RopeGrid::Sliced { max_height: 2, max_width: 2 };
    assert_eq!(
        rope_3d(16, small, sliced).unwrap_err().to_string(),
        "width must be at most 2 tokens, found 3"
    );
    for dim in [0, 8, 24] {
        assert!(matches!(sincos_3d(dim, small, 1.0, 1.0), Err(PositionError::Dimension { .. })));
        assert!(matches!(rope_3d(dim, small, sliced), Err(PositionError::Dimension { .. })));
    }
    for grid in [grid(0, 2, 2), grid(usize::MAX, 2, 2), grid(1 << 40, 1 << 20, 2)] {
        assert!(matches!(sincos_3d(32, grid, 1.0, 1.0), Err(PositionError::Grid { .. })));
        assert!(matches!(rope_3d(32, grid, sliced), Err(PositionError::Grid { .. })));
    }
}
