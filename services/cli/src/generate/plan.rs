mod lines;

use std::collections::BTreeSet;
use std::sync::Arc;

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_denoiser::AdapterSettings;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_orchestrator::{AdapterArgs, WorkLimits};
use cogwheel_service::{Address, Fatal};
use cogwheel_tensor::Tensor;
use cogwheel_weights::Digest;
use prost::Message as _;

use crate::args::{ClientArgs, GenerateArgs, MAX_VIDEOS};
use crate::chain::{self, Chain, ChainSettings, StageQueue};
use crate::client;
use crate::hub;
use crate::latents;
use crate::output::{Kind, Target};

use super::adapters::{Loras, choices};
use super::again::Again;
use super::batch::Batch;
use super::brought::{Brought, Frames, OwnFiles};
use super::comparison::NO_TENSORS;
use super::request::request;
use lines::OfAll;

/// A command whose every file and folder has been looked at.
pub(super) struct Plan {
    pub(super) source: Source,
    /// In their order.
    pub(super) jobs: Vec<Job>,
    /// What the user should know of how it will be computed.
    pub(super) notices: Vec<String>,
    /// Whether the video is put beside one without the adapters: what it becomes.
    pub(super) compare: Option<Kind>,
    /// The adapters of files.
    pub(super) loras: Loras,
    /// The video that is made again.
    pub(super) again: Option<Again>,
    /// Lines of a prompt file that were left out.
    pub(super) broken_lines: usize,
    /// Whether others are made where one cannot be.
    pub(super) skip_broken: bool,
    /// Of a request.
    max_bytes: usize,
}

/// A request and where its files go.
pub(super) struct Job {
    pub(super) request: GenerateVideoRequest,
    pub(super) video: Target,
    pub(super) latents: Option<Target>,
    /// Where the frames came from that it brings.
    pub(super) frames: Arc<Frames>,
    /// Files of its own, which are read when its turn comes, and what the command line brings.
    own: Option<(OwnFiles, Arc<Brought>)>,
    /// The line of a prompt file that asks for it.
    pub(super) line: Option<u32>,
}

impl Job {
    /// Reads the files of its own that it brings.
    ///
    /// # Errors
    /// One that is not as it was when it was looked at.
    pub(super) fn read_own(&mut self) -> Result<(), Fatal> {
        if let Some((own, of_all)) = self.own.take() {
            own.read(&of_all)?.put_into(&mut self.request);
        }
        Ok(())
    }
}

/// Who computes.
pub(super) enum Source {
    /// A server.
    Endpoint(Address, Box<ClientArgs>),
    /// This process.
    Model(Box<ChainSettings>),
}

