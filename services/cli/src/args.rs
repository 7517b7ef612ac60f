//! What may stand on the command line.

mod adapters;
mod client;
mod doctor;
mod examples;
mod generate;
mod lora;
mod merge;
mod refusals;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use cogwheel_service::{ConfigError, Fatal, HELP_WIDTH, Parsed, ServerArgs, one_line};

pub use adapters::{AdaptersAction, AdaptersArgs};
pub use client::ClientArgs;
pub use cogwheel_service::{MemorySize, MemorySizeError, Switch};
pub use doctor::DoctorArgs;
pub use generate::{GenerateArgs, MAX_VIDEOS, SchedulerName};
pub use lora::{Lora, LoraError, NamedAdapter};
pub use merge::MergeArgs;
pub use serve::ServeArgs;

use crate::hub::{ModelName, Revision};
use crate::shown;

/// Heading of how the model is computed, as that of [`cogwheel_service::ComputeArgs`].
const COMPUTING: &str = "Computing";

/// What `generate` logs: its own output should not drown in the log lines of the services within it,
/// and a request of theirs that fails is told in its own words.
const QUIET: &str = "warn,cogwheel_service=off,cogwheel_engine=off,ort=off";

/// Serves CogVideoX models: a prompt in, a video out.
#[derive(Debug, Parser)]
#[command(name = "cogwheel", version, max_term_width = HELP_WIDTH, after_help = examples::COGWHEEL)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make videos from a prompt
    Generate(Box<GenerateArgs>),
    /// Serve a model: the four services in one process
    Serve(Box<ServeArgs>),
    /// Fetch checkpoints, and tell what they hold
    Models(ModelsArgs),
    /// Manage LoRA adapters
    Adapters(Box<AdaptersArgs>),
    /// Check this machine, a checkpoint and a port, and say what to do
    Doctor(DoctorArgs),
    /// Print a script that completes commands and options in a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Settings of `cogwheel models`.
#[derive(Args, Clone, Debug)]
#[command(after_help = examples::MODELS)]
pub struct ModelsArgs {
    #[command(subcommand)]
    /// What is to be done.
    pub action: ModelsAction,
}

/// What `cogwheel models` does.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsAction {
    /// Tell family, sizes, parameter counts, defaults and memory needed
    Show {
        /// Checkpoint folder in diffusers layout, or OWNER/NAME of a pulled one
        #[arg(value_name = "DIR|OWNER/NAME")]
        model: PathBuf,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model of the Hugging Face hub into its cache, which diffusers shares: configs, tokenizer and safetensors. What was
    /// cut goes on where it was
    Pull {
        /// The model
        #[arg(value_name = "OWNER/NAME")]
        name: ModelName,
        /// Branch, tag or commit; OWNER/NAME means `main` elsewhere, so that another one is named by its folder, which is printed
        #[arg(long, value_name = "REV", default_value = "main")]
        revision: Revision,
    },
    /// Tell which checkpoints are in the hub's cache
    List {
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Help, the version or the settings.
    Text(Box<StyledStr>),
    /// Something to do.
    Command(Command),
}

/// The command line as a whole.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The script that completes this program's command line in a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "cogwheel", &mut script);
    script
}

/// Reads a command line, program name first.
///
/// # Errors
/// Bad usage, or an option that this build cannot honour yet: one line that names it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, Fatal> {
    let quiet = |command: clap::Command| command.mut_arg("log", |log| log.default_value(QUIET));
    let command = command().mut_subcommand("generate", quiet);
    let mut config = match cogwheel_service::parse(command, &ServerArgs::TABLES, arguments) {
        Ok(Parsed::Run(config)) => config,
        Ok(Parsed::Print(text)) => return Ok(Invocation::Text(Box::new(text.into()))),
        Err(ConfigError::Usage(error)) => return text_or_error(error),
        Err(error) => return Err(Fatal::usage(error)),
    };
    let matches = config.matches;
    let Cli { mut command } = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return text_or_error(error),
    };
    match &mut command {
        Command::Generate(args) => {
            refusals::generate(args)?;
            if let Some(matches) = matches.subcommand_matches("generate") {
                refusals::with_endpoint(args, &|option| is_on_command_line(matches, option))?;
                args.enhance_prompt |= is_on_command_line(matches, "prompt_enhancer");
            }
        }
        Command::Serve(args) => {
            args.server.take_tables(&mut config.tables)?;
            refusals::serve(args)?;
        }
        Command::Adapters(args) => refusals::adapters(args)?,
        Command::Models(_) | Command::Doctor(_) | Command::Completions { .. } => {}
    }
    Ok(Invocation::Command(command))
}

/// Settings that come from the environment are the machine's; only the command line is the user's.
fn is_on_command_line(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
}

fn text_or_error(error: clap::Error) -> Result<Invocation, Fatal> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Invocation::Text(Box::new(error.render())))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Fatal::usage(
            "expected a command: generate, serve, models, adapters, doctor or completions; see cogwheel --help",
        )),
        _ => Err(Fatal::usage(one_line(&shortened(error)))),
    }
}

/// clap repeats what it does not understand, whatever its length.
fn shortened(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand]
    {
        if let Some(ContextValue::String(found)) = error.get(kind) {
            let shown = shown::value(found).into_owned();
            error.insert(kind, ContextValue::String(shown));
        }
    }
    error
}
