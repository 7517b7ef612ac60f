use std::{
    fmt,
    fs::File,
    io::Read,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::ConfigError;

/// The largest published config is below 4 KB; a file far beyond that is something else.
const LIMIT: u64 = 1 << 20;

/// Longest value quoted in a message.
const QUOTED: usize = 80;

/// A config file as a table of keys. A key that is absent or `null` takes the default its reader names,
/// as diffusers' constructors do; every error names file, key, expected and found.
pub(crate) struct ConfigFile {
    path: PathBuf,
    keys: Map<String, Value>,
}

impl ConfigFile {
    /// Reads a JSON object of at most 1 MiB from a regular file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let error = |source| ConfigError::Read { path: path.to_path_buf(), source };
        let metadata = std::fs::metadata(path).map_err(error)?;
        if !metadata.is_file() {
            return Err(error(std::io::Error::other("not a regular file")));
        }
        let mut text = Vec::new();
        let file = File::open(path).map_err(error)?;
        // One byte more than the limit: a file that grows after its length was asked is still noticed.
        file.take(LIMIT + 1).read_to_end(&mut text).map_err(error)?;
        if text.len() as u64 > LIMIT {
            let found = metadata.len().max(text.len() as u64);
            return Err(ConfigError::TooLarge { path: path.to_path_buf(), limit: LIMIT, found });
        }
        Self::parse(path, &text)
    }

    /// Parses a config's text; `path` serves for messages only.
    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, ConfigError> {
        let mut keys: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|source| ConfigError::Json { path: path.to_path_buf(), source })?;
        keys.retain(|_, value| !value.is_null());
        Ok(Self { path: path.to_path_buf(), keys })
    }

    /// The value of a key that is neither absent nor `null`.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// A string that must be there and be one of `expected`, such as `_class_name`.
    pub(crate) fn one_of(&self, key: &str, expected: &[&str]) -> Result<&str, ConfigError> {
        match self.get(key) {
            Some(Value::String(found)) if expected.contains(&found.as_str()) => Ok(found),
            Some(found) => Err(self.value(key, alternatives(expected), quote(found))),
            None => Err(self.value(key, alternatives(expected), "nothing")),
        }
    }

    /// A whole number within bounds. `4.0` is taken for 4, as Python's constructors do.
    pub(crate) fn size(
        &self,
        key: &str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> Result<usize, ConfigError> {
        Ok(self.optional_size(key, bounds)?.unwrap_or(default))
    }

    /// A whole number within bounds that may be absent.
    pub(crate) fn optional_size(
        &self,
        key: &str,
        bounds: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole(value) {
            Some(size) if bounds.contains(&size) => Ok(Some(size)),
            _ => {
                let expected =
                    format!("a whole number from {} to {}", bounds.start(), bounds.end());
                Err(self.value(key, expected, quote(value)))
            }
        }
    }

    /// A list of whole numbers within bounds.
    pub(crate) fn sizes(
        &self,
        key: &str,
        default: &[usize],
        bounds: RangeInclusive<usize>,
    ) -> Result<Vec<usize>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(default.to_vec()) };
        let sizes = value.as_array().and_then(|values| {
            values.iter().map(|v| whole(v).filter(|size| bounds.contains(size))).collect()
        });
        sizes.ok_or_else(|| {
            let expected =
                format!("a list of whole numbers from {} to {}", bounds.start(), bounds.end());
            self.value(key, expected, quote(value))
        })
    }

    /// A finite number above zero.
    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(number),
            _ => Err(self.value(key, "a finite number above 0", quote(value))),
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.value(key, "true or false", quote(value)))
    }

    /// Refuses a key whose value, or whose default when absent, is none of the `supported` ones.
    pub(crate) fn only(
        &self,
        key: &str,
        default: impl Into<Value>,
        supported: &[Value],
    ) -> Result<(), ConfigError> {
        let default = default.into();
        let found = self.get(key).unwrap_or(&default);
        if supported.iter().any(|value| same(value, found)) {
            return Ok(());
        }
        let supported: Vec<String> = supported.iter().map(quote).collect();
        Err(self.unsupported(key, supported.join(" or "), quote(found)))
    }

    /// An error about the value of a key.
    pub(crate) fn value(
        &self,
        key: &str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> ConfigError {
        ConfigError::Value {
            path: self.path.clone(),
            key: key.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// An error about a value that is meaningful but not computed by this build.
    pub(crate) fn unsupported(
        &self,
        key: &str,
        supported: impl fmt::Display,
        found: impl fmt::Display,
    ) -> ConfigError {
        ConfigError::Unsupported {
            path: self.path.clone(),
            key: key.to_owned(),
            supported: supported.to_string(),
            found: found.to_string(),
        }
    }
}

/// A JSON value as it stands in the file, cut short where it is long.
pub(crate) fn quote(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn whole(value: &Value) -> Option<usize> {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).ok();
    }
    // Exact: whole numbers below 2^53 are their own f64.
    value
        .as_f64()
        .filter(|f| f.fract() == 0.0 && (0.0..9.0e15).contains(f))
        .and_then(|f| usize::try_from(f as u64).ok())
}

/// Equal values; numbers by value, so that `1` is `1.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn alternatives(expected: &[&str]) -> String {
    let quoted: Vec<String> = expected.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(" or ")
}
