//! `--prompt-file`: a prompt a line, or a JSON object a line with settings of its own.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use cogwheel_api::denoiser::v1::Scheduler;
use cogwheel_api::generation::v1::{AdapterChoice, GenerateVideoRequest};
use cogwheel_orchestrator::Digests;
use cogwheel_service::Fatal;
use cogwheel_video::read_metadata;
use cogwheel_weights::Weights;
use serde::Deserialize;

use super::brought::OwnFiles;
use crate::args::SchedulerName;
use crate::output::{Kind, Target, metadata_beside};
use crate::shown;

/// More than thousands of prompts take.
const MAX_BYTES: u64 = 16 << 20;
/// Each has files of its own, all of which are checked beforehand.
const MAX_LINES: usize = 10_000;

/// Of UTF-8, which some editors write.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The lines of a file that ask for a video.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// What is wrong with others.
    pub(super) broken: Vec<String>,
}

/// What one line asks for.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u32,
    settings: LineSettings,
}

/// Settings that take the place of the command line's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineSettings {
    prompt: String,
    negative_prompt: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    num_frames: Option<u32>,
    fps: Option<u32>,
    num_inference_steps: Option<u32>,
    guidance_scale: Option<f64>,
    scheduler: Option<SchedulerName>,
    dynamic_cfg: Option<bool>,
    seed: Option<u64>,
    image: Option<PathBuf>,
    video: Option<PathBuf>,
    strength: Option<f64>,
    adapters: Option<Vec<LineAdapter>>,
    enhance_prompt: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineAdapter {
    name: String,
    scale: Option<f32>,
}

/// Why a file is no list of prompts.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    /// The file cannot be read.
    #[error("--prompt-file {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It asks for nothing, or for too much.
    #[error("--prompt-file {}: expected 1 to {MAX_LINES} lines with prompts in up to 16 MiB, found {found}", .path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: String,
    },
    /// Lines that cannot be read.
    #[error("--prompt-file {}: {broken} (--skip-broken-lines makes the others)", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which, and what is wrong with them.
        broken: String,
    },
}

impl From<BatchError> for Fatal {
    fn from(error: BatchError) -> Self {
        Self::usage(error)
    }
}

impl Batch {
    /// Reads a file: empty lines and those that begin with `#` ask for nothing. Where it ends in `.jsonl` each line is an
    /// object.
    ///
    /// # Errors
    /// [`BatchError`]; broken lines are one unless they are to be skipped.
    pub(super) fn read(path: &Path, skip_broken: bool) -> Result<Self, BatchError> {
        let failed = |source| BatchError::Io { path: path.to_path_buf(), source };
        let count = |found: String| BatchError::Count { path: path.to_path_buf(), found };
        let mut bytes = Vec::new();
        let mut file = File::open(path).map_err(failed)?.take(MAX_BYTES + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(count("more bytes".to_owned()));
        }
        let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"));
        let mut batch = Self::default();
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let Ok(line) = str::from_utf8(line).map(str::trim) else {
                batch.broken.push(format!("line {number}: expected UTF-8, found other bytes"));
                continue;
            };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match settings(line, is_json) {
                Ok(settings) => batch.lines.push(Line { number, settings }),
                Err(found) => batch.broken.push(format!("line {number}: {found}")),
            }
        }
        if !(batch.broken.is_empty() || skip_broken) {
            let broken = batch.broken.join("; ");
            return Err(BatchError::Broken { path: path.to_path_buf(), broken });
        }
        match batch.lines.len() {
            1..=MAX_LINES => Ok(batch),
            found => Err(count(found.to_string())),
        }
    }

    /// The most frames that a line asks for, where each asks for some or `otherwise` says how many.
    pub(super) fn num_frames(&self, otherwise: Option<u32>) -> Option<u32> {
        let of_line = |line: &Line| line.settings.num_frames.or(otherwise);
        self.lines.iter().map(of_line).try_fold(0, |most, of_line| Some(most.max(of_line?)))
    }

    /// Whether a line brings a video of its own.
    pub(super) fn brings_video(&self) -> bool {
        self.lines.iter().any(|line| line.settings.video.is_some())
    }

    /// The number of the last line.
    pub(super) fn last(&self) -> u32 {
        self.lines.last().map_or(0, |line| line.number)
    }
}

fn settings(line: &str, is_json: bool) -> Result<LineSettings, String> {
    if !is_json {
        return Ok(LineSettings { prompt: line.to_owned(), ..LineSettings::default() });
    }
    let refused = |reason: &str| {
        let found = shown::value(line);
        format!(
            "expected an object with a prompt and options by their names, found '{found}'{reason}"
        )
    };
    // An array would be taken for the values in their order.
    if !line.starts_with('{') {
        return Err(refused(""));
    }
    serde_json::from_str(line).map_err(|error| {
        let reason = error.to_string();
        // It counts lines within the line.
        let reason = reason.split(" at line 1 column").next().unwrap_or_default();
        refused(&format!(": {reason}"))
    })
}

