//! The encoder gives transformers' embeddings (tools/reference/text_encoder.py), whatever the cache holds.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use cogwheel_engine::{CancellationToken, EngineError, Provider, Runtime, SessionOptions};
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_tensor::Tensor;
use cogwheel_text_encoder::{
    EmbeddingCache, EncodeError, Encoded, TextEncoder, TextEncoderOptions, Truncation,
};
use cogwheel_weights::Weights;

/// Of the greatest difference to the greatest value. fp32 rounding in another order gives about 1e-6.
const MAX_RELATIVE_ERROR: f32 = 1e-5;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");

/// Those of the reference script.
const PROMPTS: [&str; 4] = [
    "",
    "a red circle moving left on a dark background",
    "a blue fox walking, foxs and rain walking! a green river dancing under the rain at dawn, and so on and on",
    "日本 ☃ xyz",
];

fn encoder(folder: &str, cache: &EmbeddingCache) -> TextEncoder {
    let checkpoint = Checkpoint::open(&Path::new(ROOT).join(folder)).unwrap();
    let session =
        SessionOptions { provider: Provider::Cpu, threads: Some(1), ..SessionOptions::default() };
    let options = TextEncoderOptions { session, cache: cache.clone(), model_id: folder.to_owned() };
    TextEncoder::load(&checkpoint, &Runtime::load().unwrap(), &options).unwrap()
}

fn encode(encoder: &mut TextEncoder, prompts: &[&str]) -> Encoded {
    encoder.encode(prompts, &CancellationToken::new()).unwrap()
}

/// Every one of `kept` channels in `of` is in the reference file.
fn check(name: &str, folder: &str, (kept, of): (usize, usize)) {
    let path = Path::new(ROOT).join("tests/data/text_encoder.safetensors");
    let expected =
        Weights::open_file(&path).unwrap().tensor(&format!("{name}.embeddings")).unwrap();
    let found = encode(&mut encoder(folder, &EmbeddingCache::new(0)), &PROMPTS).embeddings;
    assert_eq!(found.shape()[..2], expected.shape()[..2]);
    let found = found.as_f32().unwrap().into_owned().into_iter().enumerate();
    let found: Vec<f32> = found.filter(|(i, _)| i % of < kept).map(|(_, value)| value).collect();
    let expected = expected.as_f32().unwrap();
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected.iter()).map(|(a, b)| (a - b).abs());
    let greatest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let error =
        greatest(&mut { difference }) / greatest(&mut expected.iter().map(|value| value.abs()));
    println!("{name}: relative error {error:.1e}");
    assert!(error <= MAX_RELATIVE_ERROR, "{name}: relative error {error}");
}

#[test]
fn embeddings_are_those_of_transformers() {
    check("sincos", "tests/data/checkpoints/sincos", (1, 1));
    check("rope", "tests/data/checkpoints/rope", (1, 1));
    check("demo", "demo/model", (2, 8));
}

#[test]
fn a_prompt_has_the_same_embedding_alone_in_a_batch_and_from_the_cache() {
    const FOLDER: &str = "tests/data/checkpoints/rope";
    let cache = EmbeddingCache::new(1 << 20);
    let mut uncached = encoder(FOLDER, &EmbeddingCache::new(0));
    let batch = encode(&mut uncached, &PROMPTS);
    let mut cached = encoder(FOLDER, &cache);
    encode(&mut cached, &PROMPTS[1..2]);
    assert_eq!(cache.encoded(FOLDER, &PROMPTS), None);
    // One of them from the cache, one twice.
    assert_eq!(encode(&mut cached, &PROMPTS), batch);
    assert_eq!(cache.encoded(FOLDER, &PROMPTS), Some(batch.clone()));
    assert_eq!(cache.encoded("another model", &PROMPTS), None);
    let twice = encode(&mut uncached, &[PROMPTS[3], PROMPTS[0], PROMPTS[3]]);
    let part = |encoded: &Encoded, i: usize| -> Vec<u8> {
        let bytes = encoded.embeddings.bytes();
        bytes.chunks(bytes.len() / encoded.truncations.len()).nth(i).unwrap().to_vec()
    };
    assert_eq!(part(&twice, 0), part(&batch, 3));
    assert_eq!(part(&twice, 1), part(&batch, 0));
    assert_eq!(part(&twice, 2), part(&batch, 3));
    for (i, prompt) in PROMPTS.iter().enumerate() {
        assert_eq!(part(&encode(&mut uncached, &[prompt]), 0), part(&batch, i), "{prompt}");
    }
}

#[test]
fn a_prompt_beyond_the_limit_is_reported_also_from_the_cache() {
    let cache = EmbeddingCache::new(1 << 20);
    let mut encoder = encoder("tests/data/checkpoints/rope", &cache);
    let first = encode(&mut encoder, &PROMPTS);
    let cut = |i: usize| first.truncations[i];
    assert_eq!(cut(0), None);
    let Truncation { token_limit, token_count, cut_tokens } = cut(2).unwrap();
    assert_eq!(token_limit, 16);
    assert_eq!(token_count, token_limit + cut_tokens);
    assert_eq!(encode(&mut encoder, &PROMPTS).truncations, first.truncations);
}

#[test]
fn no_prompts_give_no_embeddings() {
    let mut encoder = encoder("tests/data/checkpoints/rope", &EmbeddingCache::new(0));
    let encoded = encode(&mut encoder, &[]);
    assert_eq!(encoded.embeddings, Tensor::from_f32([0, 16, 24], vec![]).unwrap());
}

#[test]
fn a_cancelled_caller_gets_no_embeddings() {
    let mut encoder = encoder("tests/data/checkpoints/rope", &EmbeddingCache::new(0));
    let token = CancellationToken::new();
    token.cancel();
    let cancelled = encoder.encode(&PROMPTS, &token);
    assert!(matches!(cancelled, Err(EncodeError::Engine(EngineError::Cancelled))));
}
