//! Adapters, from a request to the video: merged variants of the model, chosen per request.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;

use cogwheel_api::generation::v1::{
    AdapterChoice, GenerateVideoRequest, generate_video_response::Event,
};
use cogwheel_tests::{
    Case, Chain, Journal, Video, collect, data, eventually, psnr, relative_error, repository,
};

/// The promise to users is 1e-4; fp32 rounding over a whole pipeline is near 1e-6.
const LATENTS: f64 = 1e-5;
/// The promise to users is 60 dB. Frames stored in half precision show no more than 77 dB.
const FRAMES: f64 = 75.0;

async fn generate(chain: &Chain, request: GenerateVideoRequest) -> Video {
    collect(chain.client().generate_video(request).await.unwrap().into_inner()).await.unwrap()
}

/// The variant that a video was made with, and the most tensors that were told to be merged for it.
fn variant(video: &Video) -> (String, u32) {
    let (mut variant, mut merged) = (String::new(), 0);
    for (_, event) in &video.events {
        match event {
            Event::VideoCompleted(completed) => variant.clone_from(&completed.variant),
            Event::VariantMerging(merging) => merged = merged.max(merging.num_tensors),
            _ => {}
        }
    }
    (variant, merged)
}

fn adapters_of(case: &Case) -> std::path::PathBuf {
    if case.model.ends_with("demo/model") {
        repository().join("demo/adapters")
    } else {
        data("adapters")
    }
}

