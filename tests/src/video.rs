use cogwheel_api::TensorInbox;
use cogwheel_api::generation::v1::{
    GenerateVideoResponse, artifact_part, generate_video_response::Event,
};
use cogwheel_tensor::Tensor;
use tonic::{Status, Streaming};

/// Everything one request gave.
#[derive(Debug, Default)]
pub struct Video {
    /// Every event in its order, tensors and files left out.
    pub events: Vec<(u32, Event)>,
    /// Latents of each video, if asked for.
    pub latents: Vec<Tensor>,
    /// Values of the frames of all videos, if asked for as they are.
    pub frames: Vec<f32>,
    /// Names and bytes of files.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Video {
    /// The steps that were told, as (step, steps).
    pub fn steps(&self) -> Vec<(u32, u32)> {
        let steps = self.events.iter().filter_map(|(_, event)| match event {
            Event::StepCompleted(step) => Some((step.step, step.num_steps)),
            _ => None,
        });
        steps.collect()
    }

    /// The notices that were told.
    pub fn notices(&self) -> Vec<&str> {
        let notices = self.events.iter().filter_map(|(_, event)| match event {
            Event::Notice(notice) => Some(notice.message.as_str()),
            _ => None,
        });
        notices.collect()
    }
}

/// Reads a response to its end.
///
/// # Errors
/// The status it ends with.
pub async fn collect(mut stream: Streaming<GenerateVideoResponse>) -> Result<Video, Status> {
    let mut video = Video::default();
    let mut inbox = TensorInbox::new(&["latents", "frames"], usize::MAX);
    while let Some(response) = stream.message().await? {
        match response.event.expect("every response has an event") {
            Event::Latents(part) => {
                if let Some(name) = inbox.push(part).unwrap() {
                    video.latents.extend(inbox.take(&name));
                }
            }
            Event::Frames(part) => {
                if let Some(name) = inbox.push(part).unwrap() {
                    let chunk = inbox.take(&name).unwrap();
                    video.frames.extend_from_slice(&chunk.as_f32().unwrap());
                }
            }
            Event::Artifact(part) => match part.part.unwrap() {
                artifact_part::Part::Header(header) => video.files.push((header.name, Vec::new())),
                artifact_part::Part::Chunk(bytes) => {
                    video.files.last_mut().unwrap().1.extend_from_slice(&bytes);
                }
            },
            event => video.events.push((response.video_index, event)),
        }
    }
    inbox.finish().unwrap();
    Ok(video)
}
