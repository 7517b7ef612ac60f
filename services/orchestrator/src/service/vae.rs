use cogwheel_api::denoiser::v1::VideoSize;
use cogwheel_api::vae::v1::{
    DecodeRequest, DecodeResponse, DecodeSummary, EncodeRequest, EncodeResponse, EncodeSummary,
    FramesEncoded, TilesDecoded, TilesEncoded, decode_response::Event, encode_response,
    vae_service_client::VaeServiceClient,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_service::Failure;
use cogwheel_tensor::{DType, Tensor};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Place, Terms};

/// What the vae tells.
pub(crate) enum DecodeEvent {
    /// So many requests are served before this one.
    Queued(u32),
    /// How far the tiles are, where frames are decoded in tiles.
    Tiles(TilesDecoded),
    /// [n, height, width, 3] fp32 in 0..1.
    Frames(Tensor),
    /// The end.
    Summary(DecodeSummary),
}

/// A call of the vae; dropping it stops the work within a chunk.
pub(crate) struct DecodeCall<'a> {
    place: &'a Place,
    responses: Streaming<DecodeResponse>,
    inbox: TensorInbox,
    size: VideoSize,
}

impl Place {
    /// Decodes latents into a video of this size.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn decode(
        &self,
        latents: Tensor,
        size: VideoSize,
        terms: &Terms,
    ) -> Result<DecodeCall<'_>, Failure> {
        let parts = tensor_parts("latents", &latents);
        let requests = parts.map(|part| DecodeRequest { latents: Some(part) });
        let mut client = VaeServiceClient::new(self.channel());
        let responses = client
            .decode(terms.request(tokio_stream::iter(requests)))
            .await
            .map_err(|status| self.failure(status))?
            .into_inner();
        let values = [size.num_frames, size.height, size.width, 3].map(|value| value as usize);
        let limit = values.iter().fold(size_of::<f32>(), |bytes, &n| bytes.saturating_mul(n));
        Ok(DecodeCall { place: self, responses, inbox: TensorInbox::new(&["frames"], limit), size })
    }
}

/// What the vae tells while it encodes.
pub(crate) enum FramesEvent {
    /// So many requests are served before this one.
    Queued(u32),
    /// How far the frames are.
    Frames(FramesEncoded),
    /// How far the tiles are, where frames are encoded in tiles.
    Tiles(TilesEncoded),
    /// [frames, channels, height, width] fp32.
    Latents(Tensor),
    /// The end.
    Summary(EncodeSummary),
}

/// A call of the vae's encoder; dropping it stops the work within a chunk.
pub(crate) struct FramesCall<'a> {
    place: &'a Place,
    responses: Streaming<EncodeResponse>,
    inbox: TensorInbox,
    shape: [usize; 4],
}

impl Place {
    /// Encodes the frames that come in `requests`; `shape` is that of the latents.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn encode_frames(
        &self,
        requests: mpsc::Receiver<EncodeRequest>,
        shape: [usize; 4],
        terms: &Terms,
    ) -> Result<FramesCall<'_>, Failure> {
        let mut client = VaeServiceClient::new(self.channel());
        let responses = client
            .encode(terms.request(ReceiverStream::new(requests)))
            .await
            .map_err(|status| self.failure(status))?
            .into_inner();
        let limit = shape.iter().product::<usize>().saturating_mul(size_of::<f32>());
        Ok(FramesCall {
            place: self,
            responses,
            inbox: TensorInbox::new(&["latents"], limit),
            shape,
        })
    }
}

impl FramesCall<'_> {
    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// What the stage answers, or latents other than promised.
    pub(crate) async fn next(&mut self) -> Result<Option<FramesEvent>, Failure> {
        use encode_response::Event;
        loop {
            let message = self.responses.message().await;
            let Some(response) = message.map_err(|status| self.place.failure(status))? else {
                return Ok(None);
            };
            self.place.hear_of_work();
            match response.event {
                Some(Event::QueuePosition(position)) => {
                    return Ok(Some(FramesEvent::Queued(position)));
                }
                Some(Event::FramesEncoded(frames)) => return Ok(Some(FramesEvent::Frames(frames))),
                Some(Event::TilesEncoded(tiles)) => return Ok(Some(FramesEvent::Tiles(tiles))),
                Some(Event::Summary(summary)) => return Ok(Some(FramesEvent::Summary(summary))),
                Some(Event::Latents(part)) => {
                    if let Some(tensor) = self.place.receive(&mut self.inbox, part, &self.shape)? {
                        return Ok(Some(FramesEvent::Latents(tensor)));
                    }
                }
                None => {}
            }
        }
    }
}

impl DecodeCall<'_> {
    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// What the stage answers, or frames other than promised.
    pub(crate) async fn next(&mut self) -> Result<Option<DecodeEvent>, Failure> {
        loop {
            let message = self.responses.message().await;
            let Some(response) = message.map_err(|status| self.place.failure(status))? else {
                return Ok(None);
            };
            self.place.hear_of_work();
            match response.event {
                Some(Event::QueuePosition(position)) => {
                    return Ok(Some(DecodeEvent::Queued(position)));
                }
                Some(Event::TilesDecoded(tiles)) => return Ok(Some(DecodeEvent::Tiles(tiles))),
                Some(Event::Summary(summary)) => return Ok(Some(DecodeEvent::Summary(summary))),
                Some(Event::Frames(part)) => {
                    let complete = self.inbox.push(part).map_err(|e| self.place.broken(&e))?;
                    if let Some(frames) = complete.and_then(|name| self.inbox.take(&name)) {
                        self.check(&frames)?;
                        return Ok(Some(DecodeEvent::Frames(frames)));
                    }
                }
                None => {}
            }
        }
    }

    fn check(&self, frames: &Tensor) -> Result<(), Failure> {
        let frame = [self.size.height as usize, self.size.width as usize, 3];
        if frames.dtype() == DType::F32 && frames.shape().get(1..) == Some(&frame) {
            return Ok(());
        }
        let found = format!("{} {:?}", frames.dtype(), frames.shape());
        Err(self.place.broken(&format!("expected frames of {frame:?} in F32, found {found}")))
    }
}
