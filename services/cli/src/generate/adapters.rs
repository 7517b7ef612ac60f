use std::sync::Arc;

use cogwheel_api::generation::v1::AdapterChoice;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_orchestrator::RegisteredAdapter;
use cogwheel_service::Fatal;

use crate::adapters::{self, Once};
use crate::args::{Lora, NamedAdapter};
use crate::client::{Adapters, Server, Upload};

/// Adapters of files, read and checked before any work.
#[derive(Default)]
pub(super) struct Loras {
    /// For this process's own chain.
    pub(super) registered: Vec<Arc<RegisteredAdapter>>,
    /// For a server.
    uploads: Vec<(Upload, f32)>,
    /// In the order of the command line.
    pub(super) choices: Vec<AdapterChoice>,
    once: Once,
    /// What was found.
    pub(super) notes: Vec<String>,
}

impl Loras {
    /// Reads adapters and checks them against the model of this process.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(super) fn for_model(loras: &[Lora], checkpoint: &Checkpoint) -> Result<Self, Fatal> {
        let mut read = Self::default();
        for lora in loras {
            let adapter = adapters::open(lora, checkpoint)?;
            read.note(&adapter.message(), lora.scale.unwrap_or(1.0));
            read.choose(adapter.name(), lora)?;
            read.registered.push(Arc::new(adapter));
        }
        Ok(read)
    }

    /// Reads adapters that a server is to check.
    ///
    /// # Errors
    /// As [`Self::for_model`].
    pub(super) fn for_server(loras: &[Lora]) -> Result<Self, Fatal> {
        let mut read = Self::default();
        for lora in loras {
            let upload = adapters::upload(lora)?;
            read.choose(&upload.name, lora)?;
            read.uploads.push((upload, lora.scale.unwrap_or(1.0)));
        }
        Ok(read)
    }

    /// Sends what a server is to have; gives what it found.
    ///
    /// # Errors
    /// What the server answers.
    pub(super) async fn send(&mut self, server: &Server) -> Result<Vec<String>, Fatal> {
        for (upload, scale) in std::mem::take(&mut self.uploads) {
            let added = Adapters::of(server).add(upload).await?;
            self.note(&adapters::told(added)?, scale);
        }
        Ok(std::mem::take(&mut self.notes))
    }

    fn choose(&mut self, name: &str, lora: &Lora) -> Result<(), Fatal> {
        self.once.take(name, lora)?;
        self.choices.push(AdapterChoice { name: name.to_owned(), scale: lora.scale });
        Ok(())
    }

    fn note(&mut self, adapter: &cogwheel_api::adapter::v1::Adapter, scale: f32) {
        self.notes.push(adapters::summary(adapter, scale));
        let name = &adapter.name;
        let warnings = adapter.warnings.iter().map(|warning| format!("adapter {name}: {warning}"));
        self.notes.extend(warnings);
    }
}

/// Adapters that the server has.
pub(super) fn choices(adapters: &[NamedAdapter]) -> impl Iterator<Item = AdapterChoice> {
    adapters
        .iter()
        .map(|NamedAdapter { name, scale }| AdapterChoice { name: name.clone(), scale: *scale })
}
