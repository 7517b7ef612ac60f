//! The stages believe nothing: what they cannot compute is refused with the field's name, whoever
//! sends it, and they go on serving.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "refusals_of_stages/check.rs"]
mod check;

use check::Check;
use cogwheel_api::denoiser::v1::{DenoiseHeader, DenoiseRequest, Sampling, VideoSize};
use cogwheel_api::tensor::v1::TensorPart;
use cogwheel_api::vae::v1::{EncodePurpose, EncodeRequest};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_tests::calls::{decode, denoise, encode, encode_frames};
use cogwheel_tests::parts::{
    chunk, denoise_header, denoise_part, denoise_parts, denoise_request, embedding, encode_header,
    f32_header, frames_part, frames_parts, header_part, tensor_header, zeros,
};
use cogwheel_tests::{Case, Chain, data};

/// The numbers of F32 and U8 on the wire.
const F32: i32 = 1;
const U8: i32 = 6;
/// More bytes than any machine has, as a shape of fp32.
const HUGE: [u64; 4] = [1 << 40, 4, 1, 1];

#[tokio::test(flavor = "multi_thread")]
async fn the_denoiser_refuses_what_is_no_stream_of_its_kind() {
    let chain = Chain::start(&Case::read("ddim").model);
    let [_, denoiser, _] = chain.stage_channels();
    let check = Check::new(async |parts: Vec<DenoiseRequest>| denoise(&denoiser, parts).await);
    let good = denoise_request(denoise_header());
    let after_header = |parts: Vec<TensorPart>| {
        let parts = parts.into_iter().map(denoise_part);
        std::iter::once(header_part(denoise_header())).chain(parts).collect::<Vec<_>>()
    };
    let name = "prompt_embeds";

    check.refused(vec![], "header", "expected the header first").await;
    check.refused(good[1..].to_vec(), "header", "expected the header first").await;
    check.refused(vec![DenoiseRequest { part: None }], "header", "first").await;
    let twice = [&good[..1], &good[..]].concat();
    check.refused(twice, "header", "expected one header, found two").await;
    let empty = [&good[..], &[DenoiseRequest { part: None }]].concat();
    check.refused(empty, "part", "found nothing").await;
    check.refused(after_header(vec![]), name, "expected a tensor, found none").await;
    check.refused(after_header(vec![chunk(4)]), "tensor", "expected a tensor header").await;
    let nothing = TensorPart { part: None };
    check.refused(after_header(vec![nothing]), "tensor", "an empty message").await;
    let unknown = f32_header("weights", &[1, 16, 24]);
    check.refused(after_header(vec![unknown]), "tensor", "'weights' is not expected here").await;
    let again = [&good[..], &good[1..]].concat();
    check.refused(again, "tensor", "sent twice").await;
    let cut = after_header(vec![f32_header(name, &[1, 16, 24]), chunk(1000)]);
    check.refused(cut, "tensor", "expected 1536 bytes in chunks, found 1000").await;
    let over = after_header(vec![f32_header(name, &[1, 16, 24]), chunk(1537)]);
    check.refused(over, "tensor", "expected 1536 bytes in chunks, found 1537").await;
    let lies = after_header(vec![tensor_header(name, F32, &HUGE, 16)]);
    check.refused(lies, "tensor", "its header says 16").await;
    let large = after_header(vec![f32_header(name, &HUGE)]);
    check.refused(large, "tensor", "limit").await;
    let overflow = after_header(vec![tensor_header(name, F32, &[u64::MAX; 3], 0)]);
    check.refused(overflow, "tensor", "larger than this machine can address").await;
    let unknown = after_header(vec![tensor_header(name, 77, &[1, 16, 24], 1536)]);
    check.refused(unknown, "tensor", "no known dtype (found 77)").await;
    // What gRPC itself does not take.
    let message = after_header(vec![f32_header(name, &[1, 16, 24]), chunk(5 << 20)]);
    check.refused(message, "request", "too large").await;

    assert!(denoise(&denoiser, good).await.is_ok(), "it goes on serving");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_denoiser_refuses_tensors_that_are_not_the_models() {
    let chain = Chain::start(&Case::read("ddim").model);
    let [_, denoiser, _] = chain.stage_channels();
    let check = Check::new(async |parts: Vec<DenoiseRequest>| denoise(&denoiser, parts).await);
    let good = denoise_request(denoise_header());
    let with = |name: &str, tensor: &Tensor| {
        let others = ["prompt_embeds", "negative_prompt_embeds"].into_iter().filter(|n| *n != name);
        let others = others.flat_map(|name| denoise_parts(name, &embedding()));
        let mut parts = vec![header_part(denoise_header())];
        parts.extend(others.chain(denoise_parts(name, tensor)));
        parts
    };
    for name in ["prompt_embeds", "negative_prompt_embeds"] {
        for shape in [&[1, 16, 23][..], &[1, 15, 24], &[16, 24], &[1, 1, 16, 24], &[0, 16, 24]] {
            let said = format!("expected F32 [1, 16, 24], found F32 {shape:?}");
            check.refused(with(name, &zeros(shape)), name, &said).await;
        }
        let half = Tensor::new(DType::F16, [1, 16, 24], vec![0; 768]).unwrap();
        check.refused(with(name, &half), name, "found F16 [1, 16, 24]").await;
        let mut values = vec![0.0; 384];
        values[7] = f32::INFINITY;
        let infinite = Tensor::from_f32([1, 16, 24], values).unwrap();
        check.refused(with(name, &infinite), name, "found inf at element 7").await;
    }
    // Two prompts without guidance have the bytes of one prompt with it.
    let mut header = denoise_header();
    header.sampling.as_mut().unwrap().guidance_scale = 1.0;
    let mut two = vec![header_part(header)];
    two.extend(denoise_parts("prompt_embeds", &zeros([2, 16, 24])));
    check.refused(two, "prompt_embeds", "found F32 [2, 16, 24]").await;
    let missing = good[..3].to_vec();
    check.refused(missing, "negative_prompt_embeds", "guidance is on").await;

    let name = "initial_latents";
    let other = with(name, &zeros([3, 4, 8, 6]));
    check.refused(other, name, "expected F32 [3, 4, 6, 8], found F32 [3, 4, 8, 6]").await;
    let mut values = vec![0.0; 576];
    values[575] = f32::NAN;
    let nan = Tensor::from_f32([3, 4, 6, 8], values).unwrap();
    check.refused(with(name, &nan), name, "found NaN at element 575").await;

    assert!(denoise(&denoiser, good).await.is_ok(), "it goes on serving");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_denoiser_refuses_headers_that_cannot_be_computed() {
    let chain = Chain::start(&Case::read("ddim").model);
    let [_, denoiser, _] = chain.stage_channels();
    let check =
        Check::new(async |header: DenoiseHeader| denoise(&denoiser, denoise_request(header)).await);
    let sampling = |change: fn(&mut Sampling)| {
        let mut header = denoise_header();
        change(header.sampling.as_mut().unwrap());
        header
    };
    let size = |change: fn(&mut VideoSize)| {
        let mut header = denoise_header();
        change(header.size.as_mut().unwrap());
        header
    };
    let steps = "num_inference_steps";
    check.refused(sampling(|s| s.num_inference_steps = 0), steps, "found 0").await;
    check.refused(sampling(|s| s.num_inference_steps = 1001), steps, "found 1001").await;
    check.refused(sampling(|s| s.num_inference_steps = u32::MAX), steps, "1 to 1000").await;
    let guidance = "guidance_scale";
    check.refused(sampling(|s| s.guidance_scale = f64::NAN), guidance, "found NaN").await;
    check.refused(sampling(|s| s.guidance_scale = f64::INFINITY), guidance, "found inf").await;
    check.refused(sampling(|s| s.scheduler = 9), "scheduler", "found number 9").await;
    check.refused(size(|s| s.num_frames = 10), "num_frames", "8n+1").await;
    check.refused(size(|s| s.num_frames = 0), "num_frames", "8n+1").await;
    check.refused(size(|s| s.width = 100), "width", "96 and 112").await;
    check.refused(size(|s| s.height = 0), "height", "16").await;
    check.refused(size(|s| s.width = u32::MAX - 15), "size", "memory").await;
    let all = |s: &mut VideoSize| *s = VideoSize { num_frames: 10, width: 1, height: 1 };
    let mut header = size(all);
    header.sampling = None;
    check.all_refused(header, &[steps, "num_frames", "width", "height"]).await;
    check.all_refused(DenoiseHeader::default(), &[steps, "num_frames", "width", "height"]).await;

    assert!(denoise(&denoiser, denoise_request(denoise_header())).await.is_ok());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vae_refuses_latents_that_are_not_the_models() {
    let chain = Chain::start_limited(&Case::read("ddim").model, "1GB");
    let [_, _, vae] = chain.stage_channels();
    let check = Check::new(async |parts: Vec<Option<TensorPart>>| decode(&vae, parts).await);
    let whole = |tensor: &Tensor| cogwheel_api::tensor_parts("latents", tensor).map(Some).collect();
    let parts = |parts: Vec<TensorPart>| parts.into_iter().map(Some).collect::<Vec<_>>();
    let field = "latents";

    check.refused(vec![], field, "expected a tensor, found none").await;
    check.refused(vec![None], field, "an empty message").await;
    check.refused(parts(vec![chunk(4)]), field, "expected a tensor header, found a chunk").await;
    check.refused(parts(vec![f32_header("frames", &[1])]), field, "'frames' is not expected").await;
    let cut = parts(vec![f32_header(field, &[1, 4, 6, 8]), chunk(100)]);
    check.refused(cut, field, "expected 768 bytes in chunks, found 100").await;
    let two: Vec<_> = whole(&zeros([1, 4, 6, 8]));
    check.refused([&two[..], &two[..]].concat(), field, "sent twice").await;
    check.refused(whole(&zeros([1, 3, 6, 8])), field, "[frames, 4, height, width], found").await;
    check.refused(whole(&zeros([1, 1, 4, 6, 8])), field, "expected four dimensions").await;
    check.refused(whole(&zeros([192])), field, "expected four dimensions, found [192]").await;
    check.refused(whole(&zeros([0, 4, 6, 8])), field, "found F32 [0, 4, 6, 8]").await;
    let half = Tensor::new(DType::BF16, [1, 4, 6, 8], vec![0; 384]).unwrap();
    check.refused(whole(&half), field, "found BF16 [1, 4, 6, 8]").await;
    check.refused(parts(vec![f32_header(field, &HUGE)]), field, "limit").await;
    let lies = parts(vec![tensor_header(field, F32, &HUGE, 16), chunk(16)]);
    check.refused(lies, field, "its header says 16").await;
    let overflow = parts(vec![tensor_header(field, F32, &[u64::MAX; 4], 16)]);
    check.refused(overflow, field, "larger than this machine can address").await;
    // Few bytes of latents, too many of frames, in tiles too.
    check.refused(whole(&zeros([1, 4, 2048, 2048])), field, "memory").await;

    let frames = decode(&vae, two).await.unwrap();
    assert_eq!(frames, 1, "it goes on serving");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vae_refuses_frames_that_it_cannot_encode() {
    let chain = Chain::start_limited(&Case::read("ddim").model, "1GB");
    let [_, _, vae] = chain.stage_channels();
    let check = Check::new(async |parts: Vec<EncodeRequest>| encode_frames(&vae, parts).await);
    let header = || encode_header(EncodePurpose::Video);
    let with = |parts: Vec<EncodeRequest>| [vec![header()], parts].concat();
    let parts = |parts: Vec<TensorPart>| with(parts.into_iter().map(frames_part).collect());
    let field = "frames";

    check.refused(vec![], "header", "expected the header first").await;
    check.refused(frames_parts([1, 16, 16, 3]), "header", "expected the header first").await;
    check.refused(vec![EncodeRequest { part: None }], "header", "first").await;
    let unspecified = encode_header(EncodePurpose::Unspecified);
    check.refused(vec![unspecified], "purpose", "image, video or control, found number 0").await;
    check.refused(with(vec![]), field, "expected a tensor, found none").await;
    check.refused(with(vec![header()]), "header", "found two").await;
    check.refused(with(vec![EncodeRequest { part: None }]), "part", "found nothing").await;
    check.refused(parts(vec![chunk(4)]), field, "expected a tensor header").await;
    check.refused(parts(vec![f32_header("latents", &[1])]), field, "'latents' is not").await;
    let cut = parts(vec![tensor_header(field, U8, &[1, 16, 16, 3], 768), chunk(100)]);
    check.refused(cut, field, "expected 768 bytes in chunks, found 100").await;
    let twice = [frames_parts([1, 16, 16, 3]), frames_parts([1, 16, 16, 3])].concat();
    check.refused(with(twice), field, "sent twice").await;
    for shape in [[1, 16, 20, 3], [1, 20, 16, 3], [0, 16, 16, 3], [1, 16, 16, 4], [1, 0, 16, 3]] {
        let said = format!("multiples of 8, found U8 {shape:?}");
        check.refused(with(frames_parts(shape)), field, &said).await;
    }
    let image = [vec![encode_header(EncodePurpose::Image)], frames_parts([9, 16, 16, 3])].concat();
    check.refused(image, field, "expected one frame for an image, found 9").await;
    let floats = cogwheel_api::tensor_parts(field, &zeros([1, 16, 16, 3])).collect();
    check.refused(parts(floats), field, "expected U8").await;
    check.refused(parts(vec![tensor_header(field, U8, &HUGE, 1 << 42)]), field, "limit").await;
    let lies = parts(vec![tensor_header(field, U8, &HUGE, 16), chunk(16)]);
    check.refused(lies, field, "its header says 16").await;

    let drawn = |purpose| [vec![encode_header(purpose)], frames_parts([9, 16, 16, 3])].concat();
    let encoded = encode_frames(&vae, drawn(EncodePurpose::Video)).await.unwrap();
    assert_eq!(encoded, (vec![3, 4, 2, 2], 48), "it goes on serving");
    let encoded = encode_frames(&vae, drawn(EncodePurpose::Control)).await.unwrap();
    assert_eq!(encoded, (vec![3, 4, 2, 2], 0), "the likeliest latents are not drawn");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_denoiser_refuses_latents_of_images_and_videos_that_it_cannot_use() {
    let with = |strength: Option<f64>, values_drawn: u64, tensors: &[(&str, &Tensor)]| {
        let mut header = denoise_header();
        header.sampling.as_mut().unwrap().num_inference_steps = 4;
        let header = DenoiseHeader { strength, values_drawn, ..header };
        let mut parts = denoise_request(header);
        parts.extend(tensors.iter().flat_map(|(name, tensor)| denoise_parts(name, tensor)));
        parts
    };
    let (frame, clip) = (zeros([1, 4, 6, 8]), zeros([3, 4, 6, 8]));
    for (checkpoint, name, good, shape) in [
        ("image", "image_latents", &frame, "[1, 4, 6, 8]"),
        ("control", "control_latents", &clip, "[3, 4, 6, 8]"),
        ("sincos", "video_latents", &clip, "[3, 4, 6, 8]"),
    ] {
        let chain = Chain::start(&data("checkpoints").join(checkpoint));
        let [_, denoiser, _] = chain.stage_channels();
        let check = Check::new(async |parts: Vec<DenoiseRequest>| denoise(&denoiser, parts).await);
        let strength = (name == "video_latents").then_some(0.5);
        let other = zeros([2, 4, 6, 8]);
        let said = format!("expected F32 {shape}, found F32 [2, 4, 6, 8]");
        check.refused(with(strength, 0, &[(name, &other)]), name, &said).await;
        let mut values = vec![0.0; good.as_f32().unwrap().len()];
        values[5] = f32::NAN;
        let nan = Tensor::from_f32(good.shape(), values).unwrap();
        check.refused(with(strength, 0, &[(name, &nan)]), name, "found NaN at element 5").await;
        for (unwanted, tensor) in [("image_latents", &frame), ("control_latents", &clip)] {
            if unwanted != name {
                let tensors = [(name, good), (unwanted, tensor)];
                check.refused(with(strength, 0, &tensors), unwanted, "expected no tensor").await;
            }
        }
        if let Some(strength) = strength {
            check.refused(with(None, 0, &[(name, good)]), "strength", "found a video alone").await;
            check.refused(with(Some(0.5), 0, &[]), "strength", "found a strength alone").await;
            for strength in [0.0, 0.24, -1.0, 1.01, f64::NAN, f64::INFINITY] {
                let said = format!("at least one of 4 steps, found {strength}");
                check.refused(with(Some(strength), 0, &[(name, good)]), "strength", &said).await;
            }
            let drawn = with(Some(strength), 577, &[(name, good)]);
            check.refused(drawn, "values_drawn", "at most 576, found 577").await;
        } else {
            check.refused(with(None, 0, &[]), name, "expected a tensor").await;
            let tensors = [(name, good), ("video_latents", &clip)];
            let said = "expected no tensor";
            check.refused(with(Some(0.5), 0, &tensors), "video_latents", said).await;
        }
        assert!(denoise(&denoiser, with(strength, 576, &[(name, good)])).await.is_ok());
        chain.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_encoder_refuses_no_prompt_too_many_and_too_long_ones() {
    let chain = Chain::start(&Case::read("ddim").model);
    let [text_encoder, ..] = chain.stage_channels();
    let check = Check::new(async |prompts: Vec<String>| encode(&text_encoder, prompts).await);
    check.refused(vec![], "prompts", "expected 1 to 8 prompts, found 0").await;
    check.refused(vec![String::new(); 1000], "prompts", "found 1000").await;
    let long = vec!["a cube".to_owned(), "é".repeat(100_000)];
    check.refused(long, "prompts[1]", "at most 20000 characters, found 100000").await;
    let all = vec!["x".repeat(20_001); 9];
    let fields: Vec<_> = (0..9).map(|index| format!("prompts[{index}]")).collect();
    let fields: Vec<_> = std::iter::once("prompts").chain(fields.iter().map(|f| &f[..])).collect();
    check.all_refused(all, &fields).await;

    let longest = vec![String::new(), "x ".repeat(10_000)];
    assert!(encode(&text_encoder, longest).await.is_ok(), "it goes on serving");
    chain.stop().await;
}
