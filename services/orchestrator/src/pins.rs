//! Variants that stay in the denoiser's memory, by the operator's word.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use cogwheel_api::generation::v1::AdapterChoice;
use cogwheel_service::{Failure, Invalid};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::handover::Handover;
use crate::plan::{ChosenAdapter, MAX_CHOICES, choose};
use crate::registry::{Adapters, Registry, check_adapter_name};
use crate::service::{Place, PrepareEvent, Replica, Stages, Terms};

/// How long it is waited before a denoiser that had no place is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// `NAME[=SCALE],...`: the adapters of a variant that stays in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin(Vec<(String, f32)>);

/// A text that names no adapters.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("expected NAME[=SCALE], up to {MAX_CHOICES} of them separated by commas, each name once, found '{}'", .0.escape_debug().take(200).collect::<String>())]
pub struct PinError(String);

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let part = |part: &str| {
            let (name, scale) = part.split_once('=').unwrap_or((part, "1"));
            let scale = scale.parse().ok().filter(|scale: &f32| scale.is_finite())?;
            check_adapter_name(name).ok()?;
            Some((name.to_owned(), scale))
        };
        let adapters: Option<Vec<_>> = text.split(',').map(part).collect();
        let names = |adapters: &[(String, f32)]| -> HashSet<String> {
            adapters.iter().map(|(name, _)| name.clone()).collect()
        };
        let sound = |adapters: &Vec<_>| {
            adapters.len() <= MAX_CHOICES && names(adapters).len() == adapters.len()
        };
        adapters.filter(sound).map(Self).ok_or_else(|| PinError(text.to_owned()))
    }
}

impl Pin {
    /// Whether these adapters, in whatever order, make the variant. (With a DoRA among them another
    /// order is another variant; it is pinned as well.)
    pub(crate) fn is_of(&self, chosen: &[ChosenAdapter]) -> bool {
        let mut pinned: Vec<_> = self.0.iter().map(|(name, scale)| (&**name, *scale)).collect();
        let mut chosen: Vec<_> =
            chosen.iter().map(|chosen| (chosen.adapter.name(), chosen.scale)).collect();
        for adapters in [&mut pinned, &mut chosen] {
            adapters.sort_by_key(|(name, _)| *name);
        }
        pinned == chosen
    }

    fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(named, _)| named == name)
    }

    /// Its adapters, where all of them are registered.
    fn choose(&self, adapters: &Adapters) -> Result<Vec<ChosenAdapter>, Failure> {
        let choice = |(name, scale): &(String, f32)| AdapterChoice {
            name: name.clone(),
            scale: Some(*scale),
        };
        let choices: Vec<_> = self.0.iter().map(choice).collect();
        let mut invalid = Invalid::default();
        let chosen = choose(&choices, adapters, &mut invalid);
        invalid.or(chosen)
    }
}

/// The pinned variants, and the denoisers that have them. Behind a proxy one of several has them, and the others get them as
/// they are used.
#[derive(Debug)]
pub(crate) struct Pinning {
    pub(crate) pins: Vec<Pin>,
    pub(crate) stages: Arc<Stages>,
}

