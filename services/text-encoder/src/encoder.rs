use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cogwheel_engine::{CancellationToken, EngineError, Runtime, Session, SessionOptions};
use cogwheel_models::{
    BuildError,
    checkpoint::{Checkpoint, CheckpointError},
    text_encoder::{self, INPUT_IDS},
    tokenizer::{Encoding, Tokenizer, TokenizerError},
};
use cogwheel_service::metrics::{self, Cache};
use cogwheel_tensor::{DType, Storage, Tensor, TensorError};

use crate::{EmbeddingCache, cache::CachedPrompt};

/// Prompts to embeddings: the tokenizer, T5, and a cache in front of both.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    session: Session,
    d_model: usize,
    /// What embeddings are rounded to.
    storage: Storage,
    model_id: String,
    cache: EmbeddingCache,
}

/// How a text encoder is loaded.
#[derive(Clone, Debug)]
pub struct TextEncoderOptions {
    /// How its session is made; its weights are never packed.
    pub session: SessionOptions,
    /// Where embeddings are kept.
    pub cache: EmbeddingCache,
    /// What tells the model from others in the cache, its digest for one.
    pub model_id: String,
}

/// Embeddings of prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// fp32 [prompts, tokens, d_model], in the order of the prompts.
    pub embeddings: Tensor,
    /// For each prompt what was cut off, if anything was.
    pub truncations: Vec<Option<Truncation>>,
}

/// That a prompt was longer than the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Tokens that the model takes, `</s>` included.
    pub token_limit: usize,
    /// Tokens of the whole prompt, `</s>` included.
    pub token_count: usize,
    /// Tokens of the prompt that were left out.
    pub cut_tokens: usize,
}

/// Why prompts were not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The weights are not what the config calls for.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is no tokenizer that can be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The tokenizer has ids that the text encoder does not know.
    #[error(
        "tokenizer: expected at most {expected} ids, the text encoder's `vocab_size`, found {found}"
    )]
    Vocabulary {
        /// The text encoder's number of embeddings.
        expected: usize,
        /// The tokenizer's number of ids.
        found: usize,
    },
    /// No graph could be built of the weights.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The session could not be made or run, or was cancelled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The session gave something other than an embedding for each prompt.
    #[error("text encoder: expected F32 embeddings {expected:?}, found {found:?}")]
    Embeddings {
        /// Prompts, tokens and width.
        expected: Vec<usize>,
        /// What there was.
        found: Vec<usize>,
    },
    /// More than a machine can address.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl TextEncoder {
    /// Loads a checkpoint's `tokenizer/` and `text_encoder/`, for prompts of the transformer's `max_text_seq_length`.
    /// Computes in fp32 whatever the weights are stored in; embeddings are rounded to what the checkpoint's weights are.
    ///
    /// # Errors
    /// Files that are missing or do not fit each other, or what ONNX Runtime says.
    pub fn load(
        checkpoint: &Checkpoint,
        runtime: &Runtime,
        options: &TextEncoderOptions,
    ) -> Result<Self, EncodeError> {
        let tokens = checkpoint.transformer.max_text_seq_length;
        let config = &checkpoint.text_encoder;
        let tokenizer = Tokenizer::open(&checkpoint.dir.join("tokenizer"), tokens)?;
        let (expected, found) = (config.vocab_size, tokenizer.vocab_size());
        if found > expected {
            return Err(EncodeError::Vocabulary { expected, found });
        }
        let weights = checkpoint.weights_text_encoder()?;
        let model = text_encoder::text_encoder(config, &weights, tokens)?;
        // Rearranged weights would be a second copy of them, 19 GB for the published models, to save a tenth of the
        // time of a forward that a prompt takes once. Those packed for the matrix unit are the only copy of what is
        // stored in half precision, which otherwise is converted to fp32.
        let session = SessionOptions { prepack: false, ..options.session.clone() };
        Ok(Self {
            tokenizer,
            session: Session::new(runtime, model, &weights, &session)?,
            d_model: config.d_model,
            storage: checkpoint.storage(),
            model_id: options.model_id.clone(),
            cache: options.cache.clone(),
        })
    }

    /// Encodes prompts as diffusers' `CogVideoXPipeline.encode_prompt` does: filled up to the model's length with
    /// padding that the encoder attends to, cut off beyond it. Those that are not in the cache run in one batch.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when the token fires.
    pub fn encode(
        &mut self,
        prompts: &[&str],
        cancellation: &CancellationToken,
    ) -> Result<Encoded, EncodeError> {
        let mut known = cached_prompts(&self.cache, &self.model_id, prompts);
        let mut seen = HashSet::new();
        let misses: Vec<&str> =
            prompts.iter().copied().filter(|p| !known.contains_key(p) && seen.insert(*p)).collect();
        metrics::cache(Cache::PromptEmbeddings, prompts.len() - misses.len(), misses.len());
        if !misses.is_empty() {
            for (text, prompt) in misses.iter().zip(self.run(&misses, cancellation)?) {
                self.cache.insert(&self.model_id, text, prompt.clone());
                known.insert(text, prompt);
            }
        }
        let shape = [prompts.len(), self.tokenizer.token_limit(), self.d_model];
        assemble(&known, prompts, shape)
    }

    /// Encodes the empty prompt, past the cache.
    ///
    /// # Errors
    /// What keeps the model from being run.
    pub fn warm_up(&mut self) -> Result<(), EncodeError> {
        self.run(&[""], &CancellationToken::new()).map(drop)
    }

    /// Time spent inside ONNX Runtime by all runs so far.
    pub fn time_inside(&self) -> Duration {
        self.session.time_inside()
    }

    fn run(
        &mut self,
        prompts: &[&str],
        cancellation: &CancellationToken,
    ) -> Result<Vec<CachedPrompt>, EncodeError> {
        let _span = tracing::info_span!("encode prompts", count = prompts.len()).entered();
        let tokens = self.tokenizer.token_limit();
        let encodings: Vec<_> =
            prompts.iter().map(|prompt| self.tokenizer.encode(prompt)).collect();
        let ids = encodings.iter().flat_map(|encoding| encoding.ids.iter().copied()).collect();
        let ids = Tensor::from_i64([prompts.len(), tokens], ids)?;
        let output = self.session.run(&[(INPUT_IDS, (&ids).into())], cancellation)?.pop();
        let expected = vec![prompts.len(), tokens, self.d_model];
        let embeddings = match output {
            Some(output) => output.into_tensor()?,
            None => return Err(EncodeError::Embeddings { expected, found: Vec::new() }),
        };
        if embeddings.shape() != expected {
            let found = embeddings.shape().to_vec();
            return Err(EncodeError::Embeddings { expected, found });
        }
        let values = embeddings.as_f32()?;
        let rows = values.chunks_exact(tokens * self.d_model);
        let cached = |(encoding, row): (&Encoding, &[f32])| {
            // A copy: a slice would keep the whole batch in the cache.
            let mut row = row.to_vec();
            self.storage.round(&mut row);
            let embedding = Tensor::from_f32([tokens, self.d_model], row)?;
            Ok(CachedPrompt { embedding, truncation: truncation(encoding, tokens) })
        };
        encodings.iter().zip(rows).map(cached).collect()
    }
}

