//! Frames to files, and files to frames.
//!
//! [`VideoEncoder`] takes the frames of a clip one at a time, as they are decoded, and gives the whole file at the end.
//! [`encode_png`] writes a single frame. [`VideoReader`] gives the frames of an MP4 or GIF file one at a time, and
//! [`read_picture`] a PNG, JPEG or WebP picture; both go by a file's content, and [`ReadLimits`] bound what they take.
//!
//! A frame is `height` rows of `width` pixels, three bytes (red, green, blue, sRGB) each, without padding. Nothing here reads
//! a clock or starts a thread: the same frames give the same bytes.

mod encoder;
mod error;
mod frame;
mod gif;
mod mp4;
mod picture;
mod png;
mod read;
mod reader;

pub use encoder::{VideoEncoder, VideoFormat};
pub use error::VideoError;
pub use frame::FrameSize;
pub use mp4::{MetadataError, read_metadata};
pub use picture::{Picture, PictureNote, read_picture};
pub use png::{check_png_size, encode_png};
pub use read::{ReadError, ReadLimits};
pub use reader::VideoReader;
