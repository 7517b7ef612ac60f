use cogwheel_api::generation::v1::{
    FramesDecoded, Notice, Stage, TilesDecoded, generate_video_response::Event,
};
use cogwheel_service::{Failure, metrics};
use cogwheel_tensor::Tensor;

use super::{Generation, blocking, incomplete};
use crate::output::Sink;
use crate::service::{DecodeEvent, Place};

impl Generation<'_> {
    /// Decodes the latents of video `index` and gives the client what comes of them; gives the time inside the runtime.
    pub(super) async fn decode(
        &self,
        index: u32,
        latents: Tensor,
        metadata: &str,
    ) -> Result<u64, Failure> {
        self.begin(index, Stage::Vae).await?;
        // The first latent frames of CogVideoX 1.5 only fill up its patches.
        let latents = without_first(latents, self.plan.latents.padding_frames)?;
        let sink = Sink::new(self.plan.format, self.plan.frame(), self.plan.fps, metadata);
        let mut sink = Some(sink.map_err(|error| Failure::Internal(error.to_string()))?);
        let mut runs = self.runs(index, Stage::Vae, &self.stages.vae);
        let runtime_nanos = loop {
            let place = runs.place(None).await?;
            match self.try_to_decode(index, &latents, &mut sink, &place).await {
                Err(failure) => runs.after(&place, failure).await?,
                Ok(nanos) => break nanos,
            }
        };
        let sink = sink.filter(|sink| sink.frames() == self.plan.size.num_frames as usize);
        let sink = sink.ok_or_else(|| incomplete("vae", "frames"))?;
        let last = blocking(move || sink.finish()).await?;
        for event in last.into_iter().flat_map(|piece| piece.events()) {
            self.tell(index, event).await?;
        }
        Ok(runtime_nanos)
    }

    /// Decodes, and leaves out the frames that the sink has from a run before.
    #[tracing::instrument(name = "stage call", skip_all, fields(method = "VaeService/Decode", address = place.address(), otel.kind = "client"))]
    async fn try_to_decode(
        &self,
        index: u32,
        latents: &Tensor,
        sink: &mut Option<Sink>,
        place: &Place,
    ) -> Result<u64, Failure> {
        let mut known = sink.as_ref().map_or(0, Sink::frames);
        let mut call = place.decode(latents.clone(), self.plan.size, &self.terms).await?;
        let mut runtime_nanos = 0;
        while let Some(event) = call.next().await? {
            match event {
                DecodeEvent::Queued(position) => self.queued(index, Stage::Vae, position).await?,
                DecodeEvent::Tiles(decoded) => {
                    if !decoded.reason.is_empty() {
                        let notice = Notice { message: decoded.reason };
                        self.tell(index, Event::Notice(notice)).await?;
                    }
                    let (tiles, num_tiles) = (decoded.tiles, decoded.num_tiles);
                    let decoded = TilesDecoded { tiles, num_tiles };
                    self.tell(index, Event::TilesDecoded(decoded)).await?;
                }
                DecodeEvent::Frames(chunk) => {
                    let frames = chunk.shape().first().copied().unwrap_or(0);
                    let left_out = known.min(frames);
                    known -= left_out;
                    if left_out < frames {
                        self.push(index, without_first(chunk, left_out)?, sink).await?;
                    }
                }
                DecodeEvent::Summary(summary) => runtime_nanos = summary.runtime_nanos,
            }
        }
        Ok(runtime_nanos)
    }

    /// Gives the sink a chunk of frames, and the client what comes of it.
    async fn push(
        &self,
        index: u32,
        chunk: Tensor,
        sink: &mut Option<Sink>,
    ) -> Result<(), Failure> {
        let Some(mut held) = sink.take() else { return Err(incomplete("vae", "frames")) };
        let count = chunk.shape().first().copied().unwrap_or(0);
        let encoded = blocking(move || {
            let pieces = held.push(&chunk)?;
            Ok((held, pieces))
        });
        let (held, pieces) = encoded.await?;
        let frames = u32::try_from(held.frames()).unwrap_or(u32::MAX);
        *sink = Some(held);
        metrics::frames("the orchestrator", count);
        let num_frames = self.plan.size.num_frames;
        self.tell(index, Event::FramesDecoded(FramesDecoded { frames, num_frames })).await?;
        for event in pieces.into_iter().flat_map(|piece| piece.events()) {
            self.tell(index, event).await?;
        }
        Ok(())
    }
}

/// All but the first so many along the first axis.
fn without_first(tensor: Tensor, count: usize) -> Result<Tensor, Failure> {
    let Some((&length, rest)) = tensor.shape().split_first().filter(|_| count > 0) else {
        return Ok(tensor);
    };
    let bytes = tensor.bytes().len() / length.max(1) * count.min(length);
    let shape = [&[length.saturating_sub(count)], rest].concat();
    Tensor::new(tensor.dtype(), shape, tensor.bytes().slice(bytes..))
        .map_err(|error| Failure::Internal(error.to_string()))
}