impl EmbeddingCache {
    /// The embeddings of all `prompts`, where the cache has every one of them: no model is needed then.
    pub fn encoded(&self, model_id: &str, prompts: &[&str]) -> Option<Encoded> {
        let known = cached_prompts(self, model_id, prompts);
        let embedding = &known.get(prompts.first()?)?.embedding;
        let &[tokens, d_model] = embedding.shape() else { return None };
        assemble(&known, prompts, [prompts.len(), tokens, d_model]).ok()
    }
}

fn cached_prompts<'p>(
    cache: &EmbeddingCache,
    model_id: &str,
    prompts: &[&'p str],
) -> HashMap<&'p str, CachedPrompt> {
    prompts.iter().filter_map(|prompt| Some((*prompt, cache.get(model_id, prompt)?))).collect()
}

/// Puts the prompts' embeddings one after another.
fn assemble(
    known: &HashMap<&str, CachedPrompt>,
    prompts: &[&str],
    shape: [usize; 3],
) -> Result<Encoded, EncodeError> {
    let mut bytes = Vec::with_capacity(prompts.iter().filter_map(|p| known.get(p)).map(len).sum());
    let mut truncations = Vec::with_capacity(prompts.len());
    for prompt in prompts.iter().filter_map(|prompt| known.get(prompt)) {
        bytes.extend_from_slice(prompt.embedding.bytes());
        truncations.push(prompt.truncation);
    }
    Ok(Encoded { embeddings: Tensor::new(DType::F32, shape, bytes)?, truncations })
}

fn len(prompt: &CachedPrompt) -> usize {
    prompt.embedding.bytes().len()
}

fn truncation(encoding: &Encoding, token_limit: usize) -> Option<Truncation> {
    let &Encoding { token_count, cut_tokens, .. } = encoding;
    encoding.truncated.then_some(Truncation { token_limit, token_count, cut_tokens })
}
