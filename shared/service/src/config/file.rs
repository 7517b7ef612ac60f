use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::told;
use super::setting::Setting;
use super::table::{Entry, FileTables, TableKind};
use super::{ConfigError, Place, print};

/// Bytes of a file of settings: many thousand tokens.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says, checked.
#[derive(Debug, Default)]
pub(super) struct SettingsFile {
    /// Settings of the command that reads it.
    pub(super) items: Vec<Item>,
    pub(super) tables: FileTables,
    /// The tables as they are printed, without secrets.
    pub(super) printed: String,
}

/// What it says of one setting.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// clap's name of the setting.
    pub(super) id: String,
    /// What would stand on a command line.
    pub(super) words: Vec<String>,
    pub(super) place: Place,
}

impl SettingsFile {
    /// Reads a file for a command that has `own` settings; it may hold those of `others` too.
    pub(super) fn read(
        path: &Path,
        own: &[Setting],
        others: &[Setting],
        tables: &[TableKind],
    ) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(ConfigError::TooLong { path: path.to_owned(), limit: MAX_BYTES });
        }
        Reading { path, text: &text, own, others, tables }.all()
    }

    /// The tables of a file's text alone; settings are for the start of a process.
    pub(super) fn tables_of(
        path: &Path,
        text: &str,
        tables: &[TableKind],
    ) -> Result<FileTables, ConfigError> {
        let is_table = |name: &str| tables.iter().any(|kind| kind.key == name);
        let reading = Reading { path, text, own: &[], others: &[], tables };
        reading.those(is_table).map(|file| file.tables)
    }

    #[cfg(test)]
    pub(super) fn of_text(
        text: &str,
        own: &[Setting],
        tables: &[TableKind],
    ) -> Result<Self, ConfigError> {
        let path = Path::new("cogwheel.toml");
        Reading { path, text, own, others: &[], tables }.all()
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    own: &'a [Setting],
    others: &'a [Setting],
    tables: &'a [TableKind],
}

impl Reading<'_> {
    fn all(&self) -> Result<SettingsFile, ConfigError> {
        self.those(|_| true)
    }

    /// What it says under the names that `is_wanted`.
    fn those(&self, is_wanted: impl Fn(&str) -> bool) -> Result<SettingsFile, ConfigError> {
        let root = DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            place: self.place(error.span()),
            message: told(error.message()),
        })?;
        let mut pairs: Vec<_> = root.get_ref().iter().collect();
        // What stands first is told first.
        pairs.sort_by_key(|(key, _)| key.span().start);
        let mut file = SettingsFile::default();
        for (key, value) in pairs.into_iter().filter(|(key, _)| is_wanted(key.get_ref())) {
            self.pair(key, value, &mut file)?;
        }
        Ok(file)
    }

    fn pair(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        file: &mut SettingsFile,
    ) -> Result<(), ConfigError> {
        let place = self.place(Some(key.span()));
        let name: &str = key.get_ref();
        let wrong =
            |message| ConfigError::Value { place: place.clone(), key: name.to_owned(), message };
        let is_named = |setting: &&Setting| setting.key == name;
        if let Some(setting) = self.own.iter().find(is_named) {
            let words = setting.words(value.get_ref()).map_err(wrong)?;
            file.items.push(Item { id: setting.arg.get_id().to_string(), words, place });
        } else if let Some(setting) = self.others.iter().find(is_named) {
            setting.words(value.get_ref()).map_err(wrong)?;
        } else if let Some(kind) = self.tables.iter().find(|kind| kind.key == name) {
            let expected = || wrong(format!("expected tables, each headed [[{name}]]"));
            for entry in value.get_ref().as_array().ok_or_else(expected)? {
                let table = entry.get_ref().as_table().ok_or_else(expected)?;
                let place = self.place(Some(entry.span()));
                let read = (kind.read)(entry.clone()).map_err(|error| ConfigError::Value {
                    place: error.span().map_or(place.clone(), |span| self.place(Some(span))),
                    key: name.to_owned(),
                    message: told(error.message()),
                })?;
                file.printed += &print::table(kind, table, &place);
                file.tables.push(kind.key, Entry { place, value: read });
            }
        } else {
            return Err(ConfigError::Unknown {
                place,
                key: name.to_owned(),
                near: self.near(name),
            });
        }
        Ok(())
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Place {
        Place::of(self.path, self.text, span.map_or(0, |span| span.start))
    }

    /// The name that an unknown one may be meant for: near in letters, or a flag or variable as it is.
    fn near(&self, name: &str) -> Option<String> {
        let plain = name.to_lowercase().replace('-', "_");
        let plain = plain.trim_start_matches('_').trim_start_matches("cogwheel_");
        // What is longer than any name is near to none.
        if plain.len() > 100 {
            return None;
        }
        let keys = self.own.iter().chain(self.others).map(|setting| setting.key.as_str());
        keys.chain(self.tables.iter().map(|kind| kind.key))
            .map(|key| (strsim::damerau_levenshtein(plain, key), key))
            .filter(|(distance, key)| *distance <= (key.len() / 3).max(1))
            .min()
            .map(|(_, key)| key.to_owned())
    }
}
