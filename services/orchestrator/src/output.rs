use bytes::Bytes;
use cogwheel_api::generation::v1::{
    ArtifactHeader, ArtifactPart, OutputFormat, artifact_part, generate_video_response::Event,
};
use cogwheel_api::tensor_parts;
use cogwheel_diffusion::frames::to_u8;
use cogwheel_service::Failure;
use cogwheel_tensor::Tensor;
use cogwheel_video::{
    FrameSize, VideoEncoder, VideoError, VideoFormat, check_png_size, encode_png,
};

/// Bytes of one message of a file: well under gRPC's usual 4 MiB.
const CHUNK_BYTES: usize = 1 << 20;

/// Turns frames, as they are decoded, into what the client asked for.
pub(crate) struct Sink {
    frame: FrameSize,
    kind: Kind,
    /// Frames so far.
    frames: usize,
}

enum Kind {
    /// One file at the end.
    Clip(Box<VideoEncoder>, VideoFormat),
    /// One file a frame.
    Pictures,
    /// The numbers themselves.
    Raw,
}

/// A message to the client, or a whole file to be cut into messages.
pub(crate) enum Piece {
    /// Ready to send.
    Event(Event),
    /// A file.
    File(ArtifactHeader, Bytes),
}

impl Sink {
    /// A sink for frames of this size; `metadata` goes into files that have a place for it.
    ///
    /// # Errors
    /// What the format cannot hold.
    pub(crate) fn new(
        format: OutputFormat,
        frame: FrameSize,
        fps: u32,
        metadata: &str,
    ) -> Result<Self, VideoError> {
        let clip = |format| -> Result<Kind, VideoError> {
            let encoder = VideoEncoder::new(format, frame, fps)?;
            Ok(Kind::Clip(Box::new(encoder.with_metadata(metadata.to_owned())), format))
        };
        let kind = match format {
            OutputFormat::Unspecified | OutputFormat::Mp4 => clip(VideoFormat::Mp4)?,
            OutputFormat::Gif => clip(VideoFormat::Gif)?,
            OutputFormat::Png => Kind::Pictures,
            OutputFormat::Frames => Kind::Raw,
        };
        Ok(Self { frame, kind, frames: 0 })
    }

    /// Takes a chunk of frames, [n, height, width, 3] fp32 in 0..1; gives what can be sent already.
    /// Encoding is work for a thread that may block.
    ///
    /// # Errors
    /// [`Failure::Internal`] when the frames are not what the stage promised.
    pub(crate) fn push(&mut self, chunk: &Tensor) -> Result<Vec<Piece>, Failure> {
        let mut pieces = Vec::new();
        let values = chunk.as_f32().map_err(internal)?;
        let frame_values = self.frame.width as usize * self.frame.height as usize * 3;
        if let Kind::Raw = self.kind {
            pieces.extend(
                tensor_parts("frames", chunk).map(|part| Piece::Event(Event::Frames(part))),
            );
        }
        for frame in values.chunks(frame_values.max(1)) {
            match &mut self.kind {
                Kind::Clip(encoder, _) => encoder.push(&to_u8(frame)).map_err(internal)?,
                Kind::Pictures => {
                    let png = encode_png(self.frame, &to_u8(frame)).map_err(internal)?;
                    let name = format!("{:05}.png", self.frames);
                    pieces.push(file(name, "image/png", png));
                }
                Kind::Raw => {}
            }
            self.frames += 1;
        }
        Ok(pieces)
    }

    /// Frames taken so far.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// What can only be sent at the end.
    ///
    /// # Errors
    /// [`Failure::Internal`] when the encoder fails.
    pub(crate) fn finish(self) -> Result<Option<Piece>, Failure> {
        match self.kind {
            Kind::Clip(encoder, format) => {
                let bytes = encoder.finish().map_err(internal)?;
                let (name, media_type) = match format {
                    VideoFormat::Mp4 => ("video.mp4", "video/mp4"),
                    VideoFormat::Gif => ("video.gif", "image/gif"),
                };
                Ok(Some(file(name.to_owned(), media_type, bytes)))
            }
            Kind::Pictures | Kind::Raw => Ok(None),
        }
    }
}

/// Passes frames that a format can hold, before there are any.
///
/// # Errors
/// [`VideoError::FrameSize`].
pub(crate) fn check_size(format: OutputFormat, frame: FrameSize) -> Result<(), VideoError> {
    match format {
        OutputFormat::Unspecified | OutputFormat::Mp4 => VideoFormat::Mp4.check_size(frame),
        OutputFormat::Gif => VideoFormat::Gif.check_size(frame),
        OutputFormat::Png => check_png_size(frame),
        OutputFormat::Frames => Ok(()),
    }
}

/// The most frames per second of a format. Those that hold no rate take what a video may have.
pub(crate) fn max_fps(format: OutputFormat) -> u32 {
    match format {
        OutputFormat::Gif => VideoFormat::Gif.max_fps(),
        OutputFormat::Unspecified
        | OutputFormat::Mp4
        | OutputFormat::Png
        | OutputFormat::Frames => VideoFormat::Mp4.max_fps(),
    }
}

impl Piece {
    /// The messages that carry it.
    pub(crate) fn events(self) -> impl Iterator<Item = Event> {
        let (event, file) = match self {
            Self::Event(event) => (Some(event), None),
            Self::File(header, bytes) => (None, Some((header, bytes))),
        };
        let parts = file.into_iter().flat_map(|(header, bytes)| {
            let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
            let chunks = starts.map(move |start| {
                let end = bytes.len().min(start + CHUNK_BYTES);
                artifact_part::Part::Chunk(bytes.slice(start..end))
            });
            std::iter::once(artifact_part::Part::Header(header)).chain(chunks)
        });
        let parts = parts.map(|part| Event::Artifact(ArtifactPart { part: Some(part) }));
        event.into_iter().chain(parts)
    }
}

fn file(name: String, media_type: &str, bytes: Vec<u8>) -> Piece {
    let byte_length = bytes.len() as u64;
    let header = ArtifactHeader { name, media_type: media_type.to_owned(), byte_length };
    Piece::File(header, bytes.into())
}

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::Internal(error.to_string())
}
