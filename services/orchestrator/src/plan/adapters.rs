use std::collections::HashSet;
use std::sync::Arc;

use cogwheel_api::denoiser::v1::AdapterScale;
use cogwheel_api::generation::v1::{AcceptedAdapter, AdapterChoice};
use cogwheel_service::Invalid;

use crate::metadata::AdapterMetadata;
use crate::registry::{Adapters, RegisteredAdapter, check_adapter_name};

/// Adapters of one request: no video needs more, and each costs memory where it is merged.
pub(crate) const MAX_CHOICES: usize = 16;
/// Names that are suggested in place of an unknown one.
const MAX_SUGGESTIONS: usize = 3;

/// An adapter that a request uses. Holding it keeps its file.
#[derive(Clone, Debug)]
pub(crate) struct ChosenAdapter {
    pub(crate) adapter: Arc<RegisteredAdapter>,
    /// A finite number.
    pub(crate) scale: f32,
}

impl ChosenAdapter {
    /// As the client is told of it.
    pub(super) fn accepted(&self) -> AcceptedAdapter {
        AcceptedAdapter {
            name: self.adapter.name().to_owned(),
            digest: self.adapter.digest().to_owned(),
            scale: self.scale,
        }
    }

    /// As a video is told of it.
    pub(crate) fn metadata(&self) -> AdapterMetadata {
        let adapter = &self.adapter;
        AdapterMetadata {
            name: adapter.name().to_owned(),
            digest: adapter.digest().to_owned(),
            scale: self.scale,
            alpha: adapter.alpha(),
        }
    }

    /// As the denoiser knows it.
    pub(crate) fn for_denoiser(&self) -> AdapterScale {
        AdapterScale {
            digest: self.adapter.digest().to_owned(),
            scale: self.scale,
            alpha: self.adapter.alpha(),
        }
    }
}

/// The adapters that a request names, in its order.
pub(crate) fn choose(
    choices: &[AdapterChoice],
    adapters: &Adapters,
    invalid: &mut Invalid,
) -> Vec<ChosenAdapter> {
    if choices.len() > MAX_CHOICES {
        let found = choices.len();
        invalid.add("adapters", format!("expected at most {MAX_CHOICES}, found {found}"));
    }
    let mut chosen = Vec::new();
    let mut names = HashSet::new();
    for (index, AdapterChoice { name, scale }) in choices.iter().take(MAX_CHOICES).enumerate() {
        let scale = scale.unwrap_or(1.0);
        if !scale.is_finite() {
            let message = format!("expected a finite number, found {scale}");
            invalid.add(&format!("adapters[{index}].scale"), message);
        }
        let field = format!("adapters[{index}].name");
        if let Err(message) = check_adapter_name(name) {
            invalid.add(&field, message);
        } else if !names.insert(name) {
            invalid.add(&field, format!("expected each adapter once, found '{name}' again"));
        } else if let Some(adapter) = adapters.get(name) {
            chosen.push(ChosenAdapter { adapter: Arc::clone(adapter), scale });
        } else {
            let expected = expected(name, adapters);
            invalid.add(&field, format!("expected {expected}, found '{name}'"));
        }
    }
    chosen
}

/// What may have been meant by a name that no adapter has.
pub(crate) fn expected(name: &str, adapters: &Adapters) -> String {
    match suggestions(name, adapters).as_slice() {
        _ if adapters.is_empty() => "no adapter, since none is registered".to_owned(),
        [] => "a registered adapter".to_owned(),
        names => format!("a registered adapter, such as {}", names.join(" or ")),
    }
}

/// Names that may have been meant, the nearest first; all of them where they are few.
fn suggestions(name: &str, adapters: &Adapters) -> Vec<String> {
    let few = adapters.len() <= MAX_SUGGESTIONS;
    let lower = name.to_lowercase();
    let mut near: Vec<_> = (adapters.keys())
        .map(|known| (distance(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| few || *distance <= known.len().max(name.len()) / 2)
        .collect();
    near.sort();
    near.truncate(MAX_SUGGESTIONS);
    near.into_iter().map(|(_, known)| format!("'{known}'")).collect()
}

/// Levenshtein's: letters to insert, remove or replace. Names are short.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        let cases = [
            ("", "", 0),
            ("neon", "neon", 0),
            ("noen", "neon", 2),
            ("neo", "neon", 1),
            ("", "ab", 2),
        ];
        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