impl Pinning {
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { pins: Vec::new(), stages: Arc::new(Stages::nowhere()) }
    }

    /// Has those made whose adapters are all registered, by every denoiser that comes up. Never ends where there are pins.
    pub(crate) async fn keep(&self, registry: &Registry) {
        if self.pins.is_empty() {
            return;
        }
        let mut changes = self.stages.denoiser.changes();
        let mut pinned: HashMap<String, u64> = HashMap::new();
        // A denoiser that is busy does not hold up the others.
        let mut making = FuturesUnordered::new();
        loop {
            changes.mark_unchanged();
            let serving: Vec<_> = self.stages.denoiser.serving().collect();
            pinned.retain(|address, _| serving.iter().any(|replica| replica.address() == address));
            for replica in serving {
                let ups = replica.ups();
                if pinned.insert(replica.address().to_owned(), ups) != Some(ups) {
                    making.push(self.make_all(registry, replica, ups));
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                Some(()) = making.next() => {}
            }
        }
    }

    /// Has those made by a denoiser whose adapters are all registered, as long as it has come up only `ups` times. One that
    /// is refused for want of a place is tried again.
    async fn make_all(&self, registry: &Registry, replica: Arc<Replica>, ups: u64) {
        for pin in &self.pins {
            while make(pin, &registry.adapters(), &replica).await == Outcome::Later {
                tokio::time::sleep(PAUSE).await;
                if replica.ups() != ups || !replica.is_serving() {
                    return;
                }
            }
        }
    }

    /// Has those made that an adapter was missing for which is registered now.
    pub(crate) async fn registered(&self, name: &str, adapters: &Adapters) {
        for pin in self.pins.iter().filter(|pin| pin.names(name)) {
            if pin.choose(adapters).is_ok() {
                for replica in self.stages.denoiser.serving() {
                    make(pin, adapters, &replica).await;
                }
            }
        }
    }

    /// Lets those go that an adapter was part of which is gone; `adapters` are those before.
    pub(crate) async fn deleted(&self, name: &str, adapters: &Adapters) {
        for pin in self.pins.iter().filter(|pin| pin.names(name)) {
            let Ok(chosen) = pin.choose(adapters) else { continue };
            for replica in self.stages.denoiser.serving() {
                let (place, terms) = (Place::of(&replica), Terms::of_nobody());
                let handover = Handover::new(&chosen, &place, &terms);
                // A denoiser that lacks the adapter has no such variant either.
                if let Ok(variant) = try_to_prepare(&handover, false, &terms).await {
                    tracing::info!(variant, adapters = ?pin.0, "variant no longer pinned");
                }
            }
        }
    }
}

/// What came of an attempt to pin a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// There was no place for the call, or it was lost.
    Later,
}

async fn make(pin: &Pin, adapters: &Adapters, replica: &Arc<Replica>) -> Outcome {
    let denoiser = replica.address();
    match try_to_make(pin, adapters, replica).await {
        Ok(variant) => {
            tracing::info!(variant, adapters = ?pin.0, denoiser, "variant pinned");
            Outcome::Done
        }
        Err(failure) => {
            tracing::warn!(%failure, adapters = ?pin.0, denoiser, "a variant is not pinned now");
            let passes = failure.is_full() || failure.lost().is_some();
            if passes { Outcome::Later } else { Outcome::Done }
        }
    }
}

async fn try_to_make(
    pin: &Pin,
    adapters: &Adapters,
    replica: &Arc<Replica>,
) -> Result<String, Failure> {
    let chosen = pin.choose(adapters)?;
    let (place, terms) = (Place::of(replica), Terms::of_nobody());
    let mut handover = Handover::new(&chosen, &place, &terms);
    loop {
        match try_to_prepare(&handover, true, &terms).await {
            Err(failure) => handover.after(failure).await?,
            prepared => return prepared,
        }
    }
}

/// Gives the variant.
async fn try_to_prepare(
    handover: &Handover<'_>,
    pinned: bool,
    terms: &Terms,
) -> Result<String, Failure> {
    let scales = handover.scales();
    let mut call = handover.place().prepare_variant(scales, Some(pinned), terms).await?;
    while let Some(event) = call.next().await? {
        if let PrepareEvent::Prepared(prepared) = event {
            return Ok(prepared.variant);
        }
    }
    let found = "expected a variant, found that the stream ended without";
    Err(Failure::Internal(format!("denoiser: {found}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_names_with_scales() {
        let pin: Pin = "neon=0.5,bounce".parse().unwrap();
        assert_eq!(pin, Pin(vec![("neon".to_owned(), 0.5), ("bounce".to_owned(), 1.0)]));
        for text in ["", ",", "neon,", "neon=", "neon=x", "neon=inf", "a b", "=1", "neon,neon=2"] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
