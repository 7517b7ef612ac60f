use std::path::Path;
use std::sync::{Arc, Mutex};

use cogwheel_lora::AdapterFiles;
use cogwheel_models::checkpoint::Checkpoint;
use cogwheel_service::Fatal;

use super::adapter::{Opened, Origin, RegisteredAdapter};
use super::base::Base;
use super::folders::Folders;
use super::kept::Kept;
use super::store::Store;
use super::{Adapters, Entry, Registry, Shelf, check_adapter_name, log_registered};
use crate::settings::AdapterArgs;

impl Registry {
    /// The registry as it is at the start: what is `given`, what was written down, and what lies in
    /// the adapter folders. What cannot be used is left out with a warning, since it is no reason to
    /// serve nothing.
    ///
    /// # Errors
    /// A folder that is missing or unfit; more adapters than may be.
    pub(crate) fn open(
        args: &AdapterArgs,
        given: &[Arc<RegisteredAdapter>],
        checkpoint: &Checkpoint,
    ) -> Result<Self, Fatal> {
        let folders = Folders::new(&args.adapter_dirs)?;
        let store = match &args.data_dir {
            Some(dir) => Store::durable(dir, &folders)?,
            None => Store::temporary(),
        };
        let mut registry = Self {
            base: Base::new(checkpoint),
            folders,
            store: Arc::new(store),
            max_adapters: args.max_adapters,
            max_bytes: args.max_adapter_bytes.bytes,
            names: Mutex::default(),
            examining: Mutex::default(),
        };
        let mut adapters: Adapters =
            given.iter().map(|adapter| (adapter.name.clone(), Arc::clone(adapter))).collect();
        let mut unusable = Vec::new();
        let written = registry.store.names()?;
        registry.store.sweep(written.as_ref());
        for entry in written.unwrap_or_default().adapters {
            let reopened = registry.reopen(&entry);
            match reopened.and_then(|adapter| put(&mut adapters, adapter)) {
                Ok(()) => {}
                Err(reason) => {
                    tracing::warn!(name = entry.name, reason, "adapter cannot be used, left out");
                    unusable.push(entry);
                }
            }
        }
        for (name, path) in registry.folders.entries()? {
            let opened = registry.of_folder(&name, &path);
            if let Err(reason) = opened.and_then(|adapter| put(&mut adapters, adapter)) {
                let path = path.display();
                tracing::warn!(%path, reason, "adapter cannot be used, left out");
            }
        }
        if adapters.len() > args.max_adapters {
            let (limit, found) = (args.max_adapters, adapters.len());
            return Err(Fatal::usage(format!(
                "--max-adapters: expected at least {found}, as many as there are, found {limit}: raise it, or take \
                 adapters out of the folders"
            )));
        }
        registry.names = Mutex::new(Shelf { adapters: Arc::new(adapters), unusable });
        Ok(registry)
    }

    /// What was written down in another run, if it is still what it was.
    fn reopen(&self, entry: &Entry) -> Result<RegisteredAdapter, String> {
        check_adapter_name(&entry.name)?;
        let (kept, origin) = match &entry.path {
            None => {
                let kept = self.store.kept(&entry.digest);
                (kept.map_err(|error| error.to_string())?, Origin::Upload)
            }
            Some(path) => {
                let files = AdapterFiles { weights: path.clone(), config: entry.config.clone() };
                let files = self.folders.again(&files).map_err(|failure| failure.to_string())?;
                (Arc::new(Kept::elsewhere(files, [0; 2])), Origin::Path)
            }
        };
        let opened =
            self.examine(&kept.files, entry.alpha).map_err(|failure| failure.to_string())?;
        let Opened { description, lengths } = opened.map_err(|error| error.to_string())?;
        if description.digest != entry.digest {
            let (expected, found) = (&entry.digest, description.digest);
            return Err(format!("expected digest {expected}, found {found}"));
        }
        let kept = if kept.is_stored() {
            kept
        } else {
            Arc::new(Kept::elsewhere(kept.files.clone(), lengths))
        };
        let (name, alpha) = (entry.name.clone(), entry.alpha);
        Ok(RegisteredAdapter { name, alpha, description, kept, origin })
    }

    /// What lies directly in a folder.
    pub(super) fn of_folder(&self, name: &str, path: &Path) -> Result<RegisteredAdapter, String> {
        check_adapter_name(name).map_err(|error| format!("name: {error}"))?;
        let files = self.folders.find(path, None).map_err(|failure| failure.to_string())?;
        let opened = self.examine(&files, None).map_err(|failure| failure.to_string())?;
        let Opened { description, lengths } = opened.map_err(|error| error.to_string())?;
        let kept = Arc::new(Kept::elsewhere(files, lengths));
        let name = name.to_owned();
        Ok(RegisteredAdapter { name, alpha: None, description, kept, origin: Origin::Start })
    }
}

/// Whoever has a name keeps it: what was registered goes before what lies in a folder.
///
/// # Errors
/// Where two adapters of one name are.
pub(super) fn put(adapters: &mut Adapters, adapter: RegisteredAdapter) -> Result<(), String> {
    if let Some(known) = adapters.get(&adapter.name) {
        if known.digest() == adapter.digest() {
            return Ok(());
        }
        let place = |one: &RegisteredAdapter| {
            let path = one.files().weights.display().to_string();
            if one.kept.is_stored() { "an upload".to_owned() } else { path }
        };
        let (known, new) = (place(known), place(&adapter));
        return Err(format!(
            "expected one adapter of each name, found two of '{}', {known} and {new}: rename the second",
            adapter.name
        ));
    }
    log_registered(&adapter);
    adapters.insert(adapter.name.clone(), Arc::new(adapter));
    Ok(())
}
