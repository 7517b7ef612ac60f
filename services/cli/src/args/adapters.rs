use std::path::PathBuf;

use clap::{Args, Subcommand};
use cogwheel_service::Address;

use super::lora::{alpha, name};
use super::{ClientArgs, MergeArgs};

/// Settings of `cogwheel adapters`.
#[derive(Args, Clone, Debug)]
#[command(after_help = super::examples::ADAPTERS)]
pub struct AdaptersArgs {
    #[command(subcommand)]
    /// What is to be done.
    pub action: AdaptersAction,
}

/// What `cogwheel adapters` does.
#[derive(Clone, Debug, Subcommand)]
pub enum AdaptersAction {
    /// Tell which adapters a server has
    List {
        /// Server, e.g. http://127.0.0.1:50051
        #[arg(long, value_name = "URL")]
        endpoint: Address,
        #[command(flatten)]
        /// How it is reached.
        client: ClientArgs,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Send an adapter to a server, which checks and keeps it
    Add {
        /// The file, or a folder as diffusers has it
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Server, e.g. http://127.0.0.1:50051
        #[arg(long, value_name = "URL")]
        endpoint: Address,
        #[command(flatten)]
        /// How it is reached.
        client: ClientArgs,
        /// What requests call it [default: the first 16 digits of its digest]
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        /// The file in the folder, where it is not the usual one
        #[arg(long, value_name = "FILE")]
        weight_name: Option<String>,
        /// Stated in place of what the file says
        #[arg(long, value_name = "ALPHA", value_parser = alpha, allow_negative_numbers = true)]
        alpha: Option<f64>,
    },
    /// Tell what an adapter is: one of a server's, or a file checked against a model
    #[command(group(clap::ArgGroup::new("source").required(true).args(["model", "endpoint"])))]
    Show {
        /// A name at the server, or with --model a file or folder
        #[arg(value_name = "NAME|PATH")]
        adapter: PathBuf,
        /// Server, e.g. http://127.0.0.1:50051
        #[arg(long, value_name = "URL")]
        endpoint: Option<Address>,
        #[command(flatten)]
        /// How it is reached.
        client: ClientArgs,
        /// Checkpoint folder that the file is checked against, or OWNER/NAME of a pulled one
        #[arg(long, value_name = "DIR|OWNER/NAME")]
        model: Option<PathBuf>,
        /// The file in the folder, where it is not the usual one, with --model
        #[arg(long, value_name = "FILE", conflicts_with = "endpoint")]
        weight_name: Option<String>,
        /// Stated in place of what the file says, with --model
        #[arg(long, value_name = "ALPHA", value_parser = alpha, allow_negative_numbers = true,
            conflicts_with = "endpoint")]
        alpha: Option<f64>,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Take an adapter's name back; requests that use it finish
    Remove {
        /// Its name
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        /// Server, e.g. http://127.0.0.1:50051
        #[arg(long, value_name = "URL")]
        endpoint: Address,
        #[command(flatten)]
        /// How it is reached.
        client: ClientArgs,
    },
    /// Merge adapters into a model: a folder for the place of a checkpoint's transformer/, here and in diffusers, and what a
    /// server's cache lacks
    Merge(MergeArgs),
}
