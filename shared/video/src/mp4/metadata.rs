//! A text inside an MP4 file: a `uuid` box at its end, which players pass over (ISO/IEC 14496-12, 4.2 and 11.1).

use std::io::{self, Read, Seek, SeekFrom};

/// What names the box as ours.
const ID: [u8; 16] = *b"cogwheel\0video\0\x01";
/// Size and type, before the identity.
const HEADER: u64 = 8;
/// More than any description of a video takes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Boxes at the top of a file: a handful, or thousands in one that is made of fragments.
const MAX_BOXES: usize = 1 << 16;

/// Why a file's metadata cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No file that starts as every MP4 file does.
    #[error("expected an MP4 file, found no 'ftyp' at its start")]
    NotMp4,
    /// A file that is cut, or whose boxes do not lie one after another.
    #[error("expected an MP4 file, found a box of {size} bytes at {at} in a file of {length}")]
    Box {
        /// Where the box begins.
        at: u64,
        /// What it says of its size.
        size: u64,
        /// Bytes of the file.
        length: u64,
    },
    /// A text that no encoder of ours wrote.
    #[error("metadata: expected at most {MAX_BYTES} bytes of UTF-8, found {found}")]
    Text {
        /// Its length, or what it is not.
        found: String,
    },
}

/// The box with `text` in it, or nothing where it is too long.
pub(crate) fn metadata_box(text: &str) -> Vec<u8> {
    let size = HEADER as usize + ID.len() + text.len();
    let Some(size) = u32::try_from(size).ok().filter(|_| text.len() <= MAX_BYTES) else {
        return Vec::new();
    };
    [&size.to_be_bytes()[..], b"uuid", &ID, text.as_bytes()].concat()
}

/// The text inside an MP4 file that [`crate::VideoEncoder::with_metadata`] put there; `None` where there is none. Reads the
/// heads of the boxes and that text, whatever the file's size.
///
/// # Errors
/// [`MetadataError`] for what is no MP4 file.
pub fn read_metadata(mut file: impl Read + Seek) -> Result<Option<String>, MetadataError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut at = 0;
    for index in 0..MAX_BOXES {
        if at == length {
            break;
        }
        let Some((kind, start, size)) = head(&mut file, at, length)? else {
            let found = MetadataError::Box { at, size: length - at, length };
            return Err(if index == 0 { MetadataError::NotMp4 } else { found });
        };
        if index == 0 && kind != *b"ftyp" {
            return Err(MetadataError::NotMp4);
        }
        let end = at.checked_add(size).filter(|end| *end <= length && start <= *end);
        let end = end.ok_or(MetadataError::Box { at, size, length })?;
        if kind == *b"uuid" && end - start >= ID.len() as u64 {
            let mut id = [0; 16];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut id)?;
            if id == ID {
                return text(&mut file, end - start - ID.len() as u64).map(Some);
            }
        }
        at = end;
    }
    if at == 0 { Err(MetadataError::NotMp4) } else { Ok(None) }
}

/// Type, start of the content and size of the box there; `None` where the file ends within its head.
fn head(
    file: &mut (impl Read + Seek),
    at: u64,
    length: u64,
) -> Result<Option<([u8; 4], u64, u64)>, MetadataError> {
    if length - at < HEADER {
        return Ok(None);
    }
    let (mut short, mut kind) = ([0; 4], [0; 4]);
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut short)?;
    file.read_exact(&mut kind)?;
    Ok(match u32::from_be_bytes(short) {
        // To the end of the file.
        0 => Some((kind, at + HEADER, length - at)),
        // The size follows in 64 bits.
        1 if length - at < 2 * HEADER => None,
        1 => {
            let mut long = [0; 8];
            file.read_exact(&mut long)?;
            Some((kind, at + 2 * HEADER, u64::from_be_bytes(long)))
        }
        size => Some((kind, at + HEADER, size.into())),
    })
}

fn text(file: &mut impl Read, length: u64) -> Result<String, MetadataError> {
    let refused = |found: String| MetadataError::Text { found };
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BYTES);
    let mut bytes = vec![0; length.ok_or_else(|| refused("more".to_owned()))?];
    file.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| refused(error.to_string()))
}
