use std::ops::ControlFlow;

use cogwheel_api::vae::v1::{
    EncodePurpose, EncodeRequest, EncodeResponse, EncodeSummary, FramesEncoded, TilesEncoded,
    encode_request::Part, encode_response::Event,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_diffusion::noise::Generator;
use cogwheel_engine::Worker;
use cogwheel_models::checkpoint::{Checkpoint, Workload};
use cogwheel_service::{Failure, Responder, receive, run_on};
use cogwheel_tensor::{DType, Tensor};
use tonic::Streaming;

use super::{InTiles, Settings, tiling};
use crate::autoencoder::Autoencoder;
use crate::encoder::{Encoded, Posterior};
use crate::{LatentUse, VaeError};

const FRAMES: &str = "frames";

/// What a caller sends up.
pub(super) struct Upload {
    purpose: LatentUse,
    seed: u64,
    frames: Tensor,
}

impl Upload {
    /// Receives header and frames, up to the caller's half-close.
    pub(super) async fn receive(
        messages: &mut Streaming<EncodeRequest>,
        limit: usize,
    ) -> Result<Self, Failure> {
        let Some(Part::Header(header)) = receive(messages).await?.and_then(|first| first.part)
        else {
            return Err(Failure::invalid("header", "expected the header first"));
        };
        let purpose = match EncodePurpose::try_from(header.purpose) {
            Ok(EncodePurpose::Image) => LatentUse::Image,
            Ok(EncodePurpose::Video) => LatentUse::Video,
            Ok(EncodePurpose::Control) => LatentUse::Control,
            Ok(EncodePurpose::Unspecified) | Err(_) => {
                let message =
                    format!("expected image, video or control, found number {}", header.purpose);
                return Err(Failure::invalid("purpose", message));
            }
        };
        let invalid = |error| Failure::invalid(FRAMES, error);
        let mut inbox = TensorInbox::new(&[FRAMES], limit);
        while let Some(message) = receive(messages).await? {
            match message.part {
                Some(Part::Frames(part)) => inbox.push(part).map(drop).map_err(invalid)?,
                Some(Part::Header(_)) => {
                    return Err(Failure::invalid("header", "expected one header, found two"));
                }
                None => return Err(Failure::invalid("part", "expected frames, found nothing")),
            }
        }
        inbox.finish().map_err(invalid)?;
        let frames = inbox
            .take(FRAMES)
            .ok_or_else(|| Failure::invalid(FRAMES, "expected a tensor, found none"))?;
        Ok(Self { purpose, seed: header.seed, frames })
    }

    /// Refuses frames that are none of bytes, and those that would not fit the memory; says how to encode the others.
    pub(super) fn check(
        &self,
        checkpoint: &Checkpoint,
        settings: &Settings,
    ) -> Result<Option<InTiles>, Failure> {
        let pixels = checkpoint.vae.spatial_compression_ratio();
        let &[num_frames, height, width, 3] = self.frames.shape() else {
            return Err(self.unfit(pixels));
        };
        let whole = height.is_multiple_of(pixels) && width.is_multiple_of(pixels);
        if self.frames.dtype() != DType::U8 || self.frames.is_empty() || !whole {
            return Err(self.unfit(pixels));
        }
        let encoded_frames = num_frames;
        let workload =
            Workload { batch: 1, num_frames, height, width, encoded_frames, tiled: false };
        let (tiling, need) = tiling(checkpoint, settings, &workload);
        settings.stage.check_memory(FRAMES, need.total())?;
        Ok(tiling)
    }

    fn unfit(&self, pixels: usize) -> Failure {
        let (dtype, shape) = (self.frames.dtype(), self.frames.shape());
        let message = format!(
            "expected U8 [frames, height, width, 3], height and width multiples of {pixels}, found {dtype} {shape:?}"
        );
        Failure::invalid(FRAMES, message)
    }
}

/// Encodes on the model's thread, tells how far it is, and sends the latents.
pub(super) async fn run(
    worker: &Worker<Autoencoder>,
    checkpoint: &Checkpoint,
    upload: Upload,
    tiling: Option<InTiles>,
    responder: &Responder<EncodeResponse>,
) -> Result<(), Failure> {
    let Upload { purpose, seed, frames } = upload;
    let queued = |position| response(Event::QueuePosition(position));
    let encoding = run_on(worker, "the vae", responder, queued, move |model, context, events| {
        let encoder = model.encoder()?;
        let before = encoder.time_inside();
        let tiles = tiling.as_ref().map(|tiling| tiling.tiles);
        let mut reason = tiling.and_then(|tiling| tiling.reason);
        let on_encoded = |encoded| {
            let event = progress(encoded, reason.take().unwrap_or_default());
            match events.send(response(event)) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let posterior = encoder.encode(&frames, tiles, on_encoded, &context.cancellation)?;
        Ok::<_, VaeError>((posterior, encoder.time_inside() - before))
    });
    // Nothing was encoded for a caller that left.
    let (Some(posterior), inside) = encoding.await? else { return Err(Failure::Cancelled) };
    let (latents, values_drawn) = latents(&posterior, purpose, seed, checkpoint)?;
    for part in tensor_parts("latents", &latents) {
        responder.send(response(Event::Latents(part))).await?;
    }
    let summary = EncodeSummary {
        values_drawn: values_drawn as u64,
        runtime_nanos: u64::try_from(inside.as_nanos()).unwrap_or(u64::MAX),
    };
    responder.send(response(Event::Summary(summary))).await
}

/// The latents, and how many numbers were drawn for them.
fn latents(
    posterior: &Posterior,
    purpose: LatentUse,
    seed: u64,
    checkpoint: &Checkpoint,
) -> Result<(Tensor, usize), VaeError> {
    let mut generator = Generator::new(seed);
    let count = match purpose {
        LatentUse::Control => 0,
        LatentUse::Image | LatentUse::Video => posterior.shape().iter().product(),
    };
    let noise = generator.normal_in(checkpoint.storage(), count);
    let latents = posterior.latents(purpose, &checkpoint.vae, checkpoint.storage(), &noise)?;
    Ok((latents, count))
}

fn progress(encoded: Encoded, reason: String) -> Event {
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    match encoded {
        Encoded::Frames { frames, num_frames } => Event::FramesEncoded(FramesEncoded {
            frames: count(frames),
            num_frames: count(num_frames),
        }),
        Encoded::Tiles { tiles, num_tiles } => Event::TilesEncoded(TilesEncoded {
            tiles: count(tiles),
            num_tiles: count(num_tiles),
            reason,
        }),
    }
}

fn response(event: Event) -> EncodeResponse {
    EncodeResponse { event: Some(event) }
}
