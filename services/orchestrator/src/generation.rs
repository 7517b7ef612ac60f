mod decoding;
mod denoising;
mod encoding;
mod enhancement;
mod runs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cogwheel_api::denoiser::v1::DenoiseSummary;
use cogwheel_api::generation::v1::{
    GenerateVideoResponse, Notice, Queued, Stage, StageStarted, VideoCompleted,
    generate_video_response::Event,
};
use cogwheel_api::tensor_parts;
use cogwheel_api::textencoder::v1::Truncation;
use cogwheel_api::vae::v1::EncodePurpose;
use cogwheel_service::metrics::Waiting;
use cogwheel_service::{Failure, Responder};
use cogwheel_tensor::Tensor;
use cogwheel_weights::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::enhancer::Enhancer;
use crate::metadata::{Digests, VideoMetadata};
use crate::model::Model;
use crate::plan::Plan;
use crate::service::{EncodeEvent, Place, Stages, Terms};

/// The chain of stages for one request: embeddings once, then latents and frames for each video.
pub(crate) struct Generation<'a> {
    pub(crate) plan: Plan,
    /// Whether the variant stays in memory.
    pub(crate) pinned: bool,
    pub(crate) model: &'a Model,
    pub(crate) enhancer: Option<&'a Enhancer>,
    pub(crate) stages: &'a Stages,
    pub(crate) responder: &'a Responder<GenerateVideoResponse>,
    pub(crate) terms: Terms,
    /// Who reads images and videos.
    pub(crate) readers: &'a Arc<Semaphore>,
}

/// What the denoiser is conditioned on, each [1, tokens, width].
struct Embeddings {
    prompt: Tensor,
    negative_prompt: Option<Tensor>,
}

