use std::path::{Path, PathBuf};

use bytes::Bytes;
use cogwheel_api::denoiser::v1::Scheduler;
use cogwheel_api::generation::v1::{
    AdapterChoice, GenerateVideoRequest, InputVideo, OutputFormat, Pictures, input_video,
};
use cogwheel_tensor::{DType, Tensor};
use cogwheel_video::{FrameSize, encode_png};
use cogwheel_weights::Weights;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A path below `tests/data`.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(path)
}

/// A whole pipeline as diffusers runs it, made by `tools/reference/pipelines.py`.
#[derive(Debug)]
pub struct Case {
    /// The checkpoint's folder.
    pub model: PathBuf,
    /// What was asked for; frames and latents are asked for as they are.
    pub request: GenerateVideoRequest,
    /// As `--precision` names it.
    pub precision: &'static str,
    /// [frames, channels, height, width] after the last step, fp32.
    pub latents: Tensor,
    /// [frames, height, width, 3] in 0..1, fp32.
    pub frames: Tensor,
}

/// The settings as the script writes them.
#[derive(serde::Deserialize)]
struct Settings {
    checkpoint: String,
    scheduler: String,
    prompt: String,
    negative_prompt: String,
    width: u32,
    height: u32,
    num_frames: u32,
    num_inference_steps: u32,
    guidance_scale: f64,
    seed: u64,
    storage: Option<String>,
    strength: Option<f64>,
    #[serde(default)]
    adapters: Vec<(String, f32)>,
}

impl Case {
    /// Reads `tests/data/pipelines/NAME.safetensors`.
    pub fn read(name: &str) -> Self {
        let path = data(&format!("pipelines/{name}.safetensors"));
        let tensors = Weights::open_file(&path).unwrap();
        let settings = settings(&std::fs::read(&path).unwrap());
        let model = match settings.checkpoint.as_str() {
            "demo" => repository().join("demo/model"),
            name => data("checkpoints").join(name),
        };
        let dpm = settings.scheduler == "dpm";
        let scheduler = if dpm { Scheduler::Dpm } else { Scheduler::Ddim };
        let request = GenerateVideoRequest {
            prompt: settings.prompt,
            negative_prompt: settings.negative_prompt,
            width: Some(settings.width),
            height: Some(settings.height),
            num_frames: Some(settings.num_frames),
            num_inference_steps: Some(settings.num_inference_steps),
            guidance_scale: Some(settings.guidance_scale),
            scheduler: scheduler.into(),
            dynamic_cfg: Some(dpm),
            seed: Some(settings.seed),
            output_format: OutputFormat::Frames.into(),
            return_latents: true,
            adapters: settings.adapters.into_iter().map(choice).collect(),
            image: tensors.tensor("image").ok().map(|image| png(&image)),
            video: tensors.tensor("video").ok().map(|video| pictures(&video)),
            strength: settings.strength,
            ..GenerateVideoRequest::default()
        };
        let precision = match settings.storage.as_deref() {
            None => "fp32",
            Some("float16") => "fp16",
            Some("bfloat16") => "bf16",
            Some(other) => panic!("expected a half precision, found {other}"),
        };
        let tensor = |name| tensors.tensor_as(name, DType::F32).unwrap();
        Self { model, request, precision, latents: tensor("latents"), frames: tensor("frames") }
    }
}

/// U8 [height, width, 3] as a file.
fn png(pixels: &Tensor) -> Bytes {
    let &[height, width, 3] = pixels.shape() else { panic!("expected a picture") };
    let size = FrameSize { width: width as u32, height: height as u32 };
    encode_png(size, pixels.bytes()).unwrap().into()
}

/// U8 [frames, height, width, 3] as a file a frame.
fn pictures(video: &Tensor) -> InputVideo {
    let &[_, height, width, 3] = video.shape() else { panic!("expected a video") };
    let frames = video.bytes().chunks_exact(height * width * 3);
    let frame =
        |pixels: &[u8]| Tensor::new(DType::U8, [height, width, 3], pixels.to_vec()).unwrap();
    let files = frames.map(|pixels| png(&frame(pixels))).collect();
    InputVideo { source: Some(input_video::Source::Pictures(Pictures { files })) }
}

fn choice((name, scale): (String, f32)) -> AdapterChoice {
    AdapterChoice { name, scale: Some(scale) }
}

/// The `case` entry of a safetensors file's metadata.
fn settings(file: &[u8]) -> Settings {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap());
    let header = &file[8..8 + usize::try_from(length).unwrap()];
    let header: serde_json::Value = serde_json::from_slice(header).unwrap();
    serde_json::from_str(header["__metadata__"]["case"].as_str().unwrap()).unwrap()
}
