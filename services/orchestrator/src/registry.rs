//! The adapters that requests can name: where their files are, what they are, and what they are
//! called.

mod adapter;
mod base;
mod folders;
mod kept;
mod name;
mod names;
mod start;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cogwheel_lora::{AdapterError, AdapterFiles};
use cogwheel_service::Failure;

pub use adapter::RegisteredAdapter;
use adapter::{Opened, Origin};
use base::Base;
use folders::Folders;
use kept::Kept;
pub use name::check_adapter_name;
use names::{Entry, Names};
pub(crate) use store::Incoming;
use store::{Store, lock};

/// Adapters by their names.
pub(crate) type Adapters = BTreeMap<String, Arc<RegisteredAdapter>>;

/// The adapters of a server. Its methods read and write files: they are for blocking threads, but
/// for [`Self::adapters`].
#[derive(Debug)]
pub(crate) struct Registry {
    base: Base,
    folders: Folders,
    store: Arc<Store>,
    max_adapters: usize,
    pub(crate) max_bytes: u64,
    names: Mutex<Shelf>,
    /// Held while a file is examined.
    examining: Mutex<()>,
}

/// What stands under names.
#[derive(Debug, Default)]
struct Shelf {
    /// Shared with requests, copied when it changes.
    adapters: Arc<Adapters>,
    /// What was written down and cannot be used now, such as an adapter of another model.
    unusable: Vec<Entry>,
}

/// What is to be registered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registration {
    /// A valid name.
    pub(crate) name: String,
    /// Stated in place of what the file says.
    pub(crate) alpha: Option<f64>,
}

impl Registry {
    /// All adapters as they are now.
    pub(crate) fn adapters(&self) -> Arc<Adapters> {
        Arc::clone(&lock(&self.names).adapters)
    }

    /// Whether there is room for a name.
    ///
    /// # Errors
    /// [`Failure::Exhausted`] where there is none.
    pub(crate) fn check_room(&self, name: &str) -> Result<(), Failure> {
        self.room(&lock(&self.names).adapters, name)
    }

    /// Registers what is at a path below the allowed folders.
    ///
    /// # Errors
    /// What the path, the file or the name is not; or that the server keeps no more.
    pub(crate) fn create_at(
        &self,
        registration: Registration,
        path: &Path,
        weight_name: Option<&str>,
    ) -> Result<Arc<RegisteredAdapter>, Failure> {
        let files = self.folders.find(path, weight_name)?;
        let opened = self.examine(&files, registration.alpha)?;
        let opened = opened.map_err(|error| refused("path", &error))?;
        let kept = Arc::new(Kept::elsewhere(files, opened.lengths));
        self.register(registration, opened, Origin::Path, kept)
    }

