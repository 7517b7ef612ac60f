//! The command line: `cogwheel generate`, `serve`, `models` and `adapters`.
//!
//! Everything that can be checked before work is checked before work, and nothing but a complete
//! file ever stands under the name that was asked for. Only [`client`] knows gRPC, and only [`hub`] the Hugging Face hub.

pub mod adapters;
pub mod args;
pub mod chain;
pub mod client;
pub mod doctor;
mod file_kind;
pub mod generate;
pub mod hub;
pub mod latents;
pub mod models;
pub mod output;
mod page;
pub mod progress;
pub mod serve;
mod shown;
pub mod sums;

use std::ffi::OsString;

use args::{Command, Invocation};
use cogwheel_service::Fatal;

/// The whole of `main`: reads the arguments and does what they say.
///
/// # Errors
/// How it ended, if not well.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Fatal> {
    cogwheel_engine::without_telemetry();
    let result = match args::parse(arguments) {
        // Help and version go to standard output and are no failure.
        Ok(Invocation::Text(text)) => print(&text),
        Ok(Invocation::Command(command)) => execute(command),
        Err(fatal) => Err(fatal),
    };
    result.map_err(|fatal| Fatal { message: shown::message(&fatal.message), ..fatal })
}

fn execute(command: Command) -> Result<(), Fatal> {
    match command {
        Command::Generate(args) => generate::run(*args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            adapters::print(&String::from_utf8_lossy(&args::completions(shell)))
        }
        Command::Serve(args) => serve::run(*args),
        Command::Models(args) => models::run(&args),
        Command::Adapters(args) => adapters::run(*args),
    }
}

fn print(text: &clap::builder::StyledStr) -> Result<(), Fatal> {
    use std::io::Write as _;
    // A reader that has gone away (`| head`) is no failure of ours.
    let _ = write!(std::io::stdout(), "{text}");
    Ok(())
}
