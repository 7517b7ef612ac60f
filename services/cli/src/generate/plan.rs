use std::collections::BTreeSet;

use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_denoiser::AdapterSettings;
use cogwheel_orchestrator::AdapterArgs;
use cogwheel_service::{Address, Fatal};
use cogwheel_tensor::Tensor;
use cogwheel_weights::Digest;

use crate::args::{GenerateArgs, MAX_VIDEOS};
use crate::chain::{self, Chain, ChainSettings, StageQueue};
use crate::client;
use crate::latents;
use crate::output::{Kind, Target};

use super::adapters::{Loras, choices};
use super::again::Again;
use super::comparison::NO_TENSORS;
use super::request::request;

/// A command whose every file and folder has been looked at.
pub(super) struct Plan {
    pub(super) source: Source,
    pub(super) request: GenerateVideoRequest,
    pub(super) video: Target,
    pub(super) latents: Option<Target>,
    /// What the user should know of how it will be computed.
    pub(super) notices: Vec<String>,
    /// Whether the video is put beside one without the adapters: what it becomes.
    pub(super) compare: Option<Kind>,
    /// The adapters of files.
    pub(super) loras: Loras,
    /// The video that is made again.
    pub(super) again: Option<Again>,
}

/// Who computes.
pub(super) enum Source {
    /// A server.
    Endpoint(Address),
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
        if let Some(again) = &again {
            again.fill(&mut args);
        }
        let video = Target::video(&args.output, args.num_videos).map_err(Fatal::usage)?;
        // A video that was compared is so again, where what is asked for can be.
        let can_compare = video.kind() != Kind::Tensors && args.num_videos.is_none();
        let again_compares = again.as_ref().is_some_and(Again::compares) && can_compare;
        let compare = (args.compare || again_compares).then(|| video.kind());
        if compare == Some(Kind::Tensors) {
            return Err(Fatal::usage(NO_TENSORS));
        }
        let output_latents = match &args.output_latents {
            Some(path) => Some(Target::latents(path, args.num_videos).map_err(Fatal::usage)?),
            None => None,
        };
        let videos = 0..args.num_videos.unwrap_or(1);
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
        let initial_latents = match &args.initial_latents {
            Some(path) => Some(latents::read(path).map_err(Fatal::usage)?),
            None => None,
        };
        if let Some(again) = &again {
            let digest = |tensor: &Tensor| Digest::of(tensor.bytes()).to_string();
            again.check_latents(initial_latents.as_ref().map(digest))?;
        }
        let mut request = request(&args, video.kind(), initial_latents.as_ref());
        let mut notices = Vec::new();
        if let Some(dir) = &args.model {
            notices.extend(args.compute.storage_notice());
            notices.extend(again.as_ref().and_then(|again| again.other_model(dir)));
        }
        let loras;
        let source = match (args.endpoint.take(), args.model.take()) {
            (Some(address), _) => {
                loras = Loras::for_server(&args.lora)?;
                request.adapters.clone_from(&loras.choices);
                request.adapters.extend(choices(&args.adapter));
                if let Some(again) = &again {
                    again.choose(&mut request.adapters);
                }
                Source::Endpoint(address)
            }
            (None, Some(dir)) => {
                let checkpoint = chain::open_served(&dir)?;
                loras = Loras::for_model(&args.lora, &checkpoint)?;
                request.adapters.clone_from(&loras.choices);
                if let Some(again) = &again {
                    again.scale(&mut request.adapters, &loras.registered)?;
                }
                let settings = ChainSettings {
                    checkpoint,
                    compute: args.compute,
                    memory_limit: args.memory_limit.map(|limit| limit.bytes),
                    // One request at a time comes from here.
                    queue: StageQueue { depth: 1 },
                    max_videos: MAX_VIDEOS,
                    size: [request.num_frames, request.height, request.width],
                    adapters: AdapterArgs::default(),
                    variants: AdapterSettings::default(),
                    given_adapters: loras.registered.clone(),
                    page: None,
                };
                // What a server would answer, before a single weight is loaded.
                Chain::check(&settings, &request).map_err(client::refusal)?;
                Source::Model(Box::new(settings))
            }
            // The command line holds one of them.
            (None, None) => return Err(Fatal::usage("expected --model or --endpoint")),
        };
        if compare.is_some() && request.adapters.is_empty() {
            return Err(Fatal::usage("--compare: expected --lora or --adapter, found neither"));
        }
        let latents = output_latents;
        Ok(Self { source, request, video, latents, notices, compare, loras, again })
    }
}
