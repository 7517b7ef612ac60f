//! One side of a benchmark: an adapter read, checked and merged, timed on demand.
//!
//! Speaks lines: says `ready`; answers `run` with the seconds from the file to all changed tensors in memory, `read`
//! with those of reading and describing alone, `save FILE` with `saved` when the first changed tensor of the last run is
//! there as raw bytes; ends with its input. `tools/bench/adapter.py` drives it.
//!
//!     adapter MODEL_FOLDER ADAPTER THREADS F32|F16|BF16

use std::{io::BufRead as _, ops::ControlFlow, path::Path, sync::Arc, time::Instant};

use anyhow::Context as _;
use cogwheel_lora::{Adapter, ChangedTensor, Description, MergeOptions, Model, Recipe, merge};
use cogwheel_models::config::TransformerConfig;
use cogwheel_tensor::DType;
use cogwheel_weights::Weights;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, file, threads, dtype] = arguments.as_slice() else {
        anyhow::bail!("usage: adapter MODEL_FOLDER ADAPTER THREADS F32|F16|BF16");
    };
    let dtype = [DType::F32, DType::F16, DType::BF16]
        .into_iter()
        .find(|known| known.name() == dtype)
        .context("F32, F16 or BF16")?;
    let options = MergeOptions { threads: threads.parse().context("THREADS")?, dtype };
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    let (folder, file) = (Path::new(folder), Path::new(file));
    let config = TransformerConfig::read(&folder.join("config.json"))?;
    let weights = Weights::open(folder, "diffusion_pytorch_model")?;

    println!("ready");
    let mut last: Vec<ChangedTensor> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                last.clear();
                let start = Instant::now();
                let (adapter, _) = read(file, &config, &weights)?;
                let recipe = Recipe::new(vec![(Arc::new(adapter), 1.0)])?;
                merge(&weights, &recipe, &options, &|| false, |changed| {
                    last.push(changed);
                    ControlFlow::Continue(())
                })?;
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["read"] => {
                let start = Instant::now();
                read(file, &config, &weights)?;
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["save", path] => {
                let changed = last.first().context("no run yet")?;
                std::fs::write(path, changed.tensor.bytes())?;
                println!("saved");
            }
            _ => anyhow::bail!("expected run, read or save FILE, found '{line}'"),
        }
    }
    Ok(())
}

fn read(
    file: &Path,
    config: &TransformerConfig,
    weights: &Weights,
) -> anyhow::Result<(Adapter, Description)> {
    let adapter = Adapter::open(file, None)?;
    let description = adapter.describe(&Model::new(config, Some(weights)))?;
    Ok((adapter, description))
}