async fn check(name: &str) {
    let case = Case::read(name);
    let chain = Chain::start_adapters(&case.model, &adapters_of(&case), &[]);
    let base = GenerateVideoRequest { adapters: Vec::new(), ..case.request.clone() };
    let before = generate(&chain, base.clone()).await;
    let video = generate(&chain, case.request.clone()).await;
    let again = generate(&chain, case.request.clone()).await;
    let after = generate(&chain, base).await;
    chain.stop().await;

    let latents = video.latents[0].as_f32().unwrap();
    let error = relative_error(&latents, &case.latents.as_f32().unwrap());
    let decibels = psnr(&video.frames, &case.frames.as_f32().unwrap());
    println!("{name}: latents {error:.1e}, frames {decibels:.1} dB");
    assert!(error <= LATENTS, "{name}: latents differ by {error:.1e}");
    assert!(decibels >= FRAMES, "{name}: frames at {decibels:.1} dB");
    let plain = relative_error(&before.latents[0].as_f32().unwrap(), &latents);
    assert!(plain > 1e-2, "{name}: the adapters change the latents by {plain:.1e} only");

    let (id, merged) = variant(&video);
    assert!(id.len() == 64 && merged > 0);
    assert_eq!(variant(&again), (id, 0), "a variant in memory is not merged again");
    assert_eq!(again.latents, video.latents);
    assert_eq!(variant(&before), (String::new(), 0));
    assert_eq!(after.latents, before.latents, "the model is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_in_a_video_that_starts_from_an_image() {
    check("image-lora").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_where_patches_have_two_frames() {
    check("patches-lora").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_in_a_video_that_starts_from_an_image_in_patches_of_two_frames() {
    check("image15-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_in_a_video_made_of_another() {
    check("video-lora").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_in_a_video_that_another_controls() {
    check("control-larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_adapter_at_a_scale_of_its_own() {
    check("lora-one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_adapters_with_negative_scales_and_every_kind_of_target() {
    check("lora-several").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weight_decomposed_adapters_in_their_order() {
    check("lora-dora").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_models_adapters_mixed() {
    check("lora-demo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_at_scale_0_is_the_model_to_the_bit() {
    let case = Case::read("lora-one");
    let chain = Chain::start_adapters(&case.model, &data("adapters"), &[]);
    let with = |adapters| GenerateVideoRequest { adapters, ..case.request.clone() };
    let zero = AdapterChoice { name: "attention".into(), scale: Some(0.0) };
    let [zero, base] =
        [generate(&chain, with(vec![zero])).await, generate(&chain, with(Vec::new())).await];
    chain.stop().await;
    assert_eq!(zero.latents, base.latents);
    assert_eq!(zero.frames, base.frames);
    assert_eq!(variant(&zero), (String::new(), 0));
}

/// What is pinned is merged when the server starts, and again in no request, however little memory the others leave.
#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_variant_is_merged_at_the_start_and_stays_in_memory() {
    let case = Case::read("lora-one");
    let with = |name: &str, scale: f32| GenerateVideoRequest {
        num_inference_steps: Some(1),
        adapters: vec![AdapterChoice { name: name.into(), scale: Some(scale) }],
        ..case.request.clone()
    };
    let pins = ["ranks=0.5,rslora=0.25", "ranks=0.7"];
    // For both, and not for one of the others too.
    let memory = ["--variant-memory", "120KiB"];
    let journal = Journal::start();
    let chain = Chain::start_pinned(&case.model, &data("adapters"), &memory, &pins);
    eventually("both are pinned", async || {
        let entries = journal.entries();
        (entries.iter().filter(|entry| entry.message == "variant pinned").count() == 2)
            .then_some(())
    })
    .await;
    for scale in [1.0, 2.0, 1.0] {
        assert!(variant(&generate(&chain, with("attention", scale)).await).1 > 0);
        assert_eq!(variant(&generate(&chain, with("ranks", 0.7)).await).1, 0);
    }
    // The same adapters in another order are the same variant.
    let mut both = with("rslora", 0.25);
    both.adapters.push(AdapterChoice { name: "ranks".into(), scale: Some(0.5) });
    assert_eq!(variant(&generate(&chain, both).await).1, 0);
    // What is merged is still right.
    let video = generate(&chain, case.request.clone()).await;
    let latents = video.latents[0].as_f32().unwrap();
    let error = relative_error(&latents, &case.latents.as_f32().unwrap());
    assert!(error <= LATENTS, "latents differ by {error:.1e}");
    chain.stop().await;
}

/// 200 requests over 8 variants with memory for 3, in an order that mixes them, one of seven left by its caller: every
/// result is the one that is made alone, and the chain ends in order.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_over_more_variants_than_memory_holds_get_what_each_gets_alone() {
    let case = Case::read("lora-one");
    let request = |kind: usize| GenerateVideoRequest {
        num_inference_steps: Some(1),
        guidance_scale: Some(1.0),
        adapters: match kind {
            0 => Vec::new(),
            kind => vec![AdapterChoice {
                name: ["attention", "rslora", "ranks"][kind % 3].into(),
                scale: Some(kind as f32 / 4.0),
            }],
        },
        ..case.request.clone()
    };
    let kinds = 0..9;
    let chain = Chain::start_adapters(&case.model, &data("adapters"), &[]);
    let mut alone = HashMap::new();
    for kind in kinds {
        let video = generate(&chain, request(kind)).await;
        alone.insert(kind, (video.latents.clone(), variant(&video).0));
    }
    chain.stop().await;
    let ids: std::collections::HashSet<_> = alone.values().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 9, "nine different variants");

    let flags = ["--variant-memory", "20KiB"];
    let chain = Chain::start_adapters(&case.model, &data("adapters"), &flags);
    let mut work = tokio::task::JoinSet::new();
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(12));
    for index in 0..200usize {
        let kind = index * 7919 % 9;
        let (mut client, request) = (chain.client(), request(kind));
        let turns = std::sync::Arc::clone(&turns);
        work.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let mut stream = client.generate_video(request).await.unwrap().into_inner();
            if index % 7 == 3 {
                // Left after so many events, wherever that is.
                for _ in 0..index % 5 {
                    stream.message().await.unwrap();
                }
                return None;
            }
            Some((kind, collect(stream).await.unwrap()))
        });
    }
    let (mut done, mut merges) = (0, 0);
    while let Some(outcome) = work.join_next().await {
        if let Some((kind, video)) = outcome.unwrap() {
            let (latents, id) = &alone[&kind];
            assert_eq!(&video.latents, latents, "variant {kind}");
            assert_eq!(&variant(&video).0, id);
            merges += usize::from(variant(&video).1 > 0);
            done += 1;
        }
    }
    assert_eq!(done, (0..200).filter(|index| index % 7 != 3).count());
    assert!(merges > 16, "expected that memory did not hold them all, found {merges} merges");
    chain.stop().await;
}
