use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::Place;

/// An array of tables that only the file has. Its type refuses fields that it does not know
/// (`#[serde(deny_unknown_fields)]`); what its values mean is checked by whoever takes it.
pub trait FileTable: DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// Its name in the file: `[[KEY]]`.
    const KEY: &'static str;
    /// Fields that are not printed. They must be required: what is printed then cannot be taken for the whole.
    const SECRETS: &'static [&'static str];
}

/// One table, and where it stands, for messages.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// Its line.
    pub place: Place,
    /// What it says.
    pub value: T,
}

/// A bearer token: `[[tokens]]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What logs call whoever has it.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal digits.
    pub sha256: String,
    /// What it is good for.
    pub roles: Vec<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Token");
        f.field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl FileTable for Token {
    const KEY: &'static str = "tokens";
    // No way back from it to a good token, but to a weak one there is.
    const SECRETS: &'static [&'static str] = &["sha256"];
}

/// A client known by its certificate: `[[identities]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What logs call it.
    pub name: String,
    /// The name in the certificate: a URI such as `spiffe://...`, or a DNS name.
    pub san: String,
    /// What it is good for.
    pub roles: Vec<String>,
}

impl FileTable for Identity {
    const KEY: &'static str = "identities";
    const SECRETS: &'static [&'static str] = &[];
}

/// A kind of table that a file may have.
#[derive(Clone, Copy, Debug)]
pub struct TableKind {
    pub(super) key: &'static str,
    pub(super) secrets: &'static [&'static str],
    pub(super) read: fn(Spanned<DeValue<'_>>) -> Result<AnyTable, toml::de::Error>,
}

type AnyTable = Box<dyn Any + Send + Sync>;

impl TableKind {
    /// That of a type.
    pub const fn of<T: FileTable>() -> Self {
        Self { key: T::KEY, secrets: T::SECRETS, read: read::<T> }
    }
}

fn read<T: FileTable>(value: Spanned<DeValue<'_>>) -> Result<AnyTable, toml::de::Error> {
    T::deserialize(ValueDeserializer::from(value)).map(|table| Box::new(table) as AnyTable)
}

/// The tables of a file, by their kinds.
#[derive(Debug, Default)]
pub struct FileTables {
    /// The file, where there is one.
    pub(super) file: Option<PathBuf>,
    tables: BTreeMap<&'static str, Vec<Entry<AnyTable>>>,
}

impl FileTables {
    /// The file that they are of, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Takes those of a type out, in the order of the file.
    pub fn take<T: FileTable>(&mut self) -> Vec<Entry<T>> {
        let entries = self.tables.remove(T::KEY).unwrap_or_default();
        let typed = |Entry { place, value }: Entry<AnyTable>| {
            value.downcast().ok().map(|value| Entry { place, value: *value })
        };
        entries.into_iter().filter_map(typed).collect()
    }

    pub(super) fn push(&mut self, key: &'static str, entry: Entry<AnyTable>) {
        self.tables.entry(key).or_default().push(entry);
    }
}
