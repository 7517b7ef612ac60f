//! How well the demo model does what its prompts say, as a table in Markdown: `make eval-demo`.
//!
//! Clips are made by the four services through the public API, 30 steps and all else by default, and read by the judge
//! (`tests/src/judge.rs`). Progress goes to standard error.

use cogwheel_tests::evaluation::{ADAPTERS, Prompt, Score, frames, prompts, score, share};
use cogwheel_tests::{Chain, repository};

/// Prompts of a case with adapters.
const WITH_ADAPTERS: usize = 24;
/// Clips that are made at once; the stages work side by side.
const AT_ONCE: usize = 2;

#[tokio::main]
async fn main() {
    let demo = repository().join("demo");
    let chain = Chain::start_adapters(&demo.join("model"), &demo.join("adapters"), &[]);
    let all = prompts();
    let few = &all[..WITH_ADAPTERS.min(all.len())];
    println!("| case | clips | colour | shape | direction | background | effect |");
    println!("|---|---|---|---|---|---|---|");

    let first = run(&chain, "base", &all, 0, &[]).await;
    let second = run(&chain, "base, other seeds", &all, 1000, &[]).await;
    let base = [first, second].concat();
    row("the model alone", &base, None);
    let unseen = all.iter().chain(&all).zip(&base).filter(|(prompt, _)| prompt.held_out);
    let unseen: Vec<Score> = unseen.map(|(_, score)| *score).collect();
    row("of these, combinations that training never saw", &unseen, None);
    for name in ADAPTERS {
        let scores = run(&chain, name, few, 0, &[(name, 1.0)]).await;
        row(name, &scores, Some(share(&scores, |score| score.shows(name))));
    }
    let both = run(&chain, "bounce and neon", few, 0, &[("bounce", 1.0), ("neon", 1.0)]).await;
    row("bounce and neon", &both, Some(share(&both, |score| score.bounce && score.neon)));

    println!();
    let mut dance = Vec::new();
    for scale in [0.0, 0.5, 1.0] {
        let scores = run(&chain, "scales", &few[..8], 0, &[("bounce", scale)]).await;
        let mean = scores.iter().map(|score| score.oscillation).sum::<f32>() / scores.len() as f32;
        dance.push(format!("{mean:.2} at {scale}"));
    }
    println!("Pixels of bounce's dance by its scale, mean of 8 clips: {}.", dance.join(", "));
    let Prompt { prompt, .. } = &all[0];
    let [zero, plain] =
        [&[("bounce", 0.0)][..], &[]].map(|chosen| frames(&chain, prompt, 0, chosen));
    let same = if zero.await == plain.await { "is" } else { "IS NOT" };
    println!("A scale of 0 {same} the model alone, to the bit.");
    chain.stop().await;
}

/// The scores of a case's clips.
async fn run(
    chain: &Chain,
    case: &str,
    prompts: &[Prompt],
    first_seed: u64,
    adapters: &[(&str, f32)],
) -> Vec<Score> {
    let mut scores = Vec::new();
    for (at, pair) in prompts.chunks(AT_ONCE).enumerate() {
        let clip = |index: usize| {
            let prompt = pair.get(index);
            let seed = first_seed + (at * AT_ONCE + index) as u64;
            async move {
                match prompt {
                    Some(prompt) => Some(score(chain, prompt, seed, adapters).await),
                    None => None,
                }
            }
        };
        let (one, other) = tokio::join!(clip(0), clip(1));
        scores.extend([one, other].into_iter().flatten());
        eprint!("\r{case}: {} of {}  ", scores.len(), prompts.len());
    }
    eprintln!();
    scores
}

fn row(case: &str, scores: &[Score], effect: Option<f64>) {
    let percent = |holds: fn(&Score) -> bool| format!("{:.0}%", share(scores, holds));
    let effect = effect.map_or("".to_owned(), |share| format!("{share:.0}%"));
    println!(
        "| {case} | {} | {} | {} | {} | {} | {effect} |",
        scores.len(),
        percent(|s| s.color),
        percent(|s| s.shape),
        percent(|s| s.direction),
        percent(|s| s.background),
    );
}
