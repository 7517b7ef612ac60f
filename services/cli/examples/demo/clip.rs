use std::time::Instant;

use cogwheel_api::TensorInbox;
use cogwheel_api::generation::v1::{
    AdapterChoice, GenerateVideoRequest, OutputFormat, generate_video_response::Event,
};
use cogwheel_cli::client::{Generation, Server};
use cogwheel_diffusion::frames::to_u8;
use cogwheel_service::Fatal;
use cogwheel_video::FrameSize;

/// Most bytes of a clip's frames: far more than the demo model's take.
const MAX_BYTES: usize = 1 << 30;

/// A clip and what it took.
pub(crate) struct Clip {
    pub(crate) size: FrameSize,
    /// Each `height * width * 3` bytes.
    pub(crate) frames: Vec<Vec<u8>>,
    /// From the request to the last frame.
    pub(crate) seconds: f64,
    /// Of each step.
    pub(crate) steps: Vec<f64>,
    /// From the request to the beginning of the first step.
    pub(crate) until_first_step: f64,
    /// Whether its variant was merged for it.
    pub(crate) merged: bool,
}

/// Makes a clip at the model's own size.
pub(crate) async fn make(
    server: &Server,
    prompt: &str,
    seed: u64,
    adapters: &[String],
) -> Result<Clip, Fatal> {
    let choice = |name: &String| AdapterChoice { name: name.clone(), scale: None };
    let request = GenerateVideoRequest {
        prompt: prompt.to_owned(),
        seed: Some(seed),
        output_format: OutputFormat::Frames.into(),
        adapters: adapters.iter().map(choice).collect(),
        ..Default::default()
    };
    let start = Instant::now();
    let mut generation = Generation::start(server, request).await?;
    let mut inbox = TensorInbox::new(&["frames"], MAX_BYTES);
    let mut clip = Clip {
        size: FrameSize { width: 0, height: 0 },
        frames: Vec::new(),
        seconds: 0.0,
        steps: Vec::new(),
        until_first_step: 0.0,
        merged: false,
    };
    while let Some(response) = generation.next().await? {
        match response.event {
            Some(Event::Accepted(accepted)) => {
                let size = accepted.size.unwrap_or_default();
                clip.size = FrameSize { width: size.width, height: size.height };
            }
            Some(Event::VariantMerging(_)) => clip.merged = true,
            Some(Event::StepCompleted(step)) => {
                if clip.steps.is_empty() {
                    clip.until_first_step = start.elapsed().as_secs_f64() - step.seconds;
                }
                clip.steps.push(step.seconds);
            }
            Some(Event::Frames(part)) => {
                let complete = inbox.push(part).map_err(Fatal::failed)?;
                if let Some(chunk) = complete.and_then(|name| inbox.take(&name)) {
                    let bytes = clip.size.width as usize * clip.size.height as usize * 3;
                    let values = chunk.as_f32().map_err(Fatal::failed)?;
                    clip.frames.extend(values.chunks_exact(bytes.max(1)).map(to_u8));
                }
            }
            _ => {}
        }
    }
    clip.seconds = start.elapsed().as_secs_f64();
    Ok(clip)
}
