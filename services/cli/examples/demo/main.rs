//! `make demo`: what the demo model does with three prompts, alone, with each of its adapters and with two at once, side by
//! side in one video; and what that takes.
//!
//!     demo [DEMO_FOLDER [OUTPUT_FOLDER]]      (demo and out)
//!
//! The four services run in this process and are asked through the public API.

mod clip;
mod grid;
mod report;
mod settings;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use cogwheel_cli::chain::Chain;
use cogwheel_cli::client::Server;
use cogwheel_service::{Dialer, Fatal};
use cogwheel_video::{VideoEncoder, VideoFormat, encode_png};

use clip::{Clip, make};
use grid::Grid;

/// One of each shape, and three ways to go.
const PROMPTS: [&str; 3] = [
    "a red circle moving left on a dark background",
    "a yellow triangle moving up on a gray background",
    "a blue square moving right on a light background",
];
/// What the first prompt's clips are drawn from; the others count up.
const SEED: u64 = 7;
/// Of the clips of the demo model.
const FPS: u32 = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.len() > 2 || arguments.iter().any(|argument| argument.starts_with('-')) {
        anyhow::bail!("expected demo [DEMO_FOLDER [OUTPUT_FOLDER]], found {}", arguments.join(" "));
    }
    let mut folders = arguments.iter().map(PathBuf::from);
    let demo = folders.next().unwrap_or_else(|| "demo".into());
    let out = folders.next().unwrap_or_else(|| "out".into());
    fs::create_dir_all(&out)?;
    let (settings, adapters) = settings::of(&demo)?;
    let cases = cases(&adapters);
    let (chain, address) = Chain::in_memory(settings);
    let made = clips(&Server::at(address, &Dialer::default()), &cases).await;
    let (clips, ended) = match made {
        Ok(clips) => (Some(clips), Ok(())),
        Err(fatal) => (None, Err(fatal)),
    };
    chain.end(ended).await.map_err(|fatal| anyhow::anyhow!(fatal.message))?;
    if let Some(clips) = clips {
        print!("{}", report::of(&clips, &cases));
        save(&clips, &cases, &out)?;
    }
    Ok(())
}

/// The adapters of each column: none, each alone, and the first two at once.
fn cases(adapters: &[String]) -> Vec<Vec<String>> {
    let alone = adapters.iter().map(|name| vec![name.clone()]);
    let mut cases: Vec<_> = [Vec::new()].into_iter().chain(alone).collect();
    if adapters.len() > 1 {
        cases.push(adapters[..2].to_vec());
    }
    cases
}

/// A row of clips for each prompt.
async fn clips(server: &Server, cases: &[Vec<String>]) -> Result<Vec<Vec<Clip>>, Fatal> {
    let mut rows = Vec::new();
    for (row, prompt) in PROMPTS.iter().enumerate() {
        let mut clips = Vec::new();
        for adapters in cases {
            eprintln!("{prompt}: {}", report::label(adapters));
            clips.push(make(server, prompt, SEED + row as u64, adapters).await?);
        }
        rows.push(clips);
    }
    Ok(rows)
}

fn save(rows: &[Vec<Clip>], cases: &[Vec<String>], out: &Path) -> anyhow::Result<()> {
    let labels: Vec<String> = cases.iter().map(|adapters| report::label(adapters)).collect();
    let Some(first) = rows.first().and_then(|row| row.first()) else { return Ok(()) };
    let grid = Grid::new(&PROMPTS, &labels, first.size);
    let frames: Vec<Vec<u8>> = (0..first.frames.len())
        .map(|index| {
            let frames = rows.iter().map(|row| row.iter().map(|clip| &clip.frames[index][..]));
            grid.draw(frames)
        })
        .collect();
    for (format, name) in [(VideoFormat::Mp4, "demo.mp4"), (VideoFormat::Gif, "demo.gif")] {
        let mut encoder = VideoEncoder::new(format, grid.size(), FPS)?;
        for frame in &frames {
            encoder.push(frame)?;
        }
        written(&out.join(name), &encoder.finish()?)?;
    }
    written(&out.join("demo.png"), &encode_png(grid.size(), &frames[frames.len() / 2])?)
}

fn written(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes)?;
    println!("{}", path.display());
    Ok(())
}
