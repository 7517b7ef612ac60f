//! Where videos and latents go: names, checks before the work, and files that appear only whole.

mod clip;
mod error;
mod leftovers;
mod metadata;
mod pending;
mod pictures;
mod target;
mod tensor_file;
mod video;

pub use error::{PathError, WriteError};
pub use metadata::{metadata_beside, metadata_path, read_metadata_text, write_metadata};
pub use target::{Kind, Target};
pub use tensor_file::TensorFile;
pub use video::VideoFile;
