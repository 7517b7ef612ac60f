use std::{borrow::Cow, sync::Arc};

use cogwheel_graph::Model;
use cogwheel_tensor::Tensor;
use ort::{
    ep::{self, ExecutionProvider as _},
    logging::LogLevel,
    session::{
        Session,
        builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    linear::{self, Products},
    value,
};
use crate::{
    EngineError, Provider, Runtime, SessionOptions, WeightSource, freed, weight_source::supply,
};

/// Where ONNX Runtime looks for files that a model in memory names.
const PLACEHOLDER_FOLDER_KEY: &str = "session.model_external_initializers_file_folder_path";

/// A session and the memory that its initializers point into.
///
/// Two ways, chosen by measurement over 943 MB of matrices. Prepacked, the session has its own
/// rearranged copy (932 MB) and needs what it was given no more once it is made. Otherwise it
/// reads the weights where they lie: a memory map costs nothing until a run touches it. The weights of linear layers that
/// the matrix unit computes are none of them; the operators hold those.
pub(super) fn session(
    runtime: &Runtime,
    model: Cow<'_, Model>,
    products: Option<&Arc<Products>>,
    source: &dyn WeightSource,
    options: &SessionOptions,
) -> Result<(Session, Vec<Tensor>), EngineError> {
    let mut builder = builder(runtime, options)?;
    if let Some(products) = products {
        let domain = linear::domain(Arc::clone(products))
            .map_err(EngineError::of("defining an operator"))?;
        builder =
            builder.with_operators(domain).map_err(EngineError::of("setting up a session"))?;
    }
    let mut weights = Vec::with_capacity(model.weights().len());
    for slot in model.weights() {
        let tensor = value::aligned(supply(source, slot)?);
        // SAFETY: `tensor` lives in `weights` until the session is made, and if the session goes
        // on reading it, the caller keeps it for as long as the session.
        let value = unsafe { value::over(&tensor) }?;
        let supplied = if options.prepack {
            builder.with_external_initializer(&slot.name, value)
        } else {
            builder.with_initializer(&slot.name, value)
        };
        builder = supplied.map_err(EngineError::of("supplying a weight"))?;
        weights.push(tensor);
    }
    let file = model.encode();
    drop(model);
    let session = builder.commit_from_memory(&file).map_err(EngineError::of("making a session"));
    drop(file);
    if options.prepack {
        // An external initializer is copied while the session is made.
        weights.clear();
    }
    freed::give_back();
    Ok((session?, weights))
}

fn builder(runtime: &Runtime, options: &SessionOptions) -> Result<SessionBuilder, EngineError> {
    let failed = EngineError::of("setting up a session");
    let mut builder = Session::builder(runtime.environment())
        .map_err(EngineError::of("setting up a session"))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(&failed)?
        .with_prepacking(options.prepack)
        .map_err(&failed)?
        // A pattern is one block for all tensors of a run, for every shape anew, in an arena that holds the blocks of
        // other shapes still: a VAE's chunks of three and of two latent frames took 3.0 GB instead of 2.1.
        .with_memory_pattern(false)
        .map_err(&failed)?
        .with_config_entry(PLACEHOLDER_FOLDER_KEY, Model::PLACEHOLDER_FOLDER)
        .map_err(&failed)?
        // By default ort registers CoreML wherever it is, on every macOS: another arithmetic than asked for.
        .with_auto_device(AutoDevicePolicy::PreferCPU)
        .map_err(&failed)?
        .with_log_level(LogLevel::Warning)
        .map_err(&failed)?;
    if options.variants {
        // A model and its variants run one at a time, so they share the memory they compute in.
        builder = builder.with_env_allocators().map_err(&failed)?;
    }
    if let Some(threads) = options.threads {
        builder = builder.with_intra_threads(threads).map_err(&failed)?;
    }
    match options.provider {
        Provider::Cpu => Ok(builder),
        Provider::Cuda => cuda(builder),
    }
}

fn cuda(builder: SessionBuilder) -> Result<SessionBuilder, EngineError> {
    let refused =
        |reason: &str| EngineError::Provider { provider: "cuda", reason: reason.to_owned() };
    match ep::CUDA::is_available() {
        Ok(true) => {}
        Ok(false) => return Err(refused("this build of ONNX Runtime does not have it")),
        Err(error) => return Err(refused(error.message())),
    }
    builder
        .with_execution_providers([ep::CUDA::default().build().error_on_failure()])
        .map_err(|error| refused(error.message()))
}
