use std::path::{Component, Path, PathBuf};

use crate::{AdapterError, config::quote};

/// What diffusers calls the file.
const DIFFUSERS: &str = "pytorch_lora_weights.safetensors";

/// What PEFT calls it.
const PEFT: &str = "adapter_model.safetensors";

/// What PEFT puts beside it.
const PEFT_CONFIG: &str = "adapter_config.json";

/// Endings of torch's own files.
const PICKLES: [&str; 5] = ["bin", "pt", "pth", "ckpt", "pkl"];

/// The files of one adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFiles {
    /// The safetensors.
    pub weights: PathBuf,
    /// PEFT's `adapter_config.json`, which belongs to an `adapter_model.safetensors`.
    pub config: Option<PathBuf>,
}

impl AdapterFiles {
    /// Finds an adapter at a path: the file itself; or, in a folder, `weight_name`, else
    /// `pytorch_lora_weights.safetensors`, else `adapter_model.safetensors`, else the only safetensors there. Links are
    /// followed: whether a path may be read is its caller's to say.
    ///
    /// # Errors
    /// [`AdapterError::NotFound`], [`AdapterError::Several`], [`AdapterError::Pickle`], [`AdapterError::WeightName`].
    pub fn find(path: &Path, weight_name: Option<&str>) -> Result<Self, AdapterError> {
        if path.is_file() {
            if let Some(name) = weight_name.filter(|name| path.file_name() != Some(name.as_ref())) {
                let expected = format!("a folder with '{}'", quote(name));
                return Err(not_found(path, expected, "a file"));
            }
            return Self::of_file(path.to_path_buf());
        }
        if !path.is_dir() {
            let found = if path.exists() { "neither" } else { "nothing" };
            return Err(not_found(path, "an adapter's file or folder", found));
        }
        if let Some(name) = weight_name {
            return Self::of_file(named(path, name)?);
        }
        for name in [DIFFUSERS, PEFT] {
            let file = path.join(name);
            if file.is_file() {
                return Self::of_file(file);
            }
        }
        Self::of_file(only(path)?)
    }

    fn of_file(weights: PathBuf) -> Result<Self, AdapterError> {
        if has_ending(&weights, &PICKLES) {
            return Err(AdapterError::Pickle { path: weights });
        }
        let config = weights
            .file_name()
            .filter(|name| *name == PEFT)
            .map(|_| weights.with_file_name(PEFT_CONFIG))
            .filter(|config| config.exists());
        Ok(Self { weights, config })
    }
}

/// A file of the folder or below it. Pickles are looked for too, so that the message can say what is wrong with them.
fn named(dir: &Path, name: &str) -> Result<PathBuf, AdapterError> {
    let mut parts = Path::new(name).components().peekable();
    let stays = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    if !stays || name.contains('\0') {
        return Err(AdapterError::WeightName { name: quote(name) });
    }
    let file = dir.join(name);
    if !file.is_file() {
        return Err(not_found(dir, format!("a file '{}'", quote(name)), "no such file"));
    }
    Ok(file)
}

fn only(dir: &Path) -> Result<PathBuf, AdapterError> {
    let unreadable = |error: std::io::Error| not_found(dir, "a folder", error.to_string());
    let (mut weights, mut pickle) = (Vec::new(), None);
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if has_ending(&path, &["safetensors"]) && path.is_file() {
            weights.push(path);
        } else if has_ending(&path, &PICKLES) && path.is_file() {
            pickle = Some(path);
        }
    }
    match (weights.as_slice(), pickle) {
        ([one], _) => Ok(one.clone()),
        ([], Some(path)) => Err(AdapterError::Pickle { path }),
        ([], None) => {
            let expected = format!("{DIFFUSERS} or another .safetensors file");
            Err(not_found(dir, expected, "none"))
        }
        (several, _) => {
            let name = |path: &PathBuf| path.file_name().map(|name| name.display().to_string());
            let mut names: Vec<String> = several.iter().filter_map(name).collect();
            names.sort();
            Err(AdapterError::Several { dir: dir.to_path_buf(), names })
        }
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)))
}

fn not_found(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> AdapterError {
    let path = path.to_path_buf();
    AdapterError::NotFound { path, expected: expected.into(), found: found.into() }
}
