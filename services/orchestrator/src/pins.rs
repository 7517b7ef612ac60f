//! Variants that stay in the denoiser's memory, by the operator's word.

use std::str::FromStr;

use cogwheel_api::generation::v1::AdapterChoice;
use cogwheel_service::{Failure, Invalid};

use crate::handover::Handover;
use crate::plan::{ChosenAdapter, choose};
use crate::registry::{Adapters, check_adapter_name};
use crate::service::{PrepareEvent, Stages, Terms};

/// `NAME[=SCALE],...`: the adapters of a variant that stays in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin(Vec<(String, f32)>);

/// A text that names no adapters.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("expected NAME[=SCALE], several separated by commas, found '{}'", .0.escape_debug().take(200).collect::<String>())]
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
        let adapters = text.split(',').map(part).collect::<Option<_>>();
        adapters.map(Self).ok_or_else(|| PinError(text.to_owned()))
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
}

/// Has the denoiser make the pinned variants whose adapters are registered. The others are made when
/// they are first used, and stay from then on, as all of them do in a denoiser that has restarted.
pub(crate) async fn prepare_pinned(pins: &[Pin], adapters: &Adapters, stages: &Stages) {
    for pin in pins {
        match prepare(pin, adapters, stages).await {
            Ok(variant) => tracing::info!(variant, adapters = ?pin.0, "variant pinned"),
            Err(failure) => {
                tracing::warn!(%failure, adapters = ?pin.0, "a variant is not pinned now")
            }
        }
    }
}

async fn prepare(pin: &Pin, adapters: &Adapters, stages: &Stages) -> Result<String, Failure> {
    let choice =
        |(name, scale): &(String, f32)| AdapterChoice { name: name.clone(), scale: Some(*scale) };
    let choices: Vec<_> = pin.0.iter().map(choice).collect();
    let mut invalid = Invalid::default();
    let chosen = choose(&choices, adapters, &mut invalid);
    let chosen = invalid.or(chosen)?;
    let terms = Terms::of_nobody();
    let mut handover = Handover::new(&chosen, stages, terms);
    loop {
        match try_to_prepare(&handover, stages, terms).await {
            Err(failure) => handover.after(failure).await?,
            prepared => return prepared,
        }
    }
}

/// Gives the variant.
async fn try_to_prepare(
    handover: &Handover<'_>,
    stages: &Stages,
    terms: Terms,
) -> Result<String, Failure> {
    let mut call = stages.prepare_variant(handover.scales(), true, terms).await?;
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
        for text in ["", ",", "neon,", "neon=", "neon=x", "neon=inf", "a b", "=1"] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
