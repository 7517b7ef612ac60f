//! One side of a benchmark: forwards of the transformer in a folder, timed on demand.
//!
//! Speaks lines: says `ready`; answers `run` with the seconds of one forward, `inside` with the
//! seconds of all forwards within ONNX Runtime, `save FILE` with `saved` when the last prediction
//! is there as raw fp32; ends with its input. `tools/bench/transformer.py` drives it.
//!
//!     forward FOLDER INPUTS.safetensors THREADS [unpacked] [no-unit] [int8] [cuda] [fp16 | bf16]

use std::{io::BufRead as _, path::Path, time::Instant};

use anyhow::Context as _;
use cogwheel_denoiser::transformer::Transformer;
use cogwheel_engine::{CancellationToken, Provider, Runtime, SessionOptions};
use cogwheel_models::{config::TransformerConfig, transformer};
use cogwheel_service::{LogArgs, LogFormat};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

fn main() -> anyhow::Result<()> {
    // What ONNX Runtime warns of.
    let logs = LogArgs { log: "warn".to_owned(), log_format: LogFormat::Text };
    logs.init().map_err(anyhow::Error::msg)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inputs, threads, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!(
            "usage: forward FOLDER INPUTS.safetensors THREADS [unpacked] [no-unit] [int8] [cuda] [fp16 | bf16]"
        );
    };
    let has = |option: &str| rest.iter().any(|given| given == option);
    let options = SessionOptions {
        threads: Some(threads.parse().context("THREADS")?),
        provider: if has("cuda") { Provider::Cuda } else { Provider::Cpu },
        arithmetic: match (has("fp16"), has("bf16")) {
            (true, _) => DType::F16,
            (_, true) => DType::BF16,
            _ => DType::F32,
        },
        prepack: !has("unpacked"),
        matrix_unit: !has("no-unit"),
        quantize: has("int8").then_some(transformer::is_quantized as fn(&str) -> bool),
        variants: false,
    };
    let folder = Path::new(folder);
    let config = TransformerConfig::read(&folder.join("config.json"))?;
    let weights = Weights::open(folder, "diffusion_pytorch_model")?;
    let mut model = Transformer::load(&Runtime::load()?, &config, &weights, &options)?;
    drop(weights);

    let inputs = Weights::open_file(Path::new(inputs))?;
    let latents = inputs.tensor("latents")?;
    let shape = latents.shape().try_into().context("latents of four dimensions")?;
    let latents = latents.as_f32()?;
    let timestep = inputs.tensor("timestep")?.as_f32()?[0] as i64;
    let conditions = model.conditions(shape, inputs.tensor("text")?)?;
    let token = CancellationToken::new();

    println!("ready");
    let mut last: Option<Tensor> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                let start = Instant::now();
                last = Some(model.forward(&conditions, &latents, timestep, &token)?);
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["inside"] => println!("{}", model.time_inside().as_secs_f64()),
            ["save", path] => {
                let prediction = last.as_ref().context("no run yet")?;
                std::fs::write(path, prediction.bytes())?;
                println!("saved");
            }
            _ => anyhow::bail!("expected run, inside or save FILE, found '{line}'"),
        }
    }
    Ok(())
}