impl Line {
    /// The files that it names, if it does, where a request has room for `max` bytes; `otherwise` says how many frames it
    /// makes if it does not.
    pub(super) fn own_files(&self, otherwise: Option<u32>, max: u64) -> Option<OwnFiles> {
        let LineSettings { image, video, num_frames, .. } = &self.settings;
        let num_frames = num_frames.or(otherwise);
        let own = OwnFiles { image: image.clone(), video: video.clone(), num_frames, max };
        (image.is_some() || video.is_some()).then_some(own)
    }

    /// The command line's request with what the line says in its place; seeds count up where the line has none of its own,
    /// `index` being the line's place among all.
    pub(super) fn request(
        &self,
        of_all: &GenerateVideoRequest,
        index: usize,
    ) -> GenerateVideoRequest {
        let line = &self.settings;
        let mut request = of_all.clone();
        request.prompt.clone_from(&line.prompt);
        if let Some(negative_prompt) = &line.negative_prompt {
            request.negative_prompt.clone_from(negative_prompt);
        }
        request.width = line.width.or(request.width);
        request.height = line.height.or(request.height);
        request.num_frames = line.num_frames.or(request.num_frames);
        request.fps = line.fps.or(request.fps);
        request.num_inference_steps = line.num_inference_steps.or(request.num_inference_steps);
        request.guidance_scale = line.guidance_scale.or(request.guidance_scale);
        if let Some(scheduler) = line.scheduler {
            request.scheduler = Scheduler::from(scheduler).into();
        }
        request.dynamic_cfg = line.dynamic_cfg.or(request.dynamic_cfg);
        request.strength = line.strength.or(request.strength);
        request.enhance_prompt = line.enhance_prompt.unwrap_or(request.enhance_prompt);
        request.seed = line.seed.or_else(|| Some(request.seed?.wrapping_add(index as u64)));
        if let Some(adapters) = &line.adapters {
            let choice = |adapter: &LineAdapter| AdapterChoice {
                name: adapter.name.clone(),
                scale: adapter.scale,
            };
            request.adapters = adapters.iter().map(choice).collect();
        }
        request
    }
}

/// Whether a whole video is there that says it was made by this request, as far as the request says anything; `digests` are
/// those of what a video of so many frames would be made from.
pub(super) fn is_made(
    video: &Target,
    latents: Option<&Target>,
    request: &GenerateVideoRequest,
    digests: &dyn Fn(u32) -> Digests,
) -> bool {
    let path = video.path(0);
    let Some(made) = metadata_beside(&path) else { return false };
    if !is_whole(video.kind(), &path, made.num_frames)
        || latents.is_some_and(|latents| !latents.path(0).is_file())
        || made.digests != digests(made.num_frames)
    {
        return false;
    }
    let scheduler = SchedulerName::from_str(&made.scheduler, false).map(Scheduler::from);
    let is_scheduler = request.scheduler == i32::from(Scheduler::Unspecified)
        || scheduler.is_ok_and(|made| request.scheduler == i32::from(made));
    let is = |asked: Option<u32>, made: u32| asked.is_none_or(|asked| asked == made);
    let adapters =
        request.adapters.iter().map(|choice| (&*choice.name, choice.scale.unwrap_or(1.0)));
    let of_made = made.adapters.iter().map(|adapter| (&*adapter.name, adapter.scale));
    made.prompt == request.prompt
        && made.enhanced_prompt.is_some() == request.enhance_prompt
        && made.negative_prompt.as_deref().is_none_or(|text| text == request.negative_prompt)
        && is(request.width, made.width)
        && is(request.height, made.height)
        && is(request.num_frames, made.num_frames)
        && is(request.fps, made.fps)
        && is(request.num_inference_steps, made.num_inference_steps)
        && request.guidance_scale.is_none_or(|asked| asked == made.guidance_scale)
        && is_scheduler
        && request.dynamic_cfg.is_none_or(|asked| asked == made.dynamic_cfg)
        && request.seed.is_none_or(|asked| asked == made.seed)
        && request.strength.is_none_or(|asked| made.strength == Some(asked))
        && adapters.eq(of_made)
}

/// Whether a file or folder of pictures has its end.
fn is_whole(kind: Kind, path: &Path, num_frames: u32) -> bool {
    let last_byte = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte).map(|()| byte[0])
    };
    match kind {
        // Its description stands behind its pictures.
        Kind::Mp4 => {
            File::open(path).is_ok_and(|file| read_metadata(file).is_ok_and(|text| text.is_some()))
        }
        Kind::Gif => last_byte().is_ok_and(|byte: u8| byte == GIF_END),
        Kind::Pictures => {
            (0..num_frames).all(|frame| path.join(format!("{frame:05}.png")).is_file())
        }
        // The header says how long the file is.
        Kind::Tensors => Weights::open_file(path).is_ok(),
    }
}

/// The last byte of a GIF.
const GIF_END: u8 = 0x3b;
