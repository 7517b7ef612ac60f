use bytes::Bytes;
use cogwheel_api::TensorInbox;
use cogwheel_api::denoiser::v1::VideoSize;
use cogwheel_api::generation::v1::{
    Accepted, ArtifactHeader, ArtifactPart, GenerateVideoRequest, GenerateVideoResponse,
    OutputFormat, artifact_part::Part, generate_video_response::Event,
};
use cogwheel_api::tensor::v1::TensorPart;
use cogwheel_diffusion::frames::to_u8;
use cogwheel_orchestrator::VideoMetadata;
use cogwheel_service::Fatal;
use cogwheel_video::{FrameSize, VideoEncoder, VideoFormat, check_png_size, encode_png};

use crate::client::{Generation, Server};
use crate::output::Kind;

use super::reception::Reception;

/// Two videos of one prompt and seed as one: on the left without the adapters, on the right with
/// them. Both come as frames and are encoded here.
pub(super) struct Comparison {
    size: VideoSize,
    encoder: Encoder,
    /// The left frames, `height * width * 3` bytes each, those before `shown` taken.
    left: Vec<Vec<u8>>,
    shown: usize,
    inbox: TensorInbox,
}

/// What the frames become.
enum Encoder {
    Clip(Box<VideoEncoder>),
    Pictures,
    /// It has given its file.
    Done,
}

impl Comparison {
    /// Makes the left video; `request` becomes that of the right one.
    ///
    /// # Errors
    /// What the server answers, or sides that together are too wide for the format.
    pub(super) async fn begin(
        server: &Server,
        request: &mut GenerateVideoRequest,
        kind: Kind,
        reception: &mut Reception<'_>,
    ) -> Result<Self, Fatal> {
        request.output_format = OutputFormat::Frames.into();
        let left =
            GenerateVideoRequest { adapters: Vec::new(), return_latents: false, ..request.clone() };
        reception.progress_mut().note("first without the adapters");
        let mut generation = Generation::start(server, left).await?;
        let mut comparison = None;
        while let Some(response) = generation.next().await? {
            let Some(event) = response.event else { continue };
            reception.progress_mut().show(response.video_index, &event);
            match event {
                Event::Accepted(accepted) => {
                    // The seed that was drawn, where none was stated.
                    request.seed = accepted.sampling.map(|sampling| sampling.seed);
                    let new = Self::new(&accepted, kind)?;
                    // Before the work, not after half of it.
                    reception.check_leftovers(new.size.num_frames)?;
                    comparison = Some(new);
                }
                // The right one shows the same.
                Event::PromptEnhanced(enhanced) => {
                    (request.enhance_prompt, request.enhanced_prompt) = (false, enhanced.prompt);
                }
                Event::Frames(part) => {
                    let comparison: &mut Self =
                        comparison.as_mut().ok_or_else(|| broken("an acceptance", "frames"))?;
                    let frames = comparison.frames(part)?;
                    comparison.left.extend(frames);
                }
                _ => {}
            }
        }
        reception.progress_mut().note("now with the adapters");
        let mut comparison = comparison.ok_or_else(|| broken("an acceptance", "none"))?;
        comparison.check_count(comparison.left.len())?;
        comparison.inbox = inbox(comparison.size);
        Ok(comparison)
    }

    fn new(accepted: &Accepted, kind: Kind) -> Result<Self, Fatal> {
        let size = accepted.size.ok_or_else(|| broken("a size", "none"))?;
        let both = both(size);
        let unfit = |error: &dyn std::fmt::Display| {
            Fatal::usage(format!("--compare: two videos side by side: {error}"))
        };
        let clip = |format| VideoEncoder::new(format, both, accepted.fps);
        let encoder = match kind {
            Kind::Mp4 => Encoder::Clip(Box::new(clip(VideoFormat::Mp4).map_err(|e| unfit(&e))?)),
            Kind::Gif => Encoder::Clip(Box::new(clip(VideoFormat::Gif).map_err(|e| unfit(&e))?)),
            Kind::Pictures => {
                check_png_size(both).map_err(|error| unfit(&error))?;
                Encoder::Pictures
            }
            Kind::Tensors => return Err(Fatal::usage(NO_TENSORS)),
        };
        Ok(Self { size, encoder, left: Vec::new(), shown: 0, inbox: inbox(size) })
    }

