use std::path::Path;

use tokenizers::normalizers::Precompiled;

use super::TokenizerError;

/// Sixteen times that of `nmt_nfkc_cf`.
const MAX_BYTES: usize = 4 << 20;
/// NFKC's longest replacement has 33 bytes. Bounds how much a text grows.
const MAX_REPLACEMENT_BYTES: usize = 64;
/// Children of a node of the double array lie in its block of this many units: one for each value of a byte.
const BLOCK: usize = 256;

/// The normalizer of a compiled character map, once it is sure that no text can lead out of the map.
///
/// A map is the byte length of the trie as little-endian u32; the trie, a double array of u32 units (darts-clone) with bytes
/// as labels; and the replacements, UTF-8 with a NUL after each. A leaf of the trie holds where its replacement starts. The
/// library follows the trie without looking at bounds, hence the walk over all that can be reached.
pub(super) fn normalizer(path: &Path, map: &[u8]) -> Result<Precompiled, TokenizerError> {
    let unfit = |expected: &str, found: String| TokenizerError::unfit(path, expected, found);
    if map.len() > MAX_BYTES {
        return Err(unfit(
            &format!("a character map of at most {MAX_BYTES} bytes"),
            format!("{} bytes", map.len()),
        ));
    }
    let (units, replacements) = split(map).ok_or_else(|| {
        unfit(
            "a character map of a length, a trie and replacements",
            format!("{} unfit bytes", map.len()),
        )
    })?;
    let replacements = std::str::from_utf8(replacements)
        .map_err(|error| unfit("a character map with replacements in UTF-8", error.to_string()))?;
    check_trie(&units, replacements)
        .map_err(|found| unfit("a character map with a sound trie", found))?;
    Precompiled::from(map).map_err(|error| unfit("a character map", error.to_string()))
}

fn split(map: &[u8]) -> Option<(Vec<u32>, &[u8])> {
    let (length, rest) = map.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (trie, replacements) = rest.split_at_checked(length)?;
    let (units, remainder) = trie.as_chunks::<4>();
    (!units.is_empty() && remainder.is_empty())
        .then(|| (units.iter().copied().map(u32::from_le_bytes).collect(), replacements))
}

/// Follows every path from the root, each node once.
fn check_trie(units: &[u32], replacements: &str) -> Result<(), String> {
    let mut seen = vec![false; units.len()];
    let mut pending = vec![offset(units[0])];
    while let Some(base) = pending.pop() {
        let block = base - base % BLOCK;
        let children = units
            .get(block..block + BLOCK)
            .ok_or_else(|| format!("a node at {base} of {} units", units.len()))?;
        if std::mem::replace(&mut seen[base], true) {
            continue;
        }
        for (position, &unit) in (block..).zip(children) {
            let label = base ^ position;
            // A unit with the top bit holds a leaf's value, so no byte leads to it; NUL ends a text.
            if label == 0 || unit & (1 << 31 | 0xff) != label as u32 {
                continue;
            }
            let child = position ^ offset(unit);
            if has_leaf(unit) {
                let leaf = units
                    .get(child)
                    .ok_or_else(|| format!("a leaf at {child} of {} units", units.len()))?;
                check_replacement(replacements, (leaf & !(1 << 31)) as usize)?;
            }
            pending.push(child);
        }
    }
    Ok(())
}

fn check_replacement(replacements: &str, start: usize) -> Result<(), String> {
    let rest = replacements
        .get(start..)
        .ok_or_else(|| format!("a replacement at byte {start} of {} bytes", replacements.len()))?;
    let bytes = &rest.as_bytes()[..rest.len().min(MAX_REPLACEMENT_BYTES + 1)];
    match bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()) {
        length if length > MAX_REPLACEMENT_BYTES => {
            Err(format!("a replacement of more than {MAX_REPLACEMENT_BYTES} bytes"))
        }
        _ => Ok(()),
    }
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}
