//! `cogwheel models`: what a checkpoint folder holds, what the hub's cache does, and how a model gets there.

mod description;
mod list;
mod pull;
mod text;

use std::path::Path;

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;

use crate::args::{ModelsAction, ModelsArgs};
use crate::hub;
pub use description::{Defaults, Description, Memory, OnDisk, Part, StageBytes, Weights};

/// Does what was asked for.
///
/// # Errors
/// What is missing or malformed; what the hub answers.
pub fn run(args: &ModelsArgs) -> Result<(), Fatal> {
    match &args.action {
        ModelsAction::Show { model, json } => show(model, *json),
        ModelsAction::Pull { name, revision } => pull::run(name, revision),
        ModelsAction::List { json } => list::run(*json),
    }
}

/// Prints what a checkpoint folder holds, of any family. What the configs say is printed even if the weights are unfit.
fn show(model: &Path, json: bool) -> Result<(), Fatal> {
    let checkpoint = Checkpoint::open(&hub::model_folder(model)?).map_err(Fatal::usage)?;
    let mut description = Description::of(&checkpoint);
    let weights = Weights::of(&checkpoint);
    let unfit = match weights {
        Ok(weights) => {
            description.weights = Some(weights);
            None
        }
        Err(error) => Some(Fatal::usage(error)),
    };
    let text = if json {
        let json = serde_json::to_string_pretty(&description).map_err(Fatal::failed)?;
        format!("{json}\n")
    } else {
        text::text(&description)
    };
    crate::adapters::print(&text)?;
    unfit.map_or(Ok(()), Err)
}
