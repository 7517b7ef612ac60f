use std::path::PathBuf;
use std::str::FromStr;

use cogwheel_orchestrator::check_adapter_name;

use crate::shown;

/// `PATH[,weight-name=FILE][,name=NAME][,scale=S][,alpha=A]`: an adapter's file or folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// The file, or the folder as diffusers has it. It has no comma: that begins an option.
    pub path: PathBuf,
    /// The file in the folder, where it is not the usual one.
    pub weight_name: Option<String>,
    /// What to call it.
    pub name: Option<String>,
    /// What its effect is multiplied with.
    pub scale: Option<f32>,
    /// Stated in place of what the file says.
    pub alpha: Option<f64>,
}

/// `NAME[=SCALE]`: an adapter that the server has.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedAdapter {
    /// Its name.
    pub name: String,
    /// What its effect is multiplied with.
    pub scale: Option<f32>,
}

/// Why an option cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: expected {expected}, found '{found}'")]
pub struct LoraError {
    what: &'static str,
    expected: &'static str,
    found: String,
}

const KEYS: &str = "weight-name=, name=, scale= or alpha= after a comma, each once";

impl FromStr for Lora {
    type Err = LoraError;

    fn from_str(text: &str) -> Result<Self, LoraError> {
        let mut parts = text.split(',');
        let path = PathBuf::from(parts.next().unwrap_or_default());
        if path.as_os_str().is_empty() {
            return Err(error("path", "an adapter's file or folder", text));
        }
        let mut lora = Self { path, weight_name: None, name: None, scale: None, alpha: None };
        for part in parts {
            let unknown = || error("option", KEYS, part);
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let is_new = match key {
                "weight-name" => lora.weight_name.replace(value.to_owned()).is_none(),
                "name" => lora.name.replace(name(value)?).is_none(),
                "scale" => lora.scale.replace(scale(value)?).is_none(),
                "alpha" => lora.alpha.replace(alpha(value)?).is_none(),
                _ => false,
            };
            if !is_new {
                return Err(unknown());
            }
        }
        Ok(lora)
    }
}

impl FromStr for NamedAdapter {
    type Err = LoraError;

    fn from_str(text: &str) -> Result<Self, LoraError> {
        let (text, factor) = match text.split_once('=') {
            Some((name, factor)) => (name, Some(scale(factor)?)),
            None => (text, None),
        };
        Ok(Self { name: name(text)?, scale: factor })
    }
}

/// Reads an alpha.
pub(super) fn alpha(text: &str) -> Result<f64, LoraError> {
    let positive = text.parse().ok().filter(|alpha: &f64| alpha.is_finite() && *alpha > 0.0);
    positive.ok_or_else(|| error("alpha", "a positive number", text))
}

/// Reads a name.
pub(super) fn name(text: &str) -> Result<String, LoraError> {
    let expected = "1 to 64 letters, digits, '-', '_' or '.', the first a letter or a digit";
    check_adapter_name(text).map_err(|_| error("name", expected, text))?;
    Ok(text.to_owned())
}

fn scale(text: &str) -> Result<f32, LoraError> {
    let finite = text.parse().ok().filter(|scale: &f32| scale.is_finite());
    finite.ok_or_else(|| error("scale", "a finite number", text))
}

fn error(what: &'static str, expected: &'static str, found: &str) -> LoraError {
    LoraError { what, expected, found: shown::value(found).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let lora: Lora =
            "a/b c,weight-name=x.safetensors,name=n,scale=-0.4,alpha=64".parse().unwrap();
        assert_eq!(lora.path, PathBuf::from("a/b c"));
        assert_eq!(lora.weight_name.as_deref(), Some("x.safetensors"));
        assert_eq!(lora.name.as_deref(), Some("n"));
        assert_eq!((lora.scale, lora.alpha), (Some(-0.4), Some(64.0)));
        let bare: Lora = "a=b.safetensors".parse().unwrap();
        assert_eq!((bare.path, bare.scale), (PathBuf::from("a=b.safetensors"), None));
        let named = |name: &str, scale| NamedAdapter { name: name.to_owned(), scale };
        assert_eq!("neon=0".parse::<NamedAdapter>().unwrap(), named("neon", Some(0.0)));
        assert_eq!("neon".parse::<NamedAdapter>().unwrap(), named("neon", None));
    }

    #[test]
    fn what_is_not_known_is_refused_and_says_what_is() {
        for (text, expected) in [
            ("", "path"),
            (",scale=1", "path"),
            ("a,scal=1", "weight-name="),
            ("a,b", "after a comma"),
            ("a,", "after a comma"),
            ("a,scale=1,scale=2", "each once"),
            ("a,scale=x", "finite"),
            ("a,scale=NaN", "finite"),
            ("a,scale=1e39", "finite"),
            ("a,alpha=0", "positive"),
            ("a,alpha=inf", "positive"),
            ("a,name=b/c", "letters"),
        ] {
            let error = text.parse::<Lora>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in ["", "=1", "a=", "a=x", "a b", "a=inf"] {
            assert!(text.parse::<NamedAdapter>().is_err(), "{text}");
        }
    }
}