    /// Places for the files of an upload.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn incoming(&self, with_config: bool) -> Result<Incoming, Failure> {
        self.store.incoming(with_config).map_err(|error| unwritten(&error))
    }

    /// Registers what was uploaded.
    ///
    /// # Errors
    /// What the file or the name is not; or that the server keeps no more.
    pub(crate) fn create_of(
        &self,
        registration: Registration,
        incoming: Incoming,
    ) -> Result<Arc<RegisteredAdapter>, Failure> {
        let files = AdapterFiles {
            weights: incoming.weights.path().to_path_buf(),
            config: incoming.config.as_ref().map(|config| config.path().to_path_buf()),
        };
        let opened = self.examine(&files, registration.alpha)?.map_err(|error| {
            // Where it lies here says nothing to whoever sent it.
            let mut message = error.to_string();
            for (path, name) in
                [(Some(&files.weights), "weights"), (files.config.as_ref(), "config")]
            {
                if let Some(path) = path {
                    message = message.replace(&path.display().to_string(), name);
                }
            }
            Failure::invalid(field(&error).unwrap_or("weights"), message)
        })?;
        incoming.flush().map_err(|error| unwritten(&error))?;
        let kept = self.store.keep(&opened.description.digest, incoming);
        let kept = kept.map_err(|error| unwritten(&error))?;
        self.register(registration, opened, Origin::Upload, kept)
    }

    /// Takes a name back; gives whether there was one.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        let mut shelf = lock(&self.names);
        let Some(adapter) = shelf.adapters.get(name).cloned() else {
            if !shelf.unusable.iter().any(|entry| entry.name == name) {
                return Ok(false);
            }
            let adapters = Arc::clone(&shelf.adapters);
            return self.write(&mut shelf, adapters, Some(name)).map(|()| true);
        };
        let mut adapters = Arc::clone(&shelf.adapters);
        Arc::make_mut(&mut adapters).remove(name);
        self.write(&mut shelf, adapters, None)?;
        forget_unnamed(&shelf.adapters, &adapter);
        tracing::info!(name, digest = adapter.digest(), "adapter deleted");
        Ok(true)
    }

    fn examine(
        &self,
        files: &AdapterFiles,
        alpha: Option<f64>,
    ) -> Result<Result<Opened, AdapterError>, Failure> {
        let length = files.weights.metadata().map_or(0, |metadata| metadata.len());
        if length > self.max_bytes {
            return Err(self.too_large("path", length));
        }
        // One at a time: a file that says much of itself takes many times as much memory while it is read.
        let _turn = lock(&self.examining);
        let opened = Opened::read(files, alpha, &self.base);
        if opened.is_err() {
            cogwheel_engine::give_back();
        }
        Ok(opened)
    }

    /// Says that a file is too large.
    pub(crate) fn too_large(&self, field: &str, found: u64) -> Failure {
        let limit = self.max_bytes;
        let expected = format!("at most {limit} bytes, as this server's --max-adapter-bytes says");
        Failure::invalid(field, format!("expected {expected}, found {found}"))
    }

    fn room(&self, adapters: &Adapters, name: &str) -> Result<(), Failure> {
        let limit = self.max_adapters;
        if adapters.len() < limit || adapters.contains_key(name) {
            return Ok(());
        }
        Err(Failure::Exhausted(format!(
            "name: expected at most {limit} adapters, as this server's --max-adapters says, found '{name}' as one \
             more: remove another before"
        )))
    }

    /// What stands under the name already is registered again where its files are not what they were any more: whoever
    /// sends an adapter a second time may do so for that reason.
    fn register(
        &self,
        Registration { name, alpha }: Registration,
        Opened { description, .. }: Opened,
        origin: Origin,
        kept: Arc<Kept>,
    ) -> Result<Arc<RegisteredAdapter>, Failure> {
        let digest = description.digest.clone();
        let is_same = |known: &RegisteredAdapter| known.digest() == digest && known.alpha == alpha;
        let is_sound = |known: &RegisteredAdapter| {
            // The new files have just been read.
            known.kept.files == kept.files || known.kept.are_sound(&digest)
        };
        // Read before the names are locked, for which others wait.
        let known = self.adapters().get(&name).cloned();
        let sound = known.filter(|known| is_same(known) && is_sound(known));
        let mut shelf = lock(&self.names);
        let known = shelf.adapters.get(&name).cloned();
        if let Some(known) = &known {
            if !is_same(known) {
                let stated = known.alpha.map_or_else(
                    || ", its alpha as the file has it".to_owned(),
                    |alpha| format!(" with alpha {alpha}"),
                );
                let found = format!("that it stands for {}{stated}", known.digest());
                return Err(Failure::AlreadyExists { kind: "adapter", name, found });
            }
            if sound.is_some_and(|sound| Arc::ptr_eq(&sound, known)) {
                return Ok(Arc::clone(known));
            }
        }
        self.room(&shelf.adapters, &name)?;
        let adapter = Arc::new(RegisteredAdapter { name, alpha, description, kept, origin });
        let mut adapters = Arc::clone(&shelf.adapters);
        Arc::make_mut(&mut adapters).insert(adapter.name.clone(), Arc::clone(&adapter));
        self.write(&mut shelf, adapters, Some(&adapter.name))?;
        adapter.kept.remember();
        if let Some(known) = known {
            forget_unnamed(&shelf.adapters, &known);
        }
        log_registered(&adapter);
        Ok(adapter)
    }

    /// Makes `adapters` the ones there are, once that is written down. What could not be used goes
    /// when its name is `taken`.
    fn write(
        &self,
        shelf: &mut Shelf,
        adapters: Arc<Adapters>,
        taken: Option<&str>,
    ) -> Result<(), Failure> {
        let unusable: Vec<_> =
            shelf.unusable.iter().filter(|entry| Some(&*entry.name) != taken).cloned().collect();
        let written = adapters.values().filter_map(|adapter| adapter.entry());
        let names = Names { adapters: written.chain(unusable.iter().cloned()).collect() };
        self.store.write_names(&names).map_err(|error| unwritten(&error))?;
        *shelf = Shelf { adapters, unusable };
        Ok(())
    }
}

impl RegisteredAdapter {
    /// What is written down of it; nothing of what is there at every start.
    fn entry(&self) -> Option<Entry> {
        let files = self.kept.files.clone();
        let (path, config) = match self.origin {
            Origin::Start => return None,
            Origin::Path => (Some(files.weights), files.config),
            Origin::Upload => (None, None),
        };
        Some(Entry {
            name: self.name.clone(),
            digest: self.digest().to_owned(),
            alpha: self.alpha,
            path,
            config,
        })
    }
}

/// Lets go of an adapter's files where no name stands for them any more.
fn forget_unnamed(adapters: &Adapters, gone: &RegisteredAdapter) {
    if !adapters.values().any(|other| Arc::ptr_eq(&other.kept, &gone.kept)) {
        gone.kept.forget();
    }
}

fn log_registered(adapter: &RegisteredAdapter) {
    let RegisteredAdapter { name, description, .. } = adapter;
    let scales: Vec<f64> = description.scales.iter().map(|group| group.scale).collect();
    tracing::info!(
        name,
        digest = description.digest,
        layout = %description.layout,
        targets = description.targets,
        ?scales,
        "adapter registered"
    );
    for warning in &description.warnings {
        tracing::warn!(name, warning, "adapter");
    }
}

/// The field that an adapter is refused for, where it is not the file's.
fn field(error: &AdapterError) -> Option<&'static str> {
    match error {
        AdapterError::Alpha { .. } => Some("alpha"),
        AdapterError::WeightName { .. } => Some("weight_name"),
        _ => None,
    }
}

/// An adapter that will not do.
fn refused(source: &'static str, error: &AdapterError) -> Failure {
    Failure::invalid(field(error).unwrap_or(source), error)
}

pub(crate) fn unwritten(error: &io::Error) -> Failure {
    let message = format!("the adapter cannot be written: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Exhausted(message),
        _ => Failure::Internal(message),
    }
}

#[cfg(test)]
mod tests;
