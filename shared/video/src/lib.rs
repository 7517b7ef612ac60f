//! Frames to MP4, GIF and PNG.
//!
//! [`VideoEncoder`] takes the frames of a clip one at a time, as they are decoded, and gives the whole file at the end.
//! [`encode_png`] writes a single frame. A frame is `height` rows of `width` pixels, three bytes (red, green, blue, sRGB)
//! each, without padding. Nothing here reads a clock or starts a thread: the same frames give the same bytes.

mod encoder;
mod error;
mod frame;
mod gif;
mod mp4;
mod png;

pub use encoder::{VideoEncoder, VideoFormat};
pub use error::VideoError;
pub use frame::FrameSize;
pub use mp4::{MetadataError, read_metadata};
pub use png::{check_png_size, encode_png};
