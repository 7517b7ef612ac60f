//! One side of a benchmark: encodes token ids, timed on demand.
//!
//! Speaks lines: says `ready`; answers `run` with the seconds of one forward, `inside` with the seconds of all forwards
//! within ONNX Runtime, `save FILE` with `saved` when the last embeddings are there as raw fp32; ends with its input.
//! `tools/bench/text_encoder.py` drives it.
//!
//!     encode FOLDER INPUTS.safetensors THREADS [unpacked] [no-unit] [int8]

use std::{io::BufRead as _, path::Path, time::Instant};

use anyhow::Context as _;
use cogwheel_engine::{CancellationToken, Provider, Runtime, Session, SessionOptions};
use cogwheel_models::{
    config::TextEncoderConfig,
    text_encoder::{INPUT_IDS, is_quantized, text_encoder},
};
use cogwheel_tensor::Tensor;
use cogwheel_weights::Weights;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, inputs, threads, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!(
            "usage: encode FOLDER INPUTS.safetensors THREADS [unpacked] [no-unit] [int8]"
        );
    };
    let options = SessionOptions {
        threads: Some(threads.parse().context("THREADS")?),
        provider: Provider::Cpu,
        prepack: !rest.iter().any(|option| option == "unpacked"),
        matrix_unit: !rest.iter().any(|option| option == "no-unit"),
        quantize: rest
            .iter()
            .any(|option| option == "int8")
            .then_some(is_quantized as fn(&str) -> bool),
        ..SessionOptions::default()
    };
    let folder = Path::new(folder);
    let config = TextEncoderConfig::read(&folder.join("config.json"))?;
    let ids = Weights::open_file(Path::new(inputs))?.tensor("input_ids")?;
    let &[_, tokens] = ids.shape() else { anyhow::bail!("ids of two dimensions") };
    let weights = Weights::open(folder, "model")?;
    let graph = text_encoder(&config, &weights, tokens)?;
    let mut session = Session::new(&Runtime::load()?, &graph, &weights, &options)?;
    drop(weights);
    let token = CancellationToken::new();

    println!("ready");
    let mut last: Option<Tensor> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run"] => {
                let start = Instant::now();
                let output = session.run(&[(INPUT_IDS, (&ids).into())], &token)?.pop();
                last = Some(output.context("no output")?.into_tensor()?);
                println!("{}", start.elapsed().as_secs_f64());
            }
            ["inside"] => println!("{}", session.time_inside().as_secs_f64()),
            ["save", path] => {
                std::fs::write(path, last.as_ref().context("no run yet")?.bytes())?;
                println!("saved");
            }
            _ => anyhow::bail!("expected run, inside or save FILE, found '{line}'"),
        }
    }
    Ok(())
}
