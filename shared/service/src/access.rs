//! Who may call what: bearer tokens and clients' certificates stand for roles.

mod layer;
mod role;
mod rules;

use std::path::Path;
use std::sync::Arc;

use crate::reloaded::Reloaded;
use crate::{ServerArgs, config};
pub(crate) use layer::AccessLayer;
pub use role::{Role, RoleError};
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
    /// What the tables of a file of settings say.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Open) };
        let rules = Reloaded::open("tokens and identities", vec![file.to_owned()], |files| {
            let [file] = files else { return Err("expected one file".to_owned()) };
            let text = String::from_utf8_lossy(&file.bytes);
            let tables = config::tables_of(&file.path, &text, &ServerArgs::TABLES);
            Rules::of(&mut tables.map_err(|error| error.to_string())?)
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