impl Generation<'_> {
    /// Runs the chain when it is this generation's turn, and tells everything that happens; `ahead`
    /// others came before.
    ///
    /// # Errors
    /// What a stage answers, under its name; or that the caller left.
    pub(crate) async fn run(mut self, turns: &Semaphore, ahead: usize) -> Result<(), Failure> {
        self.tell(0, Event::Accepted(self.plan.accepted(self.terms.trace.id().to_string())))
            .await?;
        for message in std::mem::take(&mut self.plan.notices) {
            self.tell(0, Event::Notice(Notice { message })).await?;
        }
        // Nobody waits for it but this request.
        self.enhance_prompt().await?;
        let _turn = self.turn(turns, ahead).await?;
        let mut start = Instant::now();
        let digests = self.digests().await?;
        let prepare = async { Ok(self.prepare().await) };
        let ((embeddings, mut runtime_nanos), mut prepared) =
            tokio::try_join!(self.encode(), prepare)?;
        let mut encoded = None;
        for index in 0..self.plan.num_videos {
            let vae_nanos = self.encode_given(index, &mut encoded).await?;
            runtime_nanos = runtime_nanos.saturating_add(vae_nanos);
            let given = (&embeddings, encoded.as_ref());
            let (latents, summary) = self.denoise(index, given, prepared.take()).await?;
            if self.plan.return_latents {
                for part in tensor_parts("latents", &latents) {
                    self.tell(index, Event::Latents(part)).await?;
                }
            }
            let DenoiseSummary { runtime_nanos: denoiser_nanos, variant, .. } = summary;
            let metadata = VideoMetadata::of(&self.plan, self.model, index, &variant, &digests);
            let metadata = metadata.json();
            let vae_nanos = self.decode(index, latents, &metadata).await?;
            runtime_nanos = runtime_nanos.saturating_add(denoiser_nanos).saturating_add(vae_nanos);
            let completed = VideoCompleted {
                seed: self.plan.sampling_of(index).seed,
                seconds: start.elapsed().as_secs_f64(),
                runtime_seconds: runtime_nanos as f64 / 1e9,
                variant,
                metadata_json: metadata,
            };
            let VideoCompleted { seconds, runtime_seconds, variant, .. } = &completed;
            tracing::info!(video = index, seconds, runtime_seconds, variant, "video completed");
            self.tell(index, Event::VideoCompleted(completed)).await?;
            (start, runtime_nanos) = (Instant::now(), 0);
        }
        Ok(())
    }

    async fn digests(&self) -> Result<Digests, Failure> {
        let latents = self.plan.initial_latents.clone();
        let given = self.plan.given.as_ref();
        let used = self.plan.size.num_frames as usize;
        let given = given.map(|given| (given.input.clone(), given.purpose));
        let digests = move || {
            let initial_latents = latents.map(|latents| Digest::of(latents.bytes()).to_string());
            let (mut image, mut video) = (None, None);
            if let Some((input, purpose)) = given {
                let place = if purpose == EncodePurpose::Image { &mut image } else { &mut video };
                *place = Some(input.digest(used));
            }
            Ok(Digests { initial_latents, image, video })
        };
        blocking(digests).await
    }

    /// Waits where the stages serve one generation at a time.
    async fn turn<'t>(
        &self,
        turns: &'t Semaphore,
        ahead: usize,
    ) -> Result<SemaphorePermit<'t>, Failure> {
        if let Ok(turn) = turns.try_acquire() {
            Waiting::of("the orchestrator").begin(Duration::ZERO);
            return Ok(turn);
        }
        // Whoever came later may be first, where this one's video had to be read: somebody is.
        let position = u32::try_from(ahead.max(1)).unwrap_or(u32::MAX);
        let waiting = Waiting::of("the orchestrator");
        self.queued(0, Stage::TextEncoder, position).await?;
        let turn = turns.acquire().await;
        waiting.begin(Duration::ZERO);
        turn.map_err(|closed| Failure::Internal(closed.to_string()))
    }

    async fn encode(&self) -> Result<(Embeddings, u64), Failure> {
        self.begin(0, Stage::TextEncoder).await?;
        let mut runs = self.runs(0, Stage::TextEncoder, &self.stages.text_encoder);
        loop {
            let place = runs.place(None).await?;
            match self.try_to_encode(&place).await {
                Err(failure) => runs.after(&place, failure).await?,
                encoded => return encoded,
            }
        }
    }

    #[tracing::instrument(name = "stage call", skip_all, fields(method = "TextEncoderService/Encode", address = place.address(), otel.kind = "client"))]
    async fn try_to_encode(&self, place: &Place) -> Result<(Embeddings, u64), Failure> {
        let mut prompts: Vec<_> = self.plan.negative_prompt.iter().cloned().collect();
        prompts.push(self.plan.shown_prompt().to_owned());
        let shape = [prompts.len(), self.plan.embedding_shape[0], self.plan.embedding_shape[1]];
        let mut call = place.encode(prompts, shape, &self.terms).await?;
        let mut runtime_nanos = 0;
        let mut embeddings = None;
        while let Some(event) = call.next().await? {
            match event {
                EncodeEvent::Queued(position) => {
                    self.queued(0, Stage::TextEncoder, position).await?;
                }
                EncodeEvent::Summary(summary) => {
                    runtime_nanos = summary.runtime_nanos;
                    self.tell_truncations(&summary.truncations).await?;
                }
                EncodeEvent::Embeddings(tensor) => embeddings = Some(tensor),
            }
        }
        let embeddings = embeddings.ok_or_else(|| incomplete("text encoder", "embeddings"))?;
        Ok((self.split(&embeddings)?, runtime_nanos))
    }

    /// The rows of the batch, in the order in which the prompts were sent.
    fn split(&self, embeddings: &Tensor) -> Result<Embeddings, Failure> {
        let rows = if self.plan.negative_prompt.is_some() { 2 } else { 1 };
        let row_bytes = embeddings.bytes().len() / rows;
        let row = |index: usize| {
            let bytes = embeddings.bytes().slice(index * row_bytes..(index + 1) * row_bytes);
            let [tokens, width] = self.plan.embedding_shape;
            Tensor::new(embeddings.dtype(), [1, tokens, width], bytes)
                .map_err(|error| Failure::Internal(error.to_string()))
        };
        let negative_prompt = if rows == 2 { Some(row(0)?) } else { None };
        Ok(Embeddings { prompt: row(rows - 1)?, negative_prompt })
    }

    async fn tell_truncations(&self, truncations: &[Truncation]) -> Result<(), Failure> {
        for truncation in truncations {
            let Truncation { prompt_index, token_count, token_limit, cut_tokens } = truncation;
            // The negative prompt is sent first, where there is one.
            let negative = self.plan.negative_prompt.is_some() && *prompt_index == 0;
            let name = if negative { "negative prompt" } else { "prompt" };
            let message = format!(
                "the {name} takes {token_count} tokens, the model {token_limit}: \
                 the last {cut_tokens} were cut off"
            );
            self.tell(0, Event::Notice(Notice { message })).await?;
        }
        Ok(())
    }

    async fn begin(&self, index: u32, stage: Stage) -> Result<(), Failure> {
        self.tell(index, Event::StageStarted(StageStarted { stage: stage.into() })).await
    }

    async fn queued(&self, index: u32, stage: Stage, queue_position: u32) -> Result<(), Failure> {
        self.tell(index, Event::Queued(Queued { stage: stage.into(), queue_position })).await
    }

    async fn tell(&self, video_index: u32, event: Event) -> Result<(), Failure> {
        self.responder.send(GenerateVideoResponse { video_index, event: Some(event) }).await
    }
}

fn incomplete(stage: &str, what: &str) -> Failure {
    Failure::Internal(format!("{stage}: expected {what}, found that the stream ended without"))
}

/// A place among those that read images and videos.
pub(crate) async fn reader(readers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    let reader = Arc::clone(readers).acquire_owned().await;
    reader.map_err(|closed| Failure::Internal(closed.to_string()))
}

/// Runs work that would hold up other requests on a thread made for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::Internal(format!("a thread of the orchestrator: {error}"))),
    }
}
