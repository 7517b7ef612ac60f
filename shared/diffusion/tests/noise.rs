//! Noise against torch itself: values, states, order.

mod reference;

use cogwheel_diffusion::noise::Generator;
use reference::Reference;

const SEEDS: [u64; 5] = [0, 42, 1 << 31, (1 << 32) + 5, 1 << 63];
const COUNTS: [usize; 12] = [1, 2, 3, 5, 15, 16, 17, 31, 32, 100, 1000, 4096 + 7];
const SEQUENCE: [(&str, usize); 15] = [
    ("f32", 3),
    ("f16", 5),
    ("f32", 1),
    ("bf16", 17),
    ("f32", 16),
    ("f32", 2),
    ("bf16", 1),
    ("f16", 31),
    ("f16", 1),
    ("f32", 40),
    ("bf16", 15),
    ("f32", 700),
    ("f32", 7),
    ("f16", 33),
    ("f32", 1),
];

/// torch's own vector and scalar kernels differ by 2e-6; mathematics libraries add as much again.
const F32_TOLERANCE: f32 = 4e-6;
/// fp32 values that differ in the last bits round to different halves now and then.
const EQUAL_HALVES: f64 = 0.999;

/// How the values of one dtype compare with torch's.
#[derive(Default, Debug)]
struct Agreement {
    values: usize,
    equal: usize,
    largest: f32,
}

impl Agreement {
    fn compare_f32(&mut self, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            self.values += 1;
            self.equal += usize::from(found.to_bits() == expected.to_bits());
            self.largest = self.largest.max((found - expected).abs());
        }
    }

    /// `bits` in sign and magnitude, as both half precisions have them.
    fn compare_halves(
        &mut self,
        found: impl Iterator<Item = u16>,
        expected: impl Iterator<Item = u16>,
    ) {
        let ordered = |bits: u16| {
            if bits & 0x8000 == 0 { i32::from(bits) } else { -i32::from(bits & 0x7fff) }
        };
        for (found, expected) in found.zip(expected) {
            self.values += 1;
            self.equal += usize::from(found == expected);
            self.largest = self.largest.max((ordered(found) - ordered(expected)).abs() as f32);
        }
    }
}

/// Draws `count` values of a dtype and compares them with the reference tensor of that name.
fn draw(
    generator: &mut Generator,
    reference: &Reference,
    dtype: &str,
    count: usize,
    name: &str,
    agreement: &mut [Agreement; 3],
) {
    match dtype {
        "f32" => agreement[0].compare_f32(&generator.normal_f32(count), &reference.f32(name)),
        "f16" => {
            let (found, expected) = (generator.normal_f16(count), reference.f16(name));
            assert_eq!(found.len(), expected.len());
            agreement[1].compare_halves(
                found.iter().map(|v| v.to_bits()),
                expected.iter().map(|v| v.to_bits()),
            );
        }
        _ => {
            let (found, expected) = (generator.normal_bf16(count), reference.bf16(name));
            assert_eq!(found.len(), expected.len());
            agreement[2].compare_halves(
                found.iter().map(|v| v.to_bits()),
                expected.iter().map(|v| v.to_bits()),
            );
        }
    }
}

fn assert_close(agreement: [Agreement; 3]) {
    let [single, halves @ ..] = agreement;
    println!("fp32 {single:?}, fp16 and bf16 {halves:?}");
    assert!(single.largest <= F32_TOLERANCE, "{single:?}");
    for half in halves {
        assert!(half.largest <= 1.0, "more than one unit in the last place: {half:?}");
        assert!(half.equal as f64 >= EQUAL_HALVES * half.values as f64, "{half:?}");
    }
}

fn fnv1a(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash as i64
}

#[test]
fn a_fresh_generator_draws_what_torch_draws() {
    let reference = Reference::read("noise");
    let mut agreement = Default::default();
    for seed in SEEDS {
        for dtype in ["f32", "f16", "bf16"] {
            let states = reference.i64(&format!("{seed}.{dtype}.states"));
            for (count, state) in COUNTS.into_iter().zip(states) {
                let mut generator = Generator::new(seed);
                let name = format!("{seed}.{dtype}.{count}");
                draw(&mut generator, &reference, dtype, count, &name, &mut agreement);
                assert_eq!(fnv1a(&generator.torch_state()), state, "state after {name}");
            }
        }
    }
    assert_close(agreement);
}

#[test]
fn draws_of_mixed_counts_and_dtypes_follow_each_other_as_torchs_do() {
    let reference = Reference::read("noise");
    let mut agreement = Default::default();
    for seed in SEEDS {
        let mut generator = Generator::new(seed);
        for (i, (dtype, count)) in SEQUENCE.into_iter().enumerate() {
            draw(
                &mut generator,
                &reference,
                dtype,
                count,
                &format!("{seed}.sequence.{i}"),
                &mut agreement,
            );
        }
        assert!(
            generator.torch_state() == reference.bytes(&format!("{seed}.sequence.state")),
            "state of seed {seed}"
        );
    }
    assert_close(agreement);
}

/// The blocks are plain arithmetic, so this holds on every machine.
#[test]
fn a_large_fp32_draw_is_equal_to_the_bit() {
    let reference = Reference::read("noise");
    for seed in SEEDS {
        let values = Generator::new(seed).normal_f32(200_007);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!([fnv1a(&bytes)], *reference.i64(&format!("{seed}.large")), "seed {seed}");
    }
}

#[test]
fn drawing_nothing_leaves_the_state_alone() {
    let mut generator = Generator::new(7);
    assert!(generator.normal_f32(0).is_empty() && generator.normal_bf16(0).is_empty());
    assert_eq!(generator, Generator::new(7));
}

/// Prints how long the largest latents of the published models take: 22 frames of 16 x 96 x 170, 5.7 million values.
#[test]
#[ignore = "a measurement, not a check"]
fn time_of_the_largest_latents() {
    let started = std::time::Instant::now();
    let values = Generator::new(42).normal_f32(22 * 16 * 96 * 170);
    println!("{} values in {:?}", values.len(), started.elapsed());
}
