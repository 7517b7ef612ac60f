//! What describes an adapter beside its tensors: PEFT's `LoraConfig`, in an `adapter_config.json` or, as diffusers
//! writes it, in the header of the safetensors.

mod pattern;

use std::{fmt, fs::File, io::Read, path::Path};

pub(crate) use pattern::{Patterns, ends_with};
use serde_json::{Map, Value};

use crate::AdapterError;

/// Bytes of a config; those that PEFT writes, a pattern for every layer included, stay below 100 KB.
const LIMIT: usize = 1 << 20;

/// Characters of a value that a message shows: the longest name of a tensor in any layout is within.
const QUOTED: usize = 120;

/// The header's key under which diffusers writes the config as JSON.
const METADATA: &str = "lora_adapter_metadata";

/// What of a `LoraConfig` bears on inference.
#[derive(Debug, Default)]
pub(crate) struct LoraConfig {
    pub(crate) r: Option<usize>,
    pub(crate) lora_alpha: Option<f64>,
    pub(crate) rank_pattern: Patterns,
    pub(crate) alpha_pattern: Patterns,
    pub(crate) use_rslora: bool,
    pub(crate) use_dora: bool,
    pub(crate) target_modules: Option<Vec<String>>,
    pub(crate) base_model: Option<String>,
}

impl LoraConfig {
    /// Reads an `adapter_config.json`; its bytes come with it.
    pub(crate) fn read(path: &Path) -> Result<(Self, Vec<u8>), AdapterError> {
        let wrong = |found: String| error(path, "the file", "JSON of at most 1 MiB", found);
        let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if !metadata.is_file() {
            return Err(wrong("not a regular file".to_owned()));
        }
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        let mut text = Vec::new();
        file.take(LIMIT as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|error| wrong(error.to_string()))?;
        let config = Self::parse(path, "the file", &text, "")?;
        Ok((config, text))
    }

    /// What diffusers wrote into the header, if it did. Its keys start with the part that they describe.
    pub(crate) fn of_metadata<'a>(
        path: &Path,
        mut get: impl FnMut(&str) -> Option<&'a String>,
    ) -> Result<Option<Self>, AdapterError> {
        let Some(text) = get(METADATA) else { return Ok(None) };
        Self::parse(path, METADATA, text.as_bytes(), "transformer.").map(Some)
    }

    fn parse(path: &Path, what: &str, text: &[u8], prefix: &str) -> Result<Self, AdapterError> {
        if text.len() > LIMIT {
            let found = format!("{} bytes", text.len());
            return Err(error(path, what, "JSON of at most 1 MiB", found));
        }
        let keys: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|source| error(path, what, "a JSON object", source))?;
        let keys = keys
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value)))
            .filter(|(_, value)| !value.is_null())
            .collect();
        Keys { path, what, keys }.config()
    }
}

struct Keys<'a> {
    path: &'a Path,
    what: &'a str,
    keys: Map<String, Value>,
}

impl Keys<'_> {
    fn config(&self) -> Result<LoraConfig, AdapterError> {
        self.refuse_other_methods()?;
        Ok(LoraConfig {
            r: self.rank()?,
            lora_alpha: self.number("lora_alpha")?,
            rank_pattern: self.patterns("rank_pattern")?,
            alpha_pattern: self.patterns("alpha_pattern")?,
            use_rslora: self.flag("use_rslora")?,
            use_dora: self.flag("use_dora")?,
            target_modules: self.target_modules()?,
            base_model: self.text("base_model_name_or_path")?,
        })
    }

    /// Methods that PEFT stores under the same names and computes in another way.
    fn refuse_other_methods(&self) -> Result<(), AdapterError> {
        if let Some(found) = self.text("peft_type")?.filter(|found| found != "LORA") {
            return Err(self.error("peft_type", "LORA", quote(&found)));
        }
        for key in ["use_qalora", "fan_in_fan_out"] {
            if self.flag(key)? {
                return Err(self.error(key, "false", "true"));
            }
        }
        for key in [
            "layer_replication",
            "alora_invocation_tokens",
            "arrow_config",
            "kasa_config",
            "use_bdlora",
            "velora_config",
            "monteclora_config",
            "target_parameters",
        ] {
            let asked = |value: &&Value| {
                **value != Value::Bool(false) && !value.as_array().is_some_and(Vec::is_empty)
            };
            if let Some(found) = self.keys.get(key).filter(asked) {
                return Err(self.error(key, "nothing", quote(found)));
            }
        }
        Ok(())
    }

    fn rank(&self) -> Result<Option<usize>, AdapterError> {
        let Some(value) = self.keys.get("r") else { return Ok(None) };
        let rank = value.as_u64().and_then(|rank| usize::try_from(rank).ok());
        rank.filter(|&rank| rank > 0)
            .map(Some)
            .ok_or_else(|| self.error("r", "a positive whole number", quote(value)))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, AdapterError> {
        let Some(value) = self.keys.get(key) else { return Ok(None) };
        positive(value).map(Some).ok_or_else(|| self.error(key, "a positive number", quote(value)))
    }

    fn flag(&self, key: &str) -> Result<bool, AdapterError> {
        match self.keys.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.error(key, "true or false", quote(other))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, AdapterError> {
        match self.keys.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.error(key, "a string", quote(other))),
        }
    }

    fn patterns(&self, key: &str) -> Result<Patterns, AdapterError> {
        match self.keys.get(key) {
            None => Ok(Patterns::default()),
            Some(Value::Object(patterns)) => Patterns::new(patterns)
                .map_err(|(expected, found)| self.error(key, expected, found)),
            Some(other) => Err(self.error(key, "an object", quote(other))),
        }
    }

    /// A list; a single string is a regular expression or a word such as `all-linear`, and not looked at.
    fn target_modules(&self) -> Result<Option<Vec<String>>, AdapterError> {
        let wrong = |found| self.error("target_modules", "a list of strings", quote(found));
        match self.keys.get("target_modules") {
            None | Some(Value::String(_)) => Ok(None),
            Some(Value::Array(targets)) => {
                let names = targets.iter().map(|target| target.as_str().map(str::to_owned));
                names.collect::<Option<_>>().map(Some).ok_or_else(|| wrong(&Value::Null))
            }
            Some(other) => Err(wrong(other)),
        }
    }

    fn error(
        &self,
        key: &str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> AdapterError {
        let key = match self.what {
            METADATA => format!("{METADATA}: {key}"),
            _ => key.to_owned(),
        };
        error(self.path, &key, expected, found)
    }
}

/// A number that can be an alpha or a rank.
fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number > 0.0)
}

fn error(
    path: &Path,
    key: &str,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> AdapterError {
    AdapterError::Config {
        path: path.to_path_buf(),
        key: key.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// A value as a message shows it, its end cut off where it is long.
pub(crate) fn quote(value: impl fmt::Display) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED) {
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

#[cfg(test)]
mod tests;
