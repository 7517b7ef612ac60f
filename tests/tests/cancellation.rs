//! A client that leaves stops the denoiser within a step, and others notice nothing.

use cogwheel_api::generation::v1::generate_video_response::Event;
use cogwheel_tests::{Case, Chain, Journal, collect};

// One test in this file: it reads the whole process's journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_stops_the_denoiser_within_a_step_and_the_next_is_unaffected() {
    let journal = Journal::start();
    let case = Case::read("ddim");
    let chain = Chain::start(&case.model);
    let mut short = case.request.clone();
    short.num_inference_steps = Some(4);
    let alone = chain.client().generate_video(short.clone()).await.unwrap().into_inner();
    let alone = collect(alone).await.unwrap();
    let before = journal.entries().len();

    let mut long = case.request.clone();
    long.num_inference_steps = Some(1000);
    let mut leaving = chain.client().generate_video(long).await.unwrap().into_inner();
    loop {
        let event = leaving.message().await.unwrap().unwrap().event;
        if matches!(event, Some(Event::StepCompleted(step)) if step.step == 3) {
            break;
        }
    }
    let mut staying = chain.client();
    let mut waiting = staying.generate_video(short).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(Event::Queued(_))) {
        seen.extend(waiting.message().await.unwrap().unwrap().event);
    }
    drop(leaving);
    let video = collect(waiting).await.unwrap();
    assert_eq!(video.latents, alone.latents);
    assert_eq!(video.frames, alone.frames);
    chain.stop().await;

    // Both the orchestrator and the denoiser notice; the denoiser is the last to.
    let entries = journal.entries().split_off(before);
    let left = entries.iter().rposition(|entry| entry.message == "the caller left").unwrap();
    let steps: Vec<_> = entries[left..].iter().filter_map(|entry| entry.timestep).collect();
    let short = [999, 749, 499, 249];
    let late = steps.strip_suffix(&short).expect("the second client's steps come last");
    assert!(late.len() <= 1, "steps after the denoiser knew: {late:?}");
    let long = entries[..left].iter().filter(|entry| entry.timestep.is_some()).count();
    assert!((3..999).contains(&long), "steps before: {long}");
}
