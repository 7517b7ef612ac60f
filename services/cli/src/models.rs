//! `cogwheel models`: what a checkpoint folder holds.

mod description;
mod text;

use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;

use crate::args::{ModelsAction, ModelsArgs};
pub use description::{Defaults, Description, Memory, OnDisk, Part, StageBytes, Weights};

/// Prints what a checkpoint folder holds, of any family.
///
/// # Errors
/// What is missing or malformed. What the configs say is printed even if the weights are unfit.
pub fn run(args: &ModelsArgs) -> Result<(), Fatal> {
    let ModelsAction::Show { model, json } = &args.action;
    let checkpoint = Checkpoint::open(model).map_err(Fatal::usage)?;
    let mut description = Description::of(&checkpoint);
    let weights = Weights::of(&checkpoint);
    let unfit = match weights {
        Ok(weights) => {
            description.weights = Some(weights);
            None
        }
        Err(error) => Some(Fatal::usage(error)),
    };
    let text = if *json {
        let json = serde_json::to_string_pretty(&description).map_err(Fatal::failed)?;
        format!("{json}\n")
    } else {
        text::text(&description)
    };
    crate::adapters::print(&text)?;
    unfit.map_or(Ok(()), Err)
}
