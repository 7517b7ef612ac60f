//! The judge of the demo's clips reads clips right that were drawn, not generated.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_tests::judge::Clip;

const SIDE: usize = 64;
const FRAMES: usize = 17;
const RADIUS: f32 = 11.0;

/// How a clip is drawn.
#[derive(Clone, Copy, Default)]
struct Look {
    bounce: bool,
    neon: bool,
    trail: bool,
}

/// Whether a point, relative to the centre, is inside of a shape of this radius.
fn is_inside(shape: &str, x: f32, y: f32, radius: f32) -> bool {
    match shape {
        "circle" => x.hypot(y) <= radius,
        "square" => x.abs().max(y.abs()) <= radius,
        _ => y <= radius && y >= -radius && x.abs() <= (y + radius) / 2.0,
    }
}

fn draw(color: [f32; 3], shape: &str, direction: [f32; 2], ground: f32, look: Look) -> Vec<f32> {
    let ground = if look.neon { 0.02 } else { ground };
    let centre = |frame: usize| {
        let way = (frame as f32 / (FRAMES as f32 - 1.0) - 0.5) * 30.0;
        let across = if look.bounce { 5.0 * (frame as f32 * 0.9).sin() } else { 0.0 };
        [
            direction[0] * way + direction[1].abs() * across,
            direction[1] * way + direction[0].abs() * across,
        ]
        .map(|at| at + SIDE as f32 / 2.0)
    };
    let pixel = |frame: usize, row: usize, column: usize| {
        let [x, y] = centre(frame);
        let (x, y) = (column as f32 + 0.5 - x, row as f32 + 0.5 - y);
        let hollow = look.neon && is_inside(shape, x, y, RADIUS - 4.0);
        if is_inside(shape, x, y, RADIUS) && !hollow {
            return color;
        }
        let behind = (1..10).find(|step| {
            let step = *step as f32 * 1.5;
            is_inside(shape, x + direction[0] * step, y + direction[1] * step, RADIUS)
        });
        match behind.filter(|_| look.trail) {
            Some(step) => color.map(|c| ground + (c - ground) * 0.4 * (1.0 - step as f32 / 10.0)),
            None => [ground; 3],
        }
    };
    let places = (0..FRAMES).flat_map(|frame| (0..SIDE * SIDE).map(move |at| (frame, at)));
    places.flat_map(|(frame, at)| pixel(frame, at / SIDE, at % SIDE)).collect()
}

const COLORS: [(&str, [f32; 3]); 6] = [
    ("red", [0.9, 0.15, 0.1]),
    ("green", [0.1, 0.65, 0.2]),
    ("blue", [0.15, 0.3, 0.9]),
    ("yellow", [0.95, 0.85, 0.1]),
    ("purple", [0.55, 0.15, 0.8]),
    ("orange", [0.95, 0.5, 0.1]),
];
const DIRECTIONS: [(&str, [f32; 2]); 4] =
    [("left", [-1.0, 0.0]), ("right", [1.0, 0.0]), ("up", [0.0, -1.0]), ("down", [0.0, 1.0])];
const GROUNDS: [(&str, f32); 3] = [("dark", 0.08), ("gray", 0.5), ("light", 0.9)];

#[test]
fn every_drawn_combination_is_read_right() {
    for (color, rgb) in COLORS {
        for shape in ["circle", "square", "triangle"] {
            for (direction, way) in DIRECTIONS {
                for (ground, level) in GROUNDS {
                    let frames = draw(rgb, shape, way, level, Look::default());
                    let clip = Clip::new(&frames, SIDE, SIDE);
                    let found = (clip.color(), clip.shape(), clip.direction(), clip.background());
                    assert_eq!(found, (color, shape, direction, ground));
                    assert!(!clip.bounces() && !clip.is_neon() && !clip.trails(), "{found:?}");
                }
            }
        }
    }
}

#[test]
fn every_effect_is_seen_and_hides_neither_colour_nor_direction() {
    for (color, rgb) in COLORS {
        for (direction, way) in DIRECTIONS {
            for effects in 1..8 {
                let [bounce, neon, trail] = [1, 2, 4].map(|bit| effects & bit != 0);
                let frames = draw(rgb, "circle", way, 0.08, Look { bounce, neon, trail });
                let clip = Clip::new(&frames, SIDE, SIDE);
                let what = format!("{color} {direction} {effects:03b}");
                assert_eq!((clip.color(), clip.direction()), (color, direction), "{what}");
                assert_eq!(clip.bounces(), bounce, "{what}: {}", clip.oscillation());
                assert_eq!(clip.is_neon(), neon, "{what}: {}", clip.hollow());
                // What is left behind by a shape that dances lies beside its box too.
                if !bounce {
                    assert_eq!(clip.trails(), trail, "{what}: {}", clip.wake());
                }
            }
        }
    }
}

#[test]
fn the_outline_of_every_shape_is_told_from_the_shape() {
    for (color, rgb) in COLORS {
        for shape in ["circle", "square", "triangle"] {
            for neon in [false, true] {
                let look = Look { neon, ..Look::default() };
                let frames = draw(rgb, shape, [1.0, 0.0], 0.05, look);
                let clip = Clip::new(&frames, SIDE, SIDE);
                assert_eq!(clip.is_neon(), neon, "{color} {shape}: {}", clip.hollow());
                assert_eq!(clip.shape(), shape, "{color}");
            }
        }
    }
}

#[test]
fn a_clip_that_shows_nothing_is_read_without_a_panic() {
    let frames = vec![0.5; FRAMES * SIDE * SIDE * 3];
    let clip = Clip::new(&frames, SIDE, SIDE);
    assert_eq!((clip.direction(), clip.background()), ("none", "gray"));
    assert!(!clip.bounces() && !clip.is_neon() && !clip.trails());
    let _ = (clip.color(), clip.shape());
}
