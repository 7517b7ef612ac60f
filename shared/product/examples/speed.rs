//! Speed of products of the sizes that CogVideoX has, in GFLOP/s, the best of 20: in bytes, and in fp32 where there is a
//! matrix unit.
//!
//!     cargo run --release -p cogwheel-product --example speed [THREADS]

use std::time::Instant;

use cogwheel_product::{
    Linear, MatrixUnit, PackedWeight, QuantizedLinear, QuantizedWeight, Scratch, Threads,
};
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};

/// Rows, inputs, outputs.
const SIZES: [[usize; 3]; 3] = [[480, 1920, 1920], [480, 1920, 7680], [480, 7680, 1920]];

struct Scoped(usize);

// SAFETY: each number is handed out once.
unsafe impl Threads for Scoped {
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = Scoped(std::env::args().nth(1).map_or(Ok(1), |threads| threads.parse())?);
    for size in SIZES {
        quantized(size, &threads)?;
    }
    let Some(unit) = MatrixUnit::find() else { return Ok(()) };
    for [rows, inputs, outputs] in SIZES {
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let weight = weight(dtype, [outputs, inputs])?;
            let start = Instant::now();
            let weight = PackedWeight::new(unit, &weight)?;
            let packing = start.elapsed().as_secs_f64() * 1e9 / (inputs * outputs) as f64;
            let x = random(rows * inputs);
            let mut y = vec![0.0; rows * outputs];
            let mut scratch = Scratch::default();
            let mut best = f64::MAX;
            for _ in 0..20 {
                let start = Instant::now();
                let linear = Linear { unit, weight: &weight, bias: None };
                linear.apply(rows, &x, &mut y, &threads, &mut scratch)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            let speed = 2.0 * (rows * inputs * outputs) as f64 / best / 1e9;
            println!(
                "{dtype} {rows} x {inputs} x {outputs}: {speed:.0}, packed at {packing:.1} ns a parameter"
            );
        }
    }
    Ok(())
}

/// In bytes, quantizing the activations included.
fn quantized(
    [rows, inputs, outputs]: [usize; 3],
    threads: &Scoped,
) -> Result<(), Box<dyn std::error::Error>> {
    let weight = QuantizedWeight::new(&weight(DType::F32, [outputs, inputs])?)?;
    let x = random(rows * inputs);
    let (mut y, mut scratch) = (vec![0.0; rows * outputs], Scratch::default());
    let mut best = f64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let linear = QuantizedLinear { weight: &weight, bias: None };
        linear.apply(rows, &x, &mut y, threads, &mut scratch)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let speed = 2.0 * (rows * inputs * outputs) as f64 / best / 1e9;
    println!("I8 {rows} x {inputs} x {outputs}: {speed:.0}");
    Ok(())
}

fn weight(dtype: DType, shape: [usize; 2]) -> Result<Tensor, Box<dyn std::error::Error>> {
    let values = random(shape[0] * shape[1]).into_iter();
    let bytes: Vec<u8> = match dtype {
        DType::F16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        DType::BF16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    };
    Ok(Tensor::new(dtype, shape, bytes)?)
}

fn random(count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count).map(|_| random.f32() - 0.5).collect()
}
