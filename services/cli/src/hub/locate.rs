use std::path::{Path, PathBuf};

use cogwheel_service::Fatal;

use super::{HubCache, ModelName};

/// The folder that a model argument means: the folder of that path, or else the model of that name in the hub's cache. Nothing
/// is downloaded.
///
/// # Errors
/// A name that is not in the cache, with how it gets there. What is neither a folder nor a name is left to whoever opens it.
pub fn model_folder(argument: &Path) -> Result<PathBuf, Fatal> {
    let name = argument.to_str().and_then(|text| text.parse::<ModelName>().ok());
    let Some(name) = name.filter(|_| !argument.exists()) else {
        return Ok(argument.to_path_buf());
    };
    let cache = HubCache::of_environment()?;
    cache.main(&name).ok_or_else(|| {
        let folder = cache.folder().display();
        Fatal::usage(format!(
            "{name}: expected a folder, or a model in the cache {folder}, found neither: `cogwheel models pull {name}` fetches it"
        ))
    })
}