    /// What a response of the right video is as one of both.
    ///
    /// # Errors
    /// Frames other than those that were promised, or what the encoder says.
    pub(super) fn turn(
        &mut self,
        response: GenerateVideoResponse,
    ) -> Result<Vec<GenerateVideoResponse>, Fatal> {
        let GenerateVideoResponse { video_index, event } = response;
        let events = match event {
            Some(Event::Accepted(accepted)) if accepted.size != Some(self.size) => {
                return Err(broken("the same size again", "another"));
            }
            Some(Event::Frames(part)) => {
                let mut events = Vec::new();
                for right in self.frames(part)? {
                    events.extend(self.show(&right)?);
                }
                events
            }
            Some(Event::VideoCompleted(mut completed)) => {
                self.check_count(self.shown)?;
                completed.metadata_json = compared(&completed.metadata_json);
                let mut events = self.finish(&completed.metadata_json)?;
                events.push(Event::VideoCompleted(completed));
                events
            }
            event => event.into_iter().collect(),
        };
        let told = |event| GenerateVideoResponse { video_index, event: Some(event) };
        Ok(events.into_iter().map(told).collect())
    }

    /// The frames that are complete with this part, as bytes.
    fn frames(&mut self, part: TensorPart) -> Result<Vec<Vec<u8>>, Fatal> {
        let wrong = |found: &dyn std::fmt::Display| broken("frames", &found.to_string());
        let complete = self.inbox.push(part).map_err(|error| wrong(&error))?;
        let Some(chunk) = complete.and_then(|name| self.inbox.take(&name)) else {
            return Ok(Vec::new());
        };
        let [height, width] = [self.size.height, self.size.width].map(|side| side as usize);
        if chunk.shape().get(1..) != Some(&[height, width, 3]) {
            return Err(wrong(&format!("{:?}", chunk.shape())));
        }
        let values = chunk.as_f32().map_err(|error| wrong(&error))?;
        Ok(values.chunks((height * width * 3).max(1)).map(to_u8).collect())
    }

    fn show(&mut self, right: &[u8]) -> Result<Vec<Event>, Fatal> {
        let none = || broken("as many frames again", "more");
        let left = std::mem::take(self.left.get_mut(self.shown).ok_or_else(none)?);
        let row = (self.size.width as usize * 3).max(1);
        let rows = left.chunks(row).zip(right.chunks(row));
        let frame: Vec<u8> =
            rows.flat_map(|(left, right)| [left, right]).flatten().copied().collect();
        let index = self.shown;
        self.shown += 1;
        match &mut self.encoder {
            Encoder::Clip(encoder) => encoder.push(&frame).map_err(Fatal::failed)?,
            Encoder::Pictures => {
                let png = encode_png(both(self.size), &frame).map_err(Fatal::failed)?;
                return Ok(file(format!("{index:05}.png"), png));
            }
            Encoder::Done => return Err(none()),
        }
        Ok(Vec::new())
    }

    fn finish(&mut self, metadata: &str) -> Result<Vec<Event>, Fatal> {
        match std::mem::replace(&mut self.encoder, Encoder::Done) {
            Encoder::Clip(encoder) => {
                let encoder = match metadata {
                    "" => encoder,
                    metadata => Box::new(encoder.with_metadata(metadata.to_owned())),
                };
                Ok(file("video".to_owned(), encoder.finish().map_err(Fatal::failed)?))
            }
            Encoder::Pictures | Encoder::Done => Ok(Vec::new()),
        }
    }

    fn check_count(&self, found: usize) -> Result<(), Fatal> {
        let expected = self.size.num_frames as usize;
        if found == expected {
            return Ok(());
        }
        Err(broken(&format!("{expected} frames"), &found.to_string()))
    }
}

/// The metadata of the right video as that of both; none where a server gives none.
fn compared(json: &str) -> String {
    let metadata = serde_json::from_str::<VideoMetadata>(json);
    metadata.map_or_else(|_| String::new(), |right| VideoMetadata { compare: true, ..right }.json())
}

/// Why tensors are not compared.
pub(super) const NO_TENSORS: &str = "--compare: expected an --output of .mp4, .gif or a folder, \
     found .safetensors: make both videos for that";

/// Takes the frames of one video.
fn inbox(size: VideoSize) -> TensorInbox {
    let values = [size.num_frames, size.height, size.width, 3].map(|value| value as usize);
    let limit = values.iter().fold(size_of::<f32>(), |bytes, &n| bytes.saturating_mul(n));
    TensorInbox::new(&["frames"], limit)
}

fn both(size: VideoSize) -> FrameSize {
    FrameSize { width: size.width.saturating_mul(2), height: size.height }
}

fn file(name: String, bytes: Vec<u8>) -> Vec<Event> {
    let header =
        ArtifactHeader { name, media_type: String::new(), byte_length: bytes.len() as u64 };
    let parts = [Part::Header(header), Part::Chunk(Bytes::from(bytes))];
    parts.map(|part| Event::Artifact(ArtifactPart { part: Some(part) })).into()
}

fn broken(expected: &str, found: &str) -> Fatal {
    Fatal::failed(format!("the server's answer: expected {expected}, found {found}"))
}
