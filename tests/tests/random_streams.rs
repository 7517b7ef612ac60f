//! Whatever is sent to a stage, it answers or refuses: never a panic, never INTERNAL, and the next
//! caller is served.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use cogwheel_api::denoiser::v1::{DenoiseHeader, DenoiseRequest, Sampling, VideoSize};
use cogwheel_api::tensor::v1::TensorPart;
use cogwheel_api::tensor_parts;
use cogwheel_api::vae::v1::{EncodeHeader, EncodeRequest, encode_request};
use cogwheel_tests::calls::{decode, denoise, encode, encode_frames};
use cogwheel_tests::parts::{
    chunk, denoise_header, denoise_part, denoise_parts, embedding, frames_part, frames_parts,
    header_part, tensor_header, zeros,
};
use cogwheel_tests::{Case, Chain};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;
use tonic::{Code, Status};

/// Enough to come upon every kind of part after every other; each case takes some milliseconds.
const CASES: u32 = 128;

/// Answered, or the sender's fault; whether it was answered. What leaves the range of numbers on the
/// way is FAILED_PRECONDITION.
fn check<T>(result: Result<T, Status>) -> Result<bool, TestCaseError> {
    if let Err(status) = &result {
        let told = matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition);
        prop_assert!(told, "{}", status);
    }
    Ok(result.is_ok())
}

/// Runs `property` on a chain; some of the cases are answered, and good requests after them.
fn on_chain<S: Strategy>(
    inputs: S,
    property: impl AsyncFn(&Chain, S::Value) -> Result<bool, TestCaseError>,
) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let _entered = RUNTIME.enter();
    let chain = Chain::start(&Case::read("ddim").model);
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() };
    let answered = Cell::new(0);
    let result = TestRunner::new(config).run(&inputs, |input| {
        let was_answered = RUNTIME.block_on(property(&chain, input))?;
        answered.set(answered.get() + u32::from(was_answered));
        Ok(())
    });
    RUNTIME.block_on(async {
        let [text_encoder, denoiser, vae] = chain.stage_channels();
        let answers = [
            encode(&text_encoder, vec!["a cube".to_owned()]).await,
            denoise(&denoiser, cogwheel_tests::parts::denoise_request(denoise_header())).await,
            decode(&vae, latents([1, 4, 2, 2])).await.map(drop),
        ];
        chain.stop().await;
        assert!(answers.iter().all(Result::is_ok), "they go on serving: {answers:?}");
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Else the cases would not be worth much.
    let answered = answered.get();
    assert!((1..CASES).contains(&answered), "{answered} of {CASES} were answered");
}

fn latents(shape: [usize; 4]) -> Vec<Option<TensorPart>> {
    tensor_parts("latents", &zeros(shape)).map(Some).collect()
}

/// Headers that are sound, lie, or ask for too much, and chunks that fit them or not.
fn tensor_part() -> impl Strategy<Value = TensorPart> {
    let names = [
        "prompt_embeds",
        "negative_prompt_embeds",
        "initial_latents",
        "video_latents",
        "image_latents",
        "latents",
        "frames",
        "",
        "é",
    ];
    let dims = [0, 1, 2, 3, 4, 6, 8, 16, 24, 1000, 1 << 40, u64::MAX];
    let header =
        (select(names.to_vec()), -1..9_i32, vec(select(dims.to_vec()), 0..6), any::<bool>());
    let header = header.prop_map(|(name, dtype, shape, truthful)| {
        let size = [0, 4, 2, 2, 8, 4, 1, 1].get(usize::try_from(dtype).unwrap_or(0)).copied();
        let bytes = shape.iter().fold(size.unwrap_or(0), |n: u64, &dim| n.wrapping_mul(dim));
        tensor_header(name, dtype, &shape, if truthful { bytes } else { bytes.wrapping_add(3) })
    });
    let chunk = select(&[0, 1, 4, 768, 1536, 2304, 1 << 20][..]).prop_map(chunk);
    prop_oneof![4 => header, 4 => chunk, 1 => Just(TensorPart { part: None })]
}

/// Mostly a good value, at times another one.
fn mostly<T: Clone + fmt::Debug + 'static>(good: &[T], bad: &[T]) -> impl Strategy<Value = T> {
    prop_oneof![9 => select(good.to_vec()), 1 => select(bad.to_vec())]
}

fn header() -> impl Strategy<Value = DenoiseHeader> {
    let sampling = (
        mostly(&[1, 2], &[0, 1001, u32::MAX]),
        mostly(&[-1e300, -1.0, 0.0, 1.0, 6.0, 1e300], &[f64::NAN, f64::INFINITY]),
        mostly(&[0, 1, 2], &[-1, 3]),
        any::<bool>(),
        any::<u64>(),
    );
    let sampling =
        sampling.prop_map(|(num_inference_steps, guidance_scale, scheduler, dynamic_cfg, seed)| {
            Sampling { num_inference_steps, guidance_scale, scheduler, dynamic_cfg, seed }
        });
    let side = || mostly(&[16, 32, 48, 64], &[0, 1, 15, u32::MAX, u32::MAX - 15]);
    let size = (mostly(&[9, 17], &[0, 1, 8, u32::MAX, u32::MAX - 6]), side(), side());
    let size = size.prop_map(|(num_frames, width, height)| VideoSize { num_frames, width, height });
    (weighted(0.9, sampling), weighted(0.9, size)).prop_map(|(sampling, size)| DenoiseHeader {
        sampling,
        size,
        adapters: Vec::new(),
        pinned: false,
        strength: None,
        values_drawn: 0,
    })
}

