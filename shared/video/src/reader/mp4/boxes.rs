//! Boxes one after another (ISO/IEC 14496-12, 4.2).

use super::FORMAT;
use crate::ReadError;

#[derive(Clone, Copy)]
pub(super) struct Mp4Box<'a> {
    pub(super) kind: [u8; 4],
    /// With its size and type.
    pub(super) whole: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// The boxes in `bytes`, up to one that is cut. What is too short for a box ends them: QuickTime closes lists with a zero.
pub(super) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Result<Mp4Box<'_>, ReadError>> {
    std::iter::from_fn(move || {
        let &[a, b, c, d, k0, k1, k2, k3, ref rest @ ..] = bytes else { return None };
        let kind = [k0, k1, k2, k3];
        let (header, size) = match (u32::from_be_bytes([a, b, c, d]), rest.first_chunk()) {
            (0, _) => (8, bytes.len() as u64),
            (1, Some(size)) => (16, u64::from_be_bytes(*size)),
            (size, _) => (8, size.into()),
        };
        let found = usize::try_from(size).ok().filter(|size| *size >= header);
        let Some((whole, after)) = found.and_then(|size| bytes.split_at_checked(size)) else {
            let found = format!(
                "a box '{}' of {size} bytes where {} are left",
                kind.escape_ascii(),
                bytes.len()
            );
            bytes = &[];
            return Some(Err(ReadError::content(FORMAT, "whole boxes", found)));
        };
        bytes = after;
        Some(Ok(Mp4Box { kind, whole, payload: &whole[header..] }))
    })
}

/// The first box of a kind.
pub(super) fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Result<Option<Mp4Box<'a>>, ReadError> {
    boxes(bytes).find(|found| found.as_ref().map_or(true, |found| found.kind == *kind)).transpose()
}

/// The first box of a kind, which must be there.
pub(super) fn need<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Result<Mp4Box<'a>, ReadError> {
    let missing = || format!("none of type '{}'", kind.escape_ascii());
    find(bytes, kind)?.ok_or_else(|| ReadError::content(FORMAT, "every mandatory box", missing()))
}

pub(super) fn u32_at(payload: &[u8], at: usize) -> Result<u32, ReadError> {
    let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
    let cut = || ReadError::content(FORMAT, "whole boxes", "one too short for its fields");
    bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(cut)
}
