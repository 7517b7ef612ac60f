//! `--from`: a video made again from what it says of itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum as _;
use cogwheel_api::generation::v1::{AcceptedAdapter, AdapterChoice};
use cogwheel_models::checkpoint::folder_name;
use cogwheel_orchestrator::{AdapterMetadata, Digests, RegisteredAdapter, VideoMetadata};
use cogwheel_service::Fatal;
use cogwheel_video::{MetadataError, read_metadata};

use crate::args::{GenerateArgs, SchedulerName, Switch};
use crate::file_kind;
use crate::output::{metadata_path, read_metadata_text};
use crate::shown;

/// What a video was made of, as far as the command line says nothing else.
#[derive(Clone, Debug)]
pub(super) struct Again {
    path: PathBuf,
    metadata: VideoMetadata,
    /// The metadata's.
    scheduler: SchedulerName,
}

/// Why a video cannot be made again.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgainError {
    /// The file cannot be read.
    #[error("--from {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Neither the file nor one beside it says how it was made.
    #[error(
        "--from {}: expected a video that says how it was made, or its JSON, found no metadata in it and no {}",
        .path.display(), .beside.display()
    )]
    None {
        /// The file.
        path: PathBuf,
        /// Where its metadata would be.
        beside: PathBuf,
    },
    /// The metadata is no such JSON.
    #[error("--from {}: expected metadata as this program writes it, found: {found}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// An adapter that the video was made with is not given.
    #[error(
        "--from {}: expected --lora PATH of adapter '{name}' with digest {digest}, with which it was made, found none",
        .path.display()
    )]
    NoAdapter {
        /// The video.
        path: PathBuf,
        /// What the adapter was called.
        name: String,
        /// Of its file.
        digest: String,
    },
    /// An adapter is given at another alpha.
    #[error(
        "--from {}: expected --lora of adapter '{name}' with alpha {}, with which it was made, found {}",
        .path.display(), alpha(.expected), alpha(.found)
    )]
    Alpha {
        /// The video.
        path: PathBuf,
        /// What the adapter was called.
        name: String,
        /// What was stated then.
        expected: Option<f64>,
        /// What is stated now.
        found: Option<f64>,
    },
    /// The noise, image or video that it was made from is not given, or is another.
    #[error("--from {}: expected {option} with digest {expected}, with which it was made, found {found}", .path.display())]
    Other {
        /// The video.
        path: PathBuf,
        /// The option that gives it.
        option: &'static str,
        /// Digest of what it was made from.
        expected: String,
        /// Digest of what is given, or none.
        found: String,
    },
}

fn alpha(stated: &Option<f64>) -> String {
    stated.map_or("as its file has it".to_owned(), |alpha| alpha.to_string())
}

impl From<AgainError> for Fatal {
    fn from(error: AgainError) -> Self {
        Self::usage(error)
    }
}

