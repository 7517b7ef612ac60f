use std::collections::HashMap;

use cogwheel_api::denoiser::v1::AdapterScale;
use cogwheel_service::Failure;

use crate::plan::ChosenAdapter;
use crate::service::{Stages, Terms};

/// How often one call puts one adapter there: once, and for what others do meanwhile.
const MAX_PUTS: u32 = 3;

/// The adapters of one call of the denoiser, and which of them it has been handed.
pub(crate) struct Handover<'a> {
    adapters: &'a [ChosenAdapter],
    stages: &'a Stages,
    terms: Terms,
    puts: HashMap<&'a str, u32>,
}

impl<'a> Handover<'a> {
    pub(crate) fn new(adapters: &'a [ChosenAdapter], stages: &'a Stages, terms: Terms) -> Self {
        Self { adapters, stages, terms, puts: HashMap::new() }
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
        // What was put may be gone again, for other requests' adapters, or another replica answers.
        // Where that goes on it is the denoiser that lacks something, and not the request.
        let times = self.puts.entry(adapter.digest()).or_default();
        if *times == MAX_PUTS {
            let name = adapter.name();
            let found = format!("that it was put there {times} times and is not there");
            let message = format!("denoiser: expected adapter '{name}' to stay, found {found}");
            return Err(Failure::Unavailable(message));
        }
        *times += 1;
        tracing::info!(name = adapter.name(), digest = adapter.digest(), "adapter put");
        self.stages.put_adapter(adapter, self.terms).await
    }
}
