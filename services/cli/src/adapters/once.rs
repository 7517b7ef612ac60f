use std::collections::BTreeSet;

use cogwheel_service::Fatal;

use crate::args::Lora;

/// The adapters of a command line so far, by their names. A server takes each name once, and the same file without a
/// name of its own is one adapter however often it is given.
#[derive(Default)]
pub(crate) struct Once(BTreeSet<String>);

impl Once {
    /// Takes the next one.
    ///
    /// # Errors
    /// Where it was there already.
    pub(crate) fn take(&mut self, name: &str, lora: &Lora) -> Result<(), Fatal> {
        if self.0.insert(name.to_owned()) {
            return Ok(());
        }
        let path = lora.path.display();
        Err(Fatal::usage(format!(
            "--lora {path}: expected each adapter once, found '{name}' again: add up its scales"
        )))
    }
}
