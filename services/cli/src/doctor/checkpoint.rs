use std::path::Path;

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Tiling;

use super::Finding;
use crate::models::Weights;
use crate::sums;

const SUBJECT: &str = "checkpoint";

/// A checkpoint's configs and weights, and whether there is memory for it.
pub(super) fn findings(model: &Path, memory: Option<u64>) -> Vec<Finding> {
    let checkpoint = match Checkpoint::open(model) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let advice = "expected a folder as published for diffusers, with every file it names";
            return vec![Finding::bad(SUBJECT, format!("{error}: {advice}"))];
        }
    };
    let mut findings = vec![Finding::good(SUBJECT, checkpoint.family().to_string())];
    findings.push(match Weights::of(&checkpoint) {
        Ok(Weights(parts)) => {
            let parts = [parts.text_encoder, parts.transformer, parts.vae];
            let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
            Finding::good("weights", format!("{:.2} GB, all headers sound", bytes as f64 / 1e9))
        }
        Err(error) => Finding::bad("weights", format!("{error}: fetch the file again")),
    });
    match sums::check(model) {
        Ok(None) => {}
        Ok(Some(count)) => {
            let text = format!("{count} files are those that {} names", sums::FILE);
            findings.push(Finding::good("digests", text));
        }
        Err(error) => {
            findings.push(Finding::bad("digests", format!("{error}{}", error.advice())));
        }
    }
    findings.extend(memory.map(|memory| need(&checkpoint, memory)));
    findings
}

/// What a video of the default size takes, in fp32.
fn need(checkpoint: &Checkpoint, memory: u64) -> Finding {
    let in_tiles = |whole| Tiling::Auto.applies(whole, Some(memory));
    let (need, tiled) = checkpoint.memory_need(&checkpoint.default_workload(), in_tiles);
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let (together, alone) = (gigabytes(need.together()), gigabytes(need.largest()));
    let tiles = if tiled { ", with frames decoded in tiles" } else { "" };
    if need.together() <= memory {
        Finding::good("room", format!("a video of the default size takes about {together}{tiles}"))
    } else if need.largest() <= memory {
        let text = format!(
            "all stages at once would take about {together}: they are loaded one after another, {alone} at most{tiles}"
        );
        Finding::note("room", text)
    } else {
        let text = format!(
            "a video of the default size takes about {alone} in one stage: expected at most {}: make smaller ones \
             (--width, --height, --num-frames), or use a machine with more",
            gigabytes(memory)
        );
        Finding::bad("room", text)
    }
}
