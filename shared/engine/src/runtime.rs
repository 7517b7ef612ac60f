pub(crate) mod arena;
mod locate;

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    ep::{self, ExecutionProvider as _},
    logging::LogLevel,
};

use crate::EngineError;

/// The version of ONNX Runtime that this build is made for.
const VERSION: &str = "1.31.1";

/// ONNX Runtime, loaded once for the whole process.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// ONNX Runtime allows one environment a process, so the first one stays until the process ends.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Finds and loads the library; later calls give the same runtime.
    ///
    /// Where it is looked for: at `ORT_DYLIB_PATH` alone if that is set; else beside the
    /// executable, in `.runtime` in each folder above the executable, and in `./.runtime`.
    ///
    /// # Errors
    /// [`EngineError::LibraryNotFound`] lists every place; [`EngineError::Library`] when a file is
    /// there that is no ONNX Runtime, or one older than 1.31. A later one is taken as it is.
    pub fn load() -> Result<Self, EngineError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        let candidates = match named {
            Some(path) => vec![locate::named(PathBuf::from(path))],
            None => locate::candidates(env::current_exe().ok(), env::current_dir().ok()),
        };
        let library = locate::first_file(candidates)?;
        let runtime = Self { environment: environment(&library)?, library };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Whether this build of ONNX Runtime computes on NVIDIA GPUs. Whether there is one, a session finds out.
    pub fn has_cuda(&self) -> bool {
        // A library that cannot tell has none.
        ep::CUDA::is_available().unwrap_or(false)
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

fn environment(library: &Path) -> Result<Environment, EngineError> {
    let failed = |reason: String| EngineError::Library {
        path: library.to_owned(),
        expected: VERSION,
        reason,
    };
    let environment = ort::init_from(library)
        .map_err(|error| failed(error.to_string()))?
        .with_name("cogwheel")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.message().to_owned()))?;
    // At its default level ONNX Runtime formats a message for every node of every run.
    environment.set_log_level(LogLevel::Warning);
    arena::register(&environment).map_err(|error| failed(error.message().to_owned()))?;
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_library_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, "not a library").unwrap();
        let error = environment(&path).unwrap_err();
        assert!(matches!(error, EngineError::Library { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
