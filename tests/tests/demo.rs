//! The demo model does what its prompts say: a fixed part of the evaluation (`make eval-demo` runs all of it).
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_tests::evaluation::{Score, frames, prompts, score, share};
use cogwheel_tests::{Chain, repository};

fn chain() -> Chain {
    let demo = repository().join("demo");
    Chain::start_adapters(&demo.join("model"), &demo.join("adapters"), &[])
}

async fn scores(
    chain: &Chain,
    clips: std::ops::Range<usize>,
    adapters: &[(&str, f32)],
) -> Vec<Score> {
    let mut scores = Vec::new();
    for (seed, prompt) in prompts()[clips.clone()].iter().enumerate() {
        let found = score(chain, prompt, (clips.start + seed) as u64, adapters).await;
        println!("{}: {found:?}", prompt.prompt);
        scores.push(found);
    }
    scores
}

/// 24 clips. What they must reach is what the model as a whole must (`demo/README.md`).
#[tokio::test(flavor = "multi_thread")]
async fn clips_show_what_their_prompts_and_adapters_say() {
    let chain = chain();
    let base = scores(&chain, 0..12, &[]).await;
    // Of twelve clips 95% leave one to go wrong, and 85% leave two.
    let wrong = |right: fn(&Score) -> bool| base.iter().filter(|score| !right(score)).count();
    for (what, most, found) in [
        ("colour", 1, wrong(|score| score.color)),
        ("direction", 1, wrong(|score| score.direction)),
        ("background", 1, wrong(|score| score.background)),
        ("shape", 2, wrong(|score| score.shape)),
    ] {
        assert!(found <= most, "{what}: expected at most {most} of 12 clips wrong, found {found}");
    }
    let bounce = scores(&chain, 12..16, &[("bounce", 1.0)]).await;
    // Of four clips one may miss what nine of ten must show.
    assert!(share(&bounce, |score| score.bounce) >= 90.0);
    assert!(share(&bounce, |score| score.direction) >= 75.0);
    let neon = scores(&chain, 16..20, &[("neon", 1.0)]).await;
    assert!(share(&neon, |score| score.neon) >= 75.0);
    assert!(share(&neon, |score| score.color) >= 90.0);
    assert!(share(&neon, |score| score.direction) >= 75.0);
    let both = scores(&chain, 20..24, &[("bounce", 1.0), ("neon", 1.0)]).await;
    assert!(share(&both, |score| score.bounce && score.neon) >= 75.0);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_an_adapter_lies_between_none_and_all_of_it() {
    let chain = chain();
    let mut dance = Vec::new();
    for scale in [0.0, 0.5, 1.0] {
        let scores = scores(&chain, 0..4, &[("bounce", scale)]).await;
        dance.push(scores.iter().map(|score| score.oscillation).sum::<f32>() / 4.0);
    }
    assert!(dance[0] < dance[1] && dance[1] < dance[2], "{dance:?}");
    let prompt = &prompts()[0].prompt;
    let zero = frames(&chain, prompt, 1, &[("bounce", 0.0), ("neon", 0.0)]).await;
    assert_eq!(zero, frames(&chain, prompt, 1, &[]).await);
    chain.stop().await;
}
