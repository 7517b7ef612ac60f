//! The image or video that a request brings, as latents.

use bytes::Bytes;
use cogwheel_api::generation::v1::{FramesEncoded, Notice, Stage, generate_video_response::Event};
use cogwheel_api::tensor::v1::{DataType, TensorHeader, TensorPart, tensor_part};
use cogwheel_api::vae::v1::{EncodeHeader, EncodePurpose, EncodeRequest, encode_request::Part};
use cogwheel_service::Failure;
use cogwheel_tensor::Tensor;
use tokio::sync::mpsc;

use super::{Generation, blocking, incomplete, reader};
use crate::input::Input;
use crate::plan::Given;
use crate::service::{FramesEvent, Place};

/// Messages with frames that wait to be sent.
const MESSAGES: usize = 4;
/// Bytes of one of them, which is less than gRPC's usual 4 MiB.
const CHUNK_BYTES: usize = 1 << 20;

/// Latents of what was given, as the denoiser wants them.
pub(super) struct EncodedInput {
    /// The tensor's name there.
    pub(super) name: &'static str,
    pub(super) latents: Tensor,
    /// Numbers that were drawn for them with the video's seed.
    pub(super) values_drawn: u64,
}

impl Generation<'_> {
    /// Encodes what was given for video `index`, nothing where nothing was, or where it is there already: what is drawn
    /// depends on the video's seed. Gives the time inside the runtime.
    pub(super) async fn encode_given(
        &self,
        index: u32,
        encoded: &mut Option<EncodedInput>,
    ) -> Result<u64, Failure> {
        let Some(given) = &self.plan.given else { return Ok(0) };
        if encoded.is_some() && given.purpose == EncodePurpose::Control {
            return Ok(0);
        }
        self.begin(index, Stage::VaeEncoder).await?;
        let mut runs = self.runs(index, Stage::VaeEncoder, &self.stages.vae);
        loop {
            let place = runs.place(None).await?;
            match self.try_to_encode_given(index, given, &place).await {
                Err(failure) => runs.after(&place, failure).await?,
                Ok((made, nanos)) => {
                    *encoded = Some(made);
                    return Ok(nanos);
                }
            }
        }
    }

    /// Reads what was given and has it encoded there.
    async fn try_to_encode_given(
        &self,
        index: u32,
        given: &Given,
        place: &Place,
    ) -> Result<(EncodedInput, u64), Failure> {
        let header =
            EncodeHeader { purpose: given.purpose.into(), seed: self.plan.sampling_of(index).seed };
        let (sender, requests) = mpsc::channel(MESSAGES);
        let reader = reader(self.readers).await?;
        let reading = blocking({
            let (input, purpose) = (given.input.clone(), given.purpose);
            let size = self.plan.frame();
            let count = self.encoded_frames();
            let frames = [count, size.height as usize, size.width as usize, 3];
            move || {
                let _reader = reader;
                let mut messages = std::iter::once(Part::Header(header)).chain(std::iter::once(
                    Part::Frames(part(tensor_part::Part::Header(tensor_header(frames)))),
                ));
                let send = |part| sender.blocking_send(EncodeRequest { part: Some(part) }).is_ok();
                if !messages.all(send) {
                    return Ok(());
                }
                input.read(Input::field(purpose), (count, size), |pixels| chunks(pixels).all(send))
            }
        });
        // What keeps the frames from being read is why the call fails.
        let encoding = self.encode_frames(index, given, requests, place);
        let (read, made) = tokio::join!(reading, encoding);
        read?;
        made
    }

    /// Frames that are encoded of what was given.
    fn encoded_frames(&self) -> usize {
        self.model.encoded_frames(self.plan.size.num_frames as usize, true)
    }

    #[tracing::instrument(name = "stage call", skip_all, fields(method = "VaeService/Encode", address = place.address(), otel.kind = "client"))]
    async fn encode_frames(
        &self,
        index: u32,
        given: &Given,
        requests: mpsc::Receiver<EncodeRequest>,
        place: &Place,
    ) -> Result<(EncodedInput, u64), Failure> {
        let [frames, channels, height, width] = self.plan.latents.shape();
        let (name, frames) = match given.purpose {
            EncodePurpose::Image => ("image_latents", 1),
            EncodePurpose::Control => {
                ("control_latents", frames - self.plan.latents.padding_frames)
            }
            _ => ("video_latents", frames - self.plan.latents.padding_frames),
        };
        let num_frames = self.encoded_frames() as u32;
        let shape = [frames, channels, height, width];
        let mut call = place.encode_frames(requests, shape, &self.terms).await?;
        let (mut latents, mut summary) = (None, None);
        while let Some(event) = call.next().await? {
            match event {
                FramesEvent::Queued(position) => {
                    self.queued(index, Stage::VaeEncoder, position).await?
                }
                FramesEvent::Frames(done) => {
                    let frames = done.frames;
                    self.tell(index, Event::FramesEncoded(FramesEncoded { frames, num_frames }))
                        .await?;
                }
                FramesEvent::Tiles(done) => {
                    if !done.reason.is_empty() {
                        let notice = Notice { message: done.reason };
                        self.tell(index, Event::Notice(notice)).await?;
                    }
                    let share = f64::from(done.tiles) / f64::from(done.num_tiles.max(1));
                    let frames = (f64::from(num_frames) * share) as u32;
                    self.tell(index, Event::FramesEncoded(FramesEncoded { frames, num_frames }))
                        .await?;
                }
                FramesEvent::Latents(tensor) => latents = Some(tensor),
                FramesEvent::Summary(told) => summary = Some(told),
            }
        }
        let summary = summary.ok_or_else(|| incomplete("vae", "a summary"))?;
        let latents = latents.ok_or_else(|| incomplete("vae", "latents"))?;
        let values_drawn = summary.values_drawn;
        Ok((EncodedInput { name, latents, values_drawn }, summary.runtime_nanos))
    }
}

fn tensor_header(shape: [usize; 4]) -> TensorHeader {
    let shape = shape.map(|side| side as u64);
    TensorHeader {
        name: "frames".to_owned(),
        dtype: DataType::U8.into(),
        shape: shape.to_vec(),
        byte_length: shape.iter().product(),
    }
}

/// A frame's pixels as messages.
fn chunks(pixels: Vec<u8>) -> impl Iterator<Item = Part> {
    let pixels = Bytes::from(pixels);
    let starts = (0..pixels.len()).step_by(CHUNK_BYTES);
    starts.map(move |start| {
        let chunk = pixels.slice(start..pixels.len().min(start + CHUNK_BYTES));
        Part::Frames(part(tensor_part::Part::Chunk(chunk)))
    })
}

fn part(part: tensor_part::Part) -> TensorPart {
    TensorPart { part: Some(part) }
}
