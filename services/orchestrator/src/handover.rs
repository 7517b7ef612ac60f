use std::collections::HashMap;

use cogwheel_api::denoiser::v1::AdapterScale;
use cogwheel_service::Failure;

use crate::plan::ChosenAdapter;
use crate::service::{Place, Terms};

/// How often one call puts one adapter there. Once is enough where a replica is alone behind its address; behind a proxy
/// each of as many may have to be given it.
const MAX_PUTS: u32 = 16;

/// The adapters of one call of a denoiser, and which of them it has been handed.
pub(crate) struct Handover<'a> {
    adapters: &'a [ChosenAdapter],
    place: &'a Place,
    terms: &'a Terms,
    puts: HashMap<&'a str, Puts>,
}

#[derive(Debug, Default)]
struct Puts {
    rounds: u32,
    count: u32,
}

impl<'a> Handover<'a> {
    pub(crate) fn new(adapters: &'a [ChosenAdapter], place: &'a Place, terms: &'a Terms) -> Self {
        Self { adapters, place, terms, puts: HashMap::new() }
    }

    /// The denoiser that is handed them.
    pub(crate) fn place(&self) -> &'a Place {
        self.place
    }

    /// The adapters as the denoiser is told of them.
    pub(crate) fn scales(&self) -> Vec<AdapterScale> {
        self.adapters.iter().map(ChosenAdapter::for_denoiser).collect()
    }

    /// Puts an adapter there if that is what the call failed for; then it is worth another try.
    ///
    /// # Errors
    /// The failure itself if it is another one, or what keeps the adapter from being put there.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        let lacking = failure.lacks("adapter");
        let mut adapters = self.adapters.iter().map(|chosen| &chosen.adapter);
        let Some(adapter) = lacking.and_then(|digest| adapters.find(|a| a.digest() == digest))
        else {
            return Err(failure);
        };
        let puts = self.puts.entry(adapter.digest()).or_default();
        puts.rounds += 1;
        // One that has it already may have it of another request, or is not the one that lacked it: a proxy that lets
        // replicas take turns could go on with that, so each round may go one further.
        for _ in 0..puts.rounds {
            // What was put may be gone again, for other requests' adapters. Where that goes on it is the denoiser that
            // lacks something, and not the request.
            if puts.count == MAX_PUTS {
                let name = adapter.name();
                let found = format!("that it was put there {MAX_PUTS} times and is not there");
                let message = format!("denoiser: expected adapter '{name}' to stay, found {found}");
                return Err(Failure::Unavailable(message));
            }
            puts.count += 1;
            let known = self.place.put_adapter(adapter, self.terms).await?;
            tracing::info!(name = adapter.name(), digest = adapter.digest(), known, "adapter put");
            if !known {
                break;
            }
        }
        Ok(())
    }
}