impl Plan {
    /// Checks everything that can be checked before work.
    ///
    /// # Errors
    /// What is missing, malformed, unfit or unwritable.
    pub(super) fn new(mut args: GenerateArgs) -> Result<Self, Fatal> {
        let again = args.from.as_deref().map(Again::read).transpose()?;
        let mut enhanced_prompt = None;
        if let Some(again) = &again {
            enhanced_prompt = again.enhanced_prompt(&args);
            again.fill(&mut args);
        }
        let batch = match &args.prompt_file {
            Some(path) => Some(Batch::read(path, args.skip_broken_lines)?),
            None => None,
        };
        // Lines are counted from 1.
        let num_files = batch.as_ref().map(|batch| batch.last() + 1).or(args.num_videos);
        let video = Target::video(&args.output, num_files).map_err(Fatal::usage)?;
        // A video that was compared is so again, where what is asked for can be.
        let can_compare = video.kind() != Kind::Tensors && args.num_videos.is_none();
        let again_compares = again.as_ref().is_some_and(Again::compares) && can_compare;
        let compare = (args.compare || again_compares).then(|| video.kind());
        if compare == Some(Kind::Tensors) {
            return Err(Fatal::usage(NO_TENSORS));
        }
        let output_latents = match &args.output_latents {
            Some(path) => Some(Target::latents(path, num_files).map_err(Fatal::usage)?),
            None => None,
        };
        let videos = 0..num_files.unwrap_or(1);
        let places: BTreeSet<_> = videos.clone().map(|index| video.place(index)).collect();
        if let Some(target) = &output_latents
            && let Some(index) = videos.into_iter().find(|&n| places.contains(&target.place(n)))
        {
            let path = target.path(index);
            return Err(Fatal::usage(format!(
                "--output-latents {}: expected another file than --output, found the same",
                path.display()
            )));
        }
        let max_bytes = args.inputs.max_request_bytes;
        let initial_latents = match &args.initial_latents {
            Some(path) => Some(latents::read(path, max_bytes).map_err(Fatal::usage)?),
            None => None,
        };
        let checkpoint = match &mut args.model {
            Some(model) => {
                *model = hub::model_folder(model)?;
                let quantized = args.compute.is_quantized();
                Some(chain::open_checkpoint(model)?.with_quantized(quantized))
            }
            None => None,
        };
        // What a request leaves open is the model's, which a server alone knows.
        let of_model = |it: &Checkpoint| it.default_workload().num_frames as u32;
        let of_one = args.num_frames.or(checkpoint.as_ref().map(of_model));
        let wanted = batch.as_ref().map_or(of_one, |batch| batch.num_frames(of_one));
        let of_again = again.as_ref().map_or(0, Again::num_frames);
        let wanted = wanted.map(|frames| frames.max(of_again));
        let latents_bytes = initial_latents.as_ref().map_or(0, |tensor| tensor.bytes().len());
        let room = max_bytes.saturating_sub(latents_bytes) as u64;
        let brought = Brought::read(args.image.as_deref(), args.video.as_deref(), wanted, room)?;
        let brought = Arc::new(brought);
        let digest = |tensor: &Tensor| Digest::of(tensor.bytes()).to_string();
        let latents_digest = initial_latents.as_ref().map(digest);
        if let Some(again) = &again {
            again.check_digests(&brought.digests(latents_digest.clone(), again.num_frames()))?;
        }
        let mut request = request(&args, video.kind(), initial_latents.as_ref(), &brought);
        if let Some(enhanced_prompt) = enhanced_prompt {
            // Asked again, a language model might say something else.
            (request.enhance_prompt, request.enhanced_prompt) = (false, enhanced_prompt);
        }
        let mut notices = Vec::from_iter(brought.note.clone());
        if let Some(dir) = &args.model {
            notices.extend(args.compute.precision_notice());
            notices.extend(again.as_ref().and_then(|again| again.other_model(dir)));
        }
        let loras;
        let source = match (args.endpoint.take(), checkpoint) {
            (Some(address), _) => {
                loras = Loras::for_server(&args.lora)?;
                request.adapters.clone_from(&loras.choices);
                request.adapters.extend(choices(&args.adapter));
                if let Some(again) = &again {
                    again.choose(&mut request.adapters);
                }
                Source::Endpoint(address, Box::new(args.client))
            }
            (None, Some(checkpoint)) => {
                loras = Loras::for_model(&args.lora, &checkpoint)?;
                request.adapters.clone_from(&loras.choices);
                if let Some(again) = &again {
                    again.scale(&mut request.adapters, &loras.registered)?;
                }
                let settings = ChainSettings {
                    checkpoint,
                    compute: args.compute,
                    memory_limit: args.memory_limit.map(|limit| limit.bytes),
                    vae_tiling: args.tiling.vae_tiling,
                    // One request at a time comes from here.
                    queue: StageQueue { depth: 1 },
                    // Whoever asks is whose machine it is; memory bounds it all the same.
                    work: WorkLimits {
                        max_videos: MAX_VIDEOS,
                        max_frames: u32::MAX,
                        max_pixels: u64::MAX,
                        ..WorkLimits::default()
                    },
                    size: [request.num_frames, request.height, request.width],
                    from_video: request.video.is_some()
                        || batch.as_ref().is_some_and(Batch::brings_video),
                    adapters: AdapterArgs::default(),
                    variants: AdapterSettings::default(),
                    inputs: args.inputs,
                    enhancer: args.enhancer,
                    given_adapters: loras.registered.clone(),
                    page: None,
                };
                Source::Model(Box::new(settings))
            }
            // The command line holds one of them.
            (None, None) => return Err(Fatal::usage("expected --model or --endpoint")),
        };
        if compare.is_some() && request.adapters.is_empty() {
            return Err(Fatal::usage("--compare: expected --lora or --adapter, found neither"));
        }
        let mut plan = Self {
            source,
            jobs: Vec::new(),
            notices,
            compare,
            loras,
            again,
            broken_lines: 0,
            skip_broken: args.skip_broken_lines,
            max_bytes,
        };
        let frames = Arc::new(brought.frames.clone());
        let job = Job { request, video, latents: output_latents, frames, own: None, line: None };
        match batch {
            None => {
                plan.check(&job)?;
                plan.jobs.push(job);
            }
            Some(batch) => {
                let (num_frames, job, brought) = (of_one, &job, &brought);
                plan.add_lines(batch, &OfAll { job, brought, latents_digest, num_frames, room })?;
            }
        }
        Ok(plan)
    }

    /// What a server would answer, before a single weight is loaded.
    fn check(&self, Job { request, video, frames, .. }: &Job) -> Result<(), Fatal> {
        let (max, found) = (self.max_bytes, request.encoded_len());
        if found > max {
            return Err(Fatal::usage(format!(
                "expected a request of at most {max} bytes (--max-request-bytes), found {found} with what it brings"
            )));
        }
        // Where the model or the frames that are brought say how many it makes, that is seen later.
        if let Some(num_frames) = request.num_frames {
            for index in 0..request.num_videos.unwrap_or(1).min(MAX_VIDEOS) {
                video.leftovers(index, num_frames).map_err(Fatal::usage)?;
            }
        }
        match &self.source {
            Source::Model(settings) => Chain::check(settings, request)
                .map_err(|refused| frames.name(client::refusal(refused))),
            Source::Endpoint(..) => Ok(()),
        }
    }
}
