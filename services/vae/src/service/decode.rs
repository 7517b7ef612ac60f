use std::ops::ControlFlow;

use cogwheel_api::vae::v1::{
    DecodeRequest, DecodeResponse, DecodeSummary, TilesDecoded, decode_response::Event,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_diffusion::geometry;
use cogwheel_engine::Worker;
use cogwheel_models::checkpoint::{Checkpoint, Workload};
use cogwheel_service::{Failure, Responder, metrics, run_on};
use cogwheel_tensor::{DType, Tensor};
use tonic::Streaming;

use super::{InTiles, Settings, tiling};
use crate::VaeError;
use crate::autoencoder::Autoencoder;
use crate::decoder::Decoded;

/// Receives the one tensor of a request, up to the caller's half-close.
pub(super) async fn receive(
    messages: &mut Streaming<DecodeRequest>,
    limit: usize,
) -> Result<Tensor, Failure> {
    let invalid = |error| Failure::invalid("latents", error);
    let mut inbox = TensorInbox::new(&["latents"], limit);
    while let Some(message) = cogwheel_service::receive(messages).await? {
        inbox.push(message.latents.unwrap_or_default()).map_err(invalid)?;
    }
    inbox.finish().map_err(invalid)?;
    inbox
        .take("latents")
        .ok_or_else(|| Failure::invalid("latents", "expected a tensor, found none"))
}

/// Refuses latents of another model, and those whose frames would not fit the memory beside what encoding keeps; says how to
/// decode the others.
pub(super) fn check(
    checkpoint: &Checkpoint,
    settings: &Settings,
    latents: &Tensor,
    has_encoded: bool,
) -> Result<Option<InTiles>, Failure> {
    let channels = checkpoint.vae.latent_channels;
    let &[frames, found, height, width] = latents.shape() else {
        let message = format!("expected four dimensions, found {:?}", latents.shape());
        return Err(Failure::invalid("latents", message));
    };
    if found != channels || latents.is_empty() || latents.dtype() != DType::F32 {
        let message = format!(
            "expected F32 [frames, {channels}, height, width], found {} {:?}",
            latents.dtype(),
            latents.shape()
        );
        return Err(Failure::invalid("latents", message));
    }
    let values = latents.as_f32().map_err(|error| Failure::invalid("latents", error))?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let message = format!("expected finite numbers, found {} at element {at}", values[at]);
        return Err(Failure::invalid("latents", message));
    }
    let pixels = checkpoint.vae.spatial_compression_ratio();
    let num_frames = geometry::decoded_frames(frames, checkpoint.vae.temporal_compression_ratio);
    let workload = Workload {
        batch: 1,
        num_frames,
        height: height.saturating_mul(pixels),
        width: width.saturating_mul(pixels),
        encoded_frames: checkpoint.encoded_frames(num_frames, has_encoded),
        tiled: false,
    };
    let (tiling, need) = tiling("decoding", checkpoint, settings, &workload);
    settings.stage.check_memory("latents", need.total())?;
    Ok(tiling)
}

/// Decodes on the model's thread and sends each chunk's frames as they come.
pub(super) async fn run(
    worker: &Worker<Autoencoder>,
    latents: Tensor,
    tiling: Option<InTiles>,
    responder: &Responder<DecodeResponse>,
) -> Result<(), Failure> {
    let queued = |position| response(Event::QueuePosition(position));
    let summary = run_on(worker, "the vae", responder, queued, move |model, context, events| {
        let decoder = model.decoder()?;
        let before = decoder.time_inside();
        let mut num_frames = 0;
        let tiles = tiling.as_ref().map(|tiling| tiling.tiles);
        let mut reason = tiling.and_then(|tiling| tiling.reason);
        let on_decoded = |decoded| {
            let all_sent = match decoded {
                Decoded::Tiles { tiles, num_tiles } => events.send(response(Event::TilesDecoded(
                    tiles_decoded(tiles, num_tiles, reason.take().unwrap_or_default()),
                ))),
                Decoded::Frames { frames, .. } => {
                    let count = frames.shape().first().copied().unwrap_or_default();
                    metrics::frames("the vae", count);
                    num_frames += count;
                    tensor_parts("frames", &frames)
                        .all(|part| events.send(response(Event::Frames(part))))
                }
            };
            if all_sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        decoder.decode(&latents, tiles, on_decoded, &context.cancellation)?;
        let inside = decoder.time_inside() - before;
        Ok::<_, VaeError>(DecodeSummary {
            num_frames: u32::try_from(num_frames).unwrap_or(u32::MAX),
            runtime_nanos: u64::try_from(inside.as_nanos()).unwrap_or(u64::MAX),
        })
    });
    let summary = summary.await?;
    responder.send(response(Event::Summary(summary))).await
}

fn tiles_decoded(tiles: usize, num_tiles: usize, reason: String) -> TilesDecoded {
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    TilesDecoded { tiles: count(tiles), num_tiles: count(num_tiles), reason }
}

fn response(event: Event) -> DecodeResponse {
    DecodeResponse { event: Some(event) }
}
