use std::ops::ControlFlow;
use std::sync::Arc;

use cogwheel_api::tensor::v1::{DataType, TensorHeader, tensor_part};
use cogwheel_api::vae::v1::{
    EncodePurpose, EncodeRequest, EncodeResponse, EncodeSummary, FramesEncoded, TilesEncoded,
    encode_request::Part, encode_response::Event,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_diffusion::noise::Generator;
use cogwheel_engine::Worker;
use cogwheel_models::checkpoint::{Checkpoint, Workload};
use cogwheel_service::{Failure, Responder, metrics, receive, run_on};
use cogwheel_tensor::Tensor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    tiling: Option<InTiles>,
    /// The frames' room among those of all requests.
    _room: OwnedSemaphorePermit,
}

/// Room for the frames of all requests that wait or run, in mebibytes: that of one request of the most bytes.
pub(super) fn room(settings: &Settings) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(mebibytes(settings.max_frame_bytes) as usize))
}

fn mebibytes(bytes: usize) -> u32 {
    let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
    u32::try_from(bytes.div_ceil(1 << 20).clamp(1, most)).unwrap_or(u32::MAX)
}

impl Upload {
    /// Receives header and frames, up to the caller's half-close. The frames are judged by their tensor's header, and wait
    /// there until there is room for them.
    pub(super) async fn receive(
        messages: &mut Streaming<EncodeRequest>,
        checkpoint: &Checkpoint,
        settings: &Settings,
        room: &Arc<Semaphore>,
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
        let mut inbox = TensorInbox::new(&[FRAMES], settings.max_frame_bytes);
        let mut judged = None;
        while let Some(message) = receive(messages).await? {
            match message.part {
                Some(Part::Frames(part)) => {
                    let header = match &part.part {
                        Some(tensor_part::Part::Header(header)) => Some(header.clone()),
                        _ => None,
                    };
                    inbox.push(part).map_err(invalid)?;
                    if let Some(header) = header {
                        let tiling = check(&header, purpose, checkpoint, settings)?;
                        let bytes = usize::try_from(header.byte_length).unwrap_or(usize::MAX);
                        let room = Arc::clone(room).acquire_many_owned(mebibytes(bytes)).await;
                        let room = room.map_err(|closed| Failure::Internal(closed.to_string()))?;
                        judged = Some((tiling, room));
                    }
                }
                Some(Part::Header(_)) => {
                    return Err(Failure::invalid("header", "expected one header, found two"));
                }
                None => return Err(Failure::invalid("part", "expected frames, found nothing")),
            }
        }
        inbox.finish().map_err(invalid)?;
        let (Some(frames), Some((tiling, room))) = (inbox.take(FRAMES), judged) else {
            return Err(Failure::invalid(FRAMES, "expected a tensor, found none"));
        };
        Ok(Self { purpose, seed: header.seed, frames, tiling, _room: room })
    }
}

/// Refuses frames that are none of bytes or too many for an image, and those that would not fit the memory; says how to
/// encode the others.
fn check(
    header: &TensorHeader,
    purpose: LatentUse,
    checkpoint: &Checkpoint,
    settings: &Settings,
) -> Result<Option<InTiles>, Failure> {
    let pixels = checkpoint.vae.spatial_compression_ratio();
    let sides: Option<Vec<usize>> =
        header.shape.iter().map(|&side| usize::try_from(side).ok()).collect();
    let (num_frames, height, width) = match sides.as_deref() {
        Some(&[frames, height, width, 3])
            if header.dtype == i32::from(DataType::U8)
                && [frames, height, width].iter().all(|&side| side > 0)
                && height.is_multiple_of(pixels)
                && width.is_multiple_of(pixels) =>
        {
            (frames, height, width)
        }
        _ => {
            let dtype = DataType::try_from(header.dtype).map_or("?", |dtype| dtype.as_str_name());
            let message = format!(
                "expected U8 [frames, height, width, 3], height and width multiples of {pixels}, found {} {:?}",
                dtype.trim_start_matches("DATA_TYPE_"),
                header.shape
            );
            return Err(Failure::invalid(FRAMES, message));
        }
    };
    if purpose == LatentUse::Image && num_frames != 1 {
        let message = format!("expected one frame for an image, found {num_frames}");
        return Err(Failure::invalid(FRAMES, message));
    }
    let encoded_frames = num_frames;
    let workload = Workload { batch: 1, num_frames, height, width, encoded_frames, tiled: false };
    let (tiling, need) = tiling("encoding", checkpoint, settings, &workload);
    settings.stage.check_memory(FRAMES, need.total())?;
    Ok(tiling)
}

/// Encodes on the model's thread, tells how far it is, and sends the latents.
pub(super) async fn run(
    worker: &Worker<Autoencoder>,
    checkpoint: &Checkpoint,
    upload: Upload,
    responder: &Responder<EncodeResponse>,
) -> Result<(), Failure> {
    let Upload { purpose, seed, frames, tiling, _room } = upload;
    let queued = |position| response(Event::QueuePosition(position));
    let checkpoint = checkpoint.clone();
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
        let inside = encoder.time_inside() - before;
        metrics::frames("the vae", frames.shape().first().copied().unwrap_or_default());
        let latents = posterior.map(|posterior| latents(&posterior, purpose, seed, &checkpoint));
        Ok::<_, VaeError>((latents.transpose()?, inside))
    });
    // Nothing was encoded for a caller that left.
    let (Some((latents, values_drawn)), inside) = encoding.await? else {
        return Err(Failure::Cancelled);
    };
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
