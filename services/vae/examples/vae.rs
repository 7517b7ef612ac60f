//! One side of a benchmark: decodes latents or encodes frames, timed on demand.
//!
//! Speaks lines: says `ready`; answers `run` with the seconds of one pass, `inside` with the seconds of all passes
//! within ONNX Runtime, `save FILE` with `saved` when the frames or the latents' means of the last one are there as raw
//! fp32; ends with its input. `tools/bench/vae.py` drives it.
//!
//!     vae FOLDER INPUTS.safetensors THREADS [tiles]
//!
//! INPUTS holds `latents` [frames, channels, height, width] or `frames` [frames, height, width, 3], fp32.

use std::{io::BufRead as _, ops::ControlFlow, path::Path, time::Duration, time::Instant};

use anyhow::Context as _;
use cogwheel_diffusion::geometry::Tiles;
use cogwheel_engine::{CancellationToken, Provider, Runtime, SessionOptions};
use cogwheel_models::config::VaeConfig;
use cogwheel_tensor::Tensor;
use cogwheel_vae::{Decoded, Decoder, Encoder};
use cogwheel_weights::Weights;

/// Half of the model.
enum Half {
    Decoder(Decoder, Tensor),
    Encoder(Encoder, Tensor),
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, inputs, threads, tiled) = match arguments.as_slice() {
        [folder, inputs, threads] => (folder, inputs, threads, false),
        [folder, inputs, threads, tiles] if tiles == "tiles" => (folder, inputs, threads, true),
        _ => anyhow::bail!("usage: vae FOLDER INPUTS.safetensors THREADS [tiles]"),
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
    let inputs = Weights::open_file(Path::new(inputs))?;
    let mut half = match inputs.tensor("latents") {
        Ok(latents) => {
            Half::Decoder(Decoder::new(&config, &weights, &Runtime::load()?, &options)?, latents)
        }
        Err(_) => {
            let encoder = Encoder::new(&config, &weights, &Runtime::load()?, &options)?;
            Half::Encoder(encoder, inputs.tensor("frames")?)
        }
    };
    drop(weights);

    println!("ready");
    let mut made = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                made.clear();
                let start = Instant::now();
                half.pass(tiles, &mut made)?;
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["inside"] => println!("{}", half.time_inside().as_secs_f64()),
            ["save", path] => {
                let bytes: Vec<&[u8]> = made.iter().map(|part| &part.bytes()[..]).collect();
                std::fs::write(path, bytes.concat())?;
                println!("saved");
            }
            _ => anyhow::bail!("expected run, inside or save FILE, found '{line}'"),
        }
    }
    Ok(())
}

impl Half {
    fn pass(&mut self, tiles: Option<Tiles>, made: &mut Vec<Tensor>) -> anyhow::Result<()> {
        let token = CancellationToken::new();
        match self {
            Self::Decoder(decoder, latents) => {
                let on_decoded = |decoded| {
                    if let Decoded::Frames { frames, .. } = decoded {
                        made.push(frames);
                    }
                    ControlFlow::Continue(())
                };
                decoder.decode(latents, tiles, on_decoded, &token)?;
            }
            Self::Encoder(encoder, frames) => {
                let on_encoded = |_| ControlFlow::Continue(());
                let posterior = encoder.encode(frames, tiles, on_encoded, &token)?;
                made.push(posterior.context("nothing was broken off")?.mode()?);
            }
        }
        Ok(())
    }

    fn time_inside(&self) -> Duration {
        match self {
            Self::Decoder(decoder, _) => decoder.time_inside(),
            Self::Encoder(encoder, _) => encoder.time_inside(),
        }
    }
}
