use std::path::Path;

/// What a checkpoint's folder is called, also where it is given as `.`. A snapshot in the hub's cache,
/// `models--OWNER--NAME/snapshots/COMMIT`, is called NAME, as a copy of it elsewhere would be.
pub fn folder_name(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    if let Some(name) = snapshot_name(&dir) {
        return name.to_owned();
    }
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn snapshot_name(dir: &Path) -> Option<&str> {
    let snapshots = dir.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let model = snapshots.parent()?.file_name()?.to_str()?;
    let (_, name) = model.strip_prefix("models--")?.split_once("--")?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_the_hub_is_called_as_its_model() {
        for (dir, expected) in [
            ("/c/hub/models--zai-org--CogVideoX-2b/snapshots/0123", "CogVideoX-2b"),
            ("/c/hub/models--zai-org--CogVideoX-2b/0123", "0123"),
            ("/c/hub/models--a/snapshots/0123", "0123"),
            ("/snapshots/0123", "0123"),
            ("/models/CogVideoX-2b", "CogVideoX-2b"),
            ("/", ""),
        ] {
            assert_eq!(folder_name(Path::new(dir)), expected);
        }
    }
}
