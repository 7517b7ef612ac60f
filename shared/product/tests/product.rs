//! Products beside the same in fp64.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_product::{Linear, MatrixUnit, PackedWeight, Scratch, Threads};
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};

struct Here(usize);

impl Threads for Here {
    fn count(&self) -> usize {
        self.0
    }

    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for thread in 1..self.0 {
                scope.spawn(move || (thread..tasks).step_by(self.0).for_each(work));
            }
            (0..tasks).step_by(self.0).for_each(work);
        });
    }
}

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| (random.f32() - 0.5) * 4.0).collect()
}

fn weight(dtype: DType, shape: [usize; 2], seed: u64) -> (Tensor, Vec<f32>) {
    let values = random(shape[0] * shape[1], seed);
    let (bytes, values): (Vec<u8>, Vec<f32>) = match dtype {
        DType::F16 => {
            let values: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            (bytemuck::cast_slice(&values).to_vec(), values.iter().map(|v| v.to_f32()).collect())
        }
        DType::BF16 => {
            let values: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
            (bytemuck::cast_slice(&values).to_vec(), values.iter().map(|v| v.to_f32()).collect())
        }
        _ => (bytemuck::cast_slice(&values).to_vec(), values),
    };
    (Tensor::new(dtype, shape, bytes).unwrap(), values)
}

fn apply(
    weight: &PackedWeight,
    bias: Option<&[f32]>,
    rows: usize,
    x: &[f32],
    threads: usize,
) -> Vec<f32> {
    let unit = MatrixUnit::find().unwrap();
    let mut y = vec![f32::NAN; rows * weight.outputs()];
    Linear { unit, weight, bias }
        .apply(rows, x, &mut y, &Here(threads), &mut Scratch::default())
        .unwrap();
    y
}

fn error(
    dtype: DType,
    [rows, inputs, outputs]: [usize; 3],
    with_bias: bool,
    threads: usize,
) -> (f64, f64) {
    let (tensor, w) = weight(dtype, [outputs, inputs], 1);
    let x = random(rows * inputs, 2);
    let bias = with_bias.then(|| random(outputs, 3));
    let packed = PackedWeight::new(&tensor).unwrap();
    let y = apply(&packed, bias.as_deref(), rows, &x, threads);
    let (mut ours, mut plain, mut norm) = (0.0, 0.0, 0.0);
    for row in 0..rows {
        for column in 0..outputs {
            let start = bias.as_ref().map_or(0.0, |bias| bias[column]);
            let (mut exact, mut sum) = (f64::from(start), start);
            for (&x, &w) in x[row * inputs..][..inputs].iter().zip(&w[column * inputs..]) {
                exact += f64::from(x) * f64::from(w);
                sum += x * w;
            }
            ours += (f64::from(y[row * outputs + column]) - exact).powi(2);
            plain += (f64::from(sum) - exact).powi(2);
            norm += exact * exact;
        }
    }
    ((ours / norm).sqrt(), (plain / norm).sqrt())
}

#[test]
fn sizes_of_all_kinds_agree_with_fp64() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for size in [
            [1, 1, 1],
            [1, 33, 17],
            [3, 100, 40],
            [16, 32, 32],
            [17, 64, 96],
            [48, 65, 31],
            [70, 1000, 130],
            [600, 70, 33],
            [512, 2000, 50],
        ] {
            for threads in [1, 3] {
                let (ours, plain) = error(dtype, size, threads == 1, threads);
                println!("{dtype} {size:?} {ours:.2e} plain {plain:.2e}");
                assert!(ours <= plain.max(1e-7), "{dtype} {size:?} {ours} {plain}");
            }
        }
    }
}

#[test]
#[ignore]
fn speed() {
    let sizes =
        std::env::var("SIZES").unwrap_or("384x1920x1920,480x1920x7680,480x7680x1920".into());
    for size in sizes.split(',') {
        let [rows, inputs, outputs]: [usize; 3] =
            size.split('x').map(|n| n.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap();
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            {
                let (tensor, _) = weight(dtype, [outputs, inputs], 1);
                let start = std::time::Instant::now();
                let packed = PackedWeight::new(&tensor).unwrap();
                let packing = start.elapsed();
                let x = random(rows * inputs, 2);
                let unit = MatrixUnit::find().unwrap();
                let mut y = vec![f32::NAN; rows * outputs];
                let mut scratch = Scratch::default();
                let mut best = f64::MAX;
                let threads = std::env::var("THREADS").map_or(1, |t| t.parse().unwrap());
                for _ in 0..20 {
                    let start = std::time::Instant::now();
                    Linear { unit, weight: &packed, bias: None }
                        .apply(rows, &x, &mut y, &Here(threads), &mut scratch)
                        .unwrap();
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!(
                    "{dtype} {rows}x{inputs}x{outputs}: {:.0} GF/s, packing {packing:?}",
                    2.0 * (rows * inputs * outputs) as f64 / best / 1e9
                );
            }
        }
    }
}