impl Again {
    /// Reads an MP4 file with metadata, or its JSON, or that of a file or folder beside which it lies.
    ///
    /// # Errors
    /// [`AgainError`].
    pub(super) fn read(path: &Path) -> Result<Self, AgainError> {
        let failed = |source| AgainError::Io { path: path.to_path_buf(), source };
        let malformed = |found: String| AgainError::Malformed { path: path.to_path_buf(), found };
        let text = match path.metadata().map_err(failed)? {
            folder if folder.is_dir() => None,
            // Opening a pipe would wait for whoever writes.
            other if !other.is_file() => {
                return Err(malformed(file_kind::words(other.file_type()).to_owned()));
            }
            _ if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) => {
                Some(read_metadata_text(path).map_err(failed)?)
            }
            _ => match read_metadata(File::open(path).map_err(failed)?) {
                Ok(text) => text,
                Err(MetadataError::NotMp4) => None,
                Err(MetadataError::Io(source)) => return Err(failed(source)),
                Err(error) => return Err(malformed(error.to_string())),
            },
        };
        let text = match text {
            Some(text) => text,
            None => {
                let beside = metadata_path(path);
                if !beside.is_file() {
                    return Err(AgainError::None { path: path.to_path_buf(), beside });
                }
                read_metadata_text(&beside).map_err(failed)?
            }
        };
        let metadata: VideoMetadata =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let scheduler = SchedulerName::from_str(&metadata.scheduler, false).map_err(|_| {
            let found = shown::value(&metadata.scheduler).escape_debug().to_string();
            malformed(format!("scheduler '{found}'"))
        })?;
        Ok(Self { path: path.to_path_buf(), metadata, scheduler })
    }

    /// Fills in what the command line leaves open.
    pub(super) fn fill(&self, args: &mut GenerateArgs) {
        let from = &self.metadata;
        args.prompt.get_or_insert_with(|| from.prompt.clone());
        if args.negative_prompt.is_none() {
            args.negative_prompt.clone_from(&from.negative_prompt);
        }
        args.width.get_or_insert(from.width);
        args.height.get_or_insert(from.height);
        args.num_frames.get_or_insert(from.num_frames);
        args.fps.get_or_insert(from.fps);
        args.num_inference_steps.get_or_insert(from.num_inference_steps);
        args.guidance_scale.get_or_insert(from.guidance_scale);
        args.seed.get_or_insert(from.seed);
        args.strength = args.strength.or(from.strength);
        // Whether guidance varies follows from the scheduler where another one is asked for.
        if *args.scheduler.get_or_insert(self.scheduler) == self.scheduler {
            args.dynamic_cfg.get_or_insert(if from.dynamic_cfg { Switch::On } else { Switch::Off });
        }
    }

    /// The prompt in a language model's words, where that made the video and the command line has no other prompt.
    pub(super) fn enhanced_prompt(&self, args: &GenerateArgs) -> Option<String> {
        self.metadata.enhanced_prompt.clone().filter(|_| args.prompt.is_none())
    }

    /// Frames that the video has.
    pub(super) fn num_frames(&self) -> u32 {
        self.metadata.num_frames
    }

    /// Whether the video shows the one without the adapters too.
    pub(super) fn compares(&self) -> bool {
        self.metadata.compare
    }

    /// Checks the noise, image or video that was given against what the video was made from.
    ///
    /// # Errors
    /// [`AgainError::Other`].
    pub(super) fn check_digests(&self, digests: &Digests) -> Result<(), AgainError> {
        let from = &self.metadata.digests;
        for (option, expected, found) in [
            ("--initial-latents", &from.initial_latents, &digests.initial_latents),
            ("--image", &from.image, &digests.image),
            ("--video", &from.video, &digests.video),
        ] {
            if expected.is_some() && expected != found {
                return Err(AgainError::Other {
                    path: self.path.clone(),
                    option,
                    expected: expected.as_deref().map(printable).unwrap_or_default(),
                    found: found.clone().unwrap_or_else(|| "none".to_owned()),
                });
            }
        }
        Ok(())
    }

    /// Puts the adapters that the video was made with first, in its order and at its scales where none is
    /// stated; `given` are the files, by name. All of the video's must be there.
    ///
    /// # Errors
    /// [`AgainError::NoAdapter`], [`AgainError::Alpha`].
    pub(super) fn scale(
        &self,
        choices: &mut Vec<AdapterChoice>,
        given: &[Arc<RegisteredAdapter>],
    ) -> Result<(), AgainError> {
        let mut ordered = Vec::new();
        for AdapterMetadata { name, digest, scale, alpha } in &self.metadata.adapters {
            let (path, name) = (self.path.clone(), printable(name));
            let Some(file) = given.iter().find(|file| file.description().digest == *digest) else {
                return Err(AgainError::NoAdapter { path, name, digest: printable(digest) });
            };
            if file.alpha() != *alpha {
                let (expected, found) = (*alpha, file.alpha());
                return Err(AgainError::Alpha { path, name, expected, found });
            }
            if let Some(at) = choices.iter().position(|choice| choice.name == file.name()) {
                let mut choice = choices.remove(at);
                choice.scale.get_or_insert(*scale);
                ordered.push(choice);
            }
        }
        // Those that it was not made with come after them.
        ordered.append(choices);
        *choices = ordered;
        Ok(())
    }

    /// The adapters as a server knows them: those of the video where the command line names none, else those it names,
    /// at the video's scales where none is stated.
    pub(super) fn choose(&self, choices: &mut Vec<AdapterChoice>) {
        let recorded = &self.metadata.adapters;
        if choices.is_empty() {
            let choice = |adapter: &AdapterMetadata| AdapterChoice {
                name: adapter.name.clone(),
                scale: Some(adapter.scale),
            };
            choices.extend(recorded.iter().map(choice));
        }
        for choice in choices.iter_mut().filter(|choice| choice.scale.is_none()) {
            // A file that was sent without a name is called by its digest.
            let is_it = |adapter: &&AdapterMetadata| {
                adapter.name == choice.name || adapter.digest.starts_with(&choice.name)
            };
            choice.scale = recorded.iter().find(is_it).map(|adapter| adapter.scale);
        }
    }

    /// Says what is different of the adapters that a server uses.
    pub(super) fn differences(&self, accepted: &[AcceptedAdapter]) -> Vec<String> {
        let path = self.path.display();
        let mut notes = Vec::new();
        for AdapterMetadata { name, digest, .. } in &self.metadata.adapters {
            if accepted.iter().any(|adapter| adapter.digest == *digest) {
                continue;
            }
            let (name, digest) = (printable(name), printable(digest));
            notes.push(match accepted.iter().find(|adapter| adapter.name == name) {
                Some(found) => format!(
                    "adapter {name} is another file than the one of {path}: expected digest {digest}, found {}",
                    found.digest
                ),
                None => format!("{path} was made with adapter {name}, digest {digest}: it is not used now"),
            });
        }
        notes
    }

    /// Says that another variant made the video now, where that is so: another model, adapter or scale.
    pub(super) fn other_variant(&self, found: &str) -> Option<String> {
        let expected = self.metadata.variant.as_deref().unwrap_or_default();
        let shown = |variant: &str| match variant {
            "" => "the model as it is".to_owned(),
            variant => format!("variant {}", printable(variant)),
        };
        (expected != found).then(|| {
            let (path, expected) = (self.path.display(), shown(expected));
            format!("{path} was made with {expected}, this video with {}", shown(found))
        })
    }

    /// Says so if the model's folder has another name than when the video was made.
    pub(super) fn other_model(&self, folder: &Path) -> Option<String> {
        let name = folder_name(folder);
        let expected = &self.metadata.model;
        (!name.is_empty() && name != *expected).then(|| {
            format!(
                "{} was made with a model called {expected}, this one is called {name}",
                self.path.display()
            )
        })
    }
}

/// What a file says, as it can be shown: it may be anybody's.
fn printable(text: &str) -> String {
    shown::value(text).escape_debug().to_string()
}
