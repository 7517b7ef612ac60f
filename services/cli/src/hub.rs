//! The Hugging Face hub: its cache on this machine, which diffusers shares, and what fills it.
//!
//! Only [`pull`] has a word with a network. A model by its name is otherwise what the cache holds.

mod cache;
mod error;
mod listing;
mod locate;
mod name;
mod progress;
mod pull;
mod remote;
mod transfer;

pub use cache::{HubCache, Snapshot};
pub use error::HubError;
pub use listing::{Checksum, HubFile, Listing};
pub use locate::model_folder;
pub use name::{ModelName, NameError, Revision};
pub(crate) use progress::say;
pub use pull::{Pulled, pull};
