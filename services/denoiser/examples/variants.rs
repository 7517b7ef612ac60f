//! Steps of a model and of its variants, for comparison.
//!
//! Speaks lines: says `ready`; answers `make N` with the seconds that merging variant N of the adapter (its scale) took and
//! the bytes it takes, `run N` with the seconds of one forward of it, `run 0` with those of the model as it is, `lease N`
//! with the seconds until variant N, in memory, is ready to run, `drop N` with `dropped`, `save FILE` with `saved` when the last
//! prediction is there as raw fp32, `memory` with the process's resident bytes; ends with its input. `tools/bench/variants.py` drives it.
//!
//!     variants FOLDER INPUTS.safetensors ADAPTER THREADS [cuda] [fp16 | bf16]

use std::{collections::HashMap, io::BufRead as _, path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use cogwheel_denoiser::transformer::Transformer;
use cogwheel_engine::{CancellationToken, Provider, Runtime, SessionOptions, Variant};
use cogwheel_lora::{Adapter, MergeOptions, Recipe, merge};
use cogwheel_models::config::TransformerConfig;
use cogwheel_service::{LogArgs, LogFormat};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

fn main() -> anyhow::Result<()> {
    // What ONNX Runtime warns of.
    let logs = LogArgs { log: "warn".to_owned(), log_format: LogFormat::Text };
    logs.init().map_err(anyhow::Error::msg)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inputs, adapter, threads, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!(
            "usage: variants FOLDER INPUTS.safetensors ADAPTER THREADS [cuda] [fp16 | bf16]"
        );
    };
    let has = |option: &str| rest.iter().any(|given| given == option);
    let arithmetic = match (has("fp16"), has("bf16")) {
        (true, _) => DType::F16,
        (_, true) => DType::BF16,
        _ => DType::F32,
    };
    let threads: usize = threads.parse().context("THREADS")?;
    let options = SessionOptions {
        threads: Some(threads),
        provider: if has("cuda") { Provider::Cuda } else { Provider::Cpu },
        arithmetic,
        variants: true,
        ..SessionOptions::default()
    };
    let folder = Path::new(folder);
    let config = TransformerConfig::read(&folder.join("config.json"))?;
    let weights = Weights::open(folder, "diffusion_pytorch_model")?;
    let mut model = Transformer::load(&Runtime::load()?, &config, &weights, &options)?;
    let maker = Transformer::variant_maker(&config, &options, weights.dtype())?;
    let adapter = Arc::new(Adapter::open(Path::new(adapter), None)?);

    let inputs = Weights::open_file(Path::new(inputs))?;
    let latents = inputs.tensor("latents")?;
    let shape = latents.shape().try_into().context("latents of four dimensions")?;
    let latents = latents.as_f32()?;
    let timestep = inputs.tensor("timestep")?.as_f32()?[0] as i64;
    let text = inputs.tensor("text")?;
    let token = CancellationToken::new();

    println!("ready");
    let mut variants: HashMap<u32, Variant> = HashMap::new();
    let mut last: Option<Tensor> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["make", number] => {
                let number: u32 = number.parse()?;
                let start = Instant::now();
                let recipe = Recipe::new(vec![(Arc::clone(&adapter), number as f32)])?;
                let mut variant = maker.begin();
                let mut refused = Ok(());
                let options = MergeOptions { threads, dtype: arithmetic };
                merge(&weights, &recipe, &options, &|| false, |changed| {
                    refused = variant.add(&changed.name, changed.tensor);
                    match refused {
                        Ok(()) => std::ops::ControlFlow::Continue(()),
                        Err(_) => std::ops::ControlFlow::Break(()),
                    }
                })?;
                refused?;
                let variant = variant.finish();
                println!("{} {}", start.elapsed().as_secs_f64(), variant.byte_length());
                variants.insert(number, variant);
            }
            ["run", number] => {
                let conditions = model
                    .conditions(shape, text.clone())?
                    .of_variant(variants.get(&number.parse()?).cloned());
                let start = Instant::now();
                last = Some(model.forward(&conditions, &latents, timestep, &token)?);
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["drop", number] => {
                variants.remove(&number.parse()?);
                println!("dropped");
            }
            ["lease", number] => {
                let start = Instant::now();
                let variant = variants.get(&number.parse()?).cloned();
                let _conditions = model.conditions(shape, text.clone())?.of_variant(variant);
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["save", path] => {
                let prediction = last.as_ref().context("no run yet")?;
                std::fs::write(path, prediction.bytes())?;
                println!("saved");
            }
            ["memory"] => {
                let statm = std::fs::read_to_string("/proc/self/statm")?;
                let pages = statm.split_whitespace().nth(1).context("resident pages")?;
                println!("{}", pages.parse::<u64>()? * 4096);
            }
            _ => anyhow::bail!(
                "expected make N, run N, lease N, drop N, save FILE or memory, found '{line}'"
            ),
        }
    }
    Ok(())
}
