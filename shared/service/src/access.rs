//! Who may call what: bearer tokens and clients' certificates stand for roles.

mod layer;
mod role;
mod rules;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::reloaded::Reloaded;
use crate::{ServerArgs, config};
pub(crate) use layer::AccessLayer;
pub(crate) use role::Role;
pub(crate) use rules::Rules;

/// Who may call what.
#[derive(Clone, Debug, Default)]
pub(crate) enum Access {
    /// Everybody everything.
    #[default]
    Open,
    /// What the rules say, as their file is now.
    Ruled(Arc<Reloaded<Rules>>),
}

impl Access {
    /// What the tables of a file of settings say. Where it had rules when the settings were read (`ruled`), or had any
    /// since, a file without is a broken one: an editor that empties it first must not open the server to everybody.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn open(file: Option<&Path>, ruled: bool) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Open) };
        let ruled = AtomicBool::new(ruled);
        let rules = Reloaded::open("tokens and identities", vec![file.to_owned()], move |files| {
            let [file] = files else { return Err("expected one file".to_owned()) };
            let text = String::from_utf8_lossy(&file.bytes);
            let tables = config::tables_of(&file.path, &text, &ServerArgs::TABLES);
            let rules = Rules::of(&mut tables.map_err(|error| error.to_string())?)?;
            if rules.is_empty() && ruled.load(Ordering::Relaxed) {
                let path = file.path.display();
                return Err(format!("{path}: expected tokens or identities as before, found none"));
            }
            ruled.fetch_or(!rules.is_empty(), Ordering::Relaxed);
            Ok(rules)
        })?;
        Ok(Self::Ruled(Arc::new(rules)))
    }

    /// Looks at the file from now on.
    pub(crate) fn watch(&self) {
        if let Self::Ruled(file) = self {
            file.watch();
        }
    }

    /// The rules as they are now; `None` where there are none.
    fn rules(&self) -> Option<Arc<Rules>> {
        match self {
            Self::Open => None,
            Self::Ruled(file) => Some(file.latest()).filter(|rules| !rules.is_empty()),
        }
    }

    /// Whether everybody may call everything.
    pub(crate) fn is_open(&self) -> bool {
        self.rules().is_none()
    }
}
