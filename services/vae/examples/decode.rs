//! One side of a benchmark: decodes latents, timed on demand.
//!
//! Speaks lines: says `ready`; answers `run` with the seconds of one decode, `inside` with the seconds of all decodes
//! within ONNX Runtime, `save FILE` with `saved` when the frames of the last one are there as raw fp32; ends with its
//! input. `tools/bench/vae.py` drives it.
//!
//!     decode FOLDER INPUTS.safetensors THREADS [tiles]

use std::{io::BufRead as _, ops::ControlFlow, path::Path, time::Instant};

use anyhow::Context as _;
use cogwheel_diffusion::geometry::Tiles;
use cogwheel_engine::{CancellationToken, Provider, Runtime, SessionOptions};
use cogwheel_models::config::VaeConfig;
use cogwheel_vae::{Decoded, Decoder};
use cogwheel_weights::Weights;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, inputs, threads, tiled) = match arguments.as_slice() {
        [folder, inputs, threads] => (folder, inputs, threads, false),
        [folder, inputs, threads, tiles] if tiles == "tiles" => (folder, inputs, threads, true),
        _ => anyhow::bail!("usage: decode FOLDER INPUTS.safetensors THREADS [tiles]"),
    };
    let options = SessionOptions {
        threads: Some(threads.parse().context("THREADS")?),
        provider: Provider::Cpu,
        ..SessionOptions::default()
    };
    let folder = Path::new(folder);
    let config = VaeConfig::read(&folder.join("config.json"))?;
    let sample = [config.sample_height, config.sample_width];
    let tiles = tiled.then(|| Tiles::of_frames(sample, config.spatial_compression_ratio()));
    let weights = Weights::open(folder, "diffusion_pytorch_model")?;
    let mut decoder = Decoder::new(&config, &weights, &Runtime::load()?, &options)?;
    drop(weights);
    let latents = Weights::open_file(Path::new(inputs))?.tensor("latents")?;
    let token = CancellationToken::new();

    println!("ready");
    let mut chunks = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                chunks.clear();
                let start = Instant::now();
                let on_decoded = |decoded| {
                    if let Decoded::Frames { frames, .. } = decoded {
                        chunks.push(frames);
                    }
                    ControlFlow::Continue(())
                };
                decoder.decode(&latents, tiles, on_decoded, &token)?;
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["inside"] => println!("{}", decoder.time_inside().as_secs_f64()),
            ["save", path] => {
                let frames: Vec<&[u8]> = chunks.iter().map(|chunk| &chunk.bytes()[..]).collect();
                std::fs::write(path, frames.concat())?;
                println!("saved");
            }
            _ => anyhow::bail!("expected run, inside or save FILE, found '{line}'"),
        }
    }
    Ok(())
}