/// Single parts, and runs of parts that are a whole tensor or a sound header.
fn denoise_run() -> impl Strategy<Value = Vec<DenoiseRequest>> {
    prop_oneof![
        header().prop_map(|header| vec![header_part(header)]),
        Just(vec![header_part(denoise_header())]),
        tensor_part().prop_map(|part| vec![denoise_part(part)]),
        Just(denoise_parts("prompt_embeds", &embedding())),
        Just(denoise_parts("prompt_embeds", &zeros([2, 16, 24]))),
        Just(denoise_parts("initial_latents", &zeros([3, 4, 6, 8]))),
        Just(vec![DenoiseRequest { part: None }]),
        Just(vec![]),
    ]
}

/// A good request with and without guidance and latents, of which here and there a part is another.
fn denoise_runs() -> impl Strategy<Value = Vec<DenoiseRequest>> {
    let mut unguided = denoise_header();
    unguided.sampling.as_mut().unwrap().guidance_scale = 1.0;
    let slot = |good: [Vec<DenoiseRequest>; 2]| prop_oneof![9 => select(good.to_vec()), 1 => denoise_run(), 1 => header_or_nothing()];
    let whole = denoise_parts;
    let slots = (
        slot([denoise_header(), unguided].map(|header| vec![header_part(header)])),
        slot([whole("prompt_embeds", &embedding()), whole("prompt_embeds", &embedding())]),
        slot([whole("negative_prompt_embeds", &embedding()), vec![]]),
        slot([whole("initial_latents", &zeros([3, 4, 6, 8])), vec![]]),
    );
    slots.prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn header_or_nothing() -> impl Strategy<Value = Vec<DenoiseRequest>> {
    weighted(0.5, header()).prop_map(|header| header.into_iter().map(header_part).collect())
}

#[test]
fn the_denoiser_answers_or_refuses_any_parts() {
    on_chain(denoise_runs(), async |chain, parts| {
        let [_, denoiser, _] = chain.stage_channels();
        check(denoise(&denoiser, parts).await)
    });
}

#[test]
fn the_denoiser_answers_or_refuses_any_header_with_good_tensors() {
    on_chain(header(), async |chain, header| {
        let [_, denoiser, _] = chain.stage_channels();
        check(denoise(&denoiser, cogwheel_tests::parts::denoise_request(header)).await)
    });
}

#[test]
fn the_vae_answers_or_refuses_any_parts() {
    let side = || select(&[0, 1, 2, 3, 5][..]);
    let whole = (0..7_usize, select(&[4, 4, 4, 3][..]), side(), side())
        .prop_map(|(frames, channels, height, width)| latents([frames, channels, height, width]));
    let run = prop_oneof![
        4 => whole,
        2 => tensor_part().prop_map(|part| vec![Some(part)]),
        1 => Just(vec![None]),
    ];
    on_chain(vec(run, 0..3), async |chain, runs| {
        let [_, _, vae] = chain.stage_channels();
        check(decode(&vae, runs.concat()).await)
    });
}

#[test]
fn the_vae_answers_or_refuses_any_frames() {
    let side = || mostly(&[16, 24], &[0, 8, 20]);
    let whole = || {
        let shape = (mostly(&[1, 1, 5, 9], &[0, 2, 10]), side(), side(), mostly(&[3], &[1]));
        shape.prop_map(|(f, height, width, channels)| frames_parts([f, height, width, channels]))
    };
    let header = || {
        (mostly(&[1, 2, 3], &[-1, 0, 4]), any::<u64>()).prop_map(|(purpose, seed)| {
            let header = EncodeHeader { purpose, seed };
            vec![EncodeRequest { part: Some(encode_request::Part::Header(header)) }]
        })
    };
    let run = prop_oneof![
        4 => whole(),
        1 => header(),
        2 => tensor_part().prop_map(|part| vec![frames_part(part)]),
        1 => Just(vec![EncodeRequest { part: None }]),
    ];
    let first = prop_oneof![9 => header(), 1 => Just(vec![])];
    let runs = prop_oneof![whole().prop_map(|whole| vec![whole]), vec(run, 0..3)];
    on_chain((first, runs), async |chain, (first, runs)| {
        let [_, _, vae] = chain.stage_channels();
        check(encode_frames(&vae, [first, runs.concat()].concat()).await)
    });
}

#[test]
fn the_text_encoder_answers_or_refuses_any_prompts() {
    let text = prop_oneof![any::<String>(), "[ a-e▁<>/\u{0}\u{200b}]{0,300}"];
    on_chain(vec(text, 0..10), async |chain, prompts| {
        let [text_encoder, ..] = chain.stage_channels();
        check(encode(&text_encoder, prompts).await)
    });
}
