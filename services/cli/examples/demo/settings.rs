use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cogwheel_cli::args::{Command, Invocation, parse};
use cogwheel_cli::chain::{ChainSettings, StageQueue, open_checkpoint};
use cogwheel_cli::sums;
use cogwheel_orchestrator::{RegisteredAdapter, WorkLimits};

/// A chain for the model of a demo folder with its adapters, and their names.
///
/// Files that are not those of the project are told before anything is loaded.
pub(crate) fn of(demo: &Path) -> anyhow::Result<(ChainSettings, Vec<String>)> {
    for folder in ["model", "adapters"] {
        sums::check(&demo.join(folder))
            .map_err(|error| anyhow::anyhow!("{error}; `git checkout demo` brings it back"))?;
    }
    let checkpoint =
        open_checkpoint(&demo.join("model")).map_err(|fatal| anyhow::anyhow!(fatal.message))?;
    let mut folders: Vec<_> = std::fs::read_dir(demo.join("adapters"))
        .with_context(|| format!("{}: expected a folder of adapters", demo.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let (mut given_adapters, mut names) = (Vec::new(), Vec::new());
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let adapter = RegisteredAdapter::open(&folder, None, None, &checkpoint)?;
        given_adapters.push(Arc::new(adapter.named(name.clone())));
        names.push(name);
    }
    // As `cogwheel generate` computes where nothing is stated.
    let defaults = ["cogwheel", "generate", "--model", "m", "--prompt", "p", "--output", "o.mp4"];
    let parsed = parse(defaults.map(Into::into)).map_err(|fatal| anyhow::anyhow!(fatal.message))?;
    let Invocation::Command(Command::Generate(args)) = parsed else { bail!("expected generate") };
    let settings = ChainSettings {
        checkpoint,
        compute: args.compute,
        memory_limit: None,
        vae_tiling: args.tiling.vae_tiling,
        queue: StageQueue { depth: 1 },
        work: WorkLimits { max_videos: 1, ..WorkLimits::default() },
        size: [None; 3],
        from_video: false,
        adapters: Default::default(),
        variants: Default::default(),
        inputs: args.inputs,
        enhancer: Default::default(),
        given_adapters,
        page: None,
    };
    Ok((settings, names))
}
