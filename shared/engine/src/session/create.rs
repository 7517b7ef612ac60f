use std::{borrow::Cow, sync::Arc};

use cogwheel_graph::{Model, WeightSlot};
use cogwheel_tensor::Tensor;
use ort::{
    ep::{self, ExecutionProvider as _},
    logging::LogLevel,
    memory::AllocationDevice,
    session::{
        Session,
        builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    device_weight::DeviceWeight,
    linear::{self, Products},
    value,
};
use crate::{
    EngineError, Provider, Runtime, SessionOptions, WeightSource, freed, runtime::arena,
    weight_source::supply,
};

/// Where ONNX Runtime looks for files that a model in memory names.
const PLACEHOLDER_FOLDER_KEY: &str = "session.model_external_initializers_file_folder_path";

/// A weight that a session is made with.
#[derive(Clone, Debug)]
pub(super) enum Supplied {
    /// In the process's memory, or a file's.
    Host(Tensor),
    /// Where the session computes.
    Device(Arc<DeviceWeight>),
}

/// A session and the memory that its initializers point into.
///
/// On the CPU two ways, chosen by measurement over 943 MB of matrices. Prepacked, the session has its own
/// rearranged copy (932 MB) and needs what it was given no more once it is made. Otherwise it
/// reads the weights where they lie: a memory map costs nothing until a run touches it. The weights of linear layers that
/// the matrix unit computes are none of them; the operators hold those.
///
/// On a GPU the session has a copy of its own, unless it is to have variants: ONNX Runtime shares no initializers that lie
/// elsewhere than the session computes, so they are brought there first.
pub(super) fn session(
    runtime: &Runtime,
    model: Cow<'_, Model>,
    products: Option<&Arc<Products>>,
    weight: &dyn Fn(&WeightSlot) -> Result<Supplied, EngineError>,
    options: &SessionOptions,
) -> Result<(Session, Vec<Supplied>), EngineError> {
    let mut builder = builder(runtime, options)?;
    if let Some(products) = products {
        let domain = linear::domain(Arc::clone(products))
            .map_err(EngineError::of("defining an operator"))?;
        builder =
            builder.with_operators(domain).map_err(EngineError::of("setting up a session"))?;
    }
    let on_gpu = options.provider == Provider::Cuda;
    let is_copied = options.prepack || (on_gpu && !options.variants);
    let mut weights = Vec::with_capacity(model.weights().len());
    for slot in model.weights() {
        let mut held = weight(slot)?;
        if on_gpu && options.variants {
            held = held.on_device()?;
        }
        builder = match &held {
            Supplied::Host(tensor) => {
                // SAFETY: `tensor` lives in `weights` until the session is made, and if the session goes
                // on reading it, the caller keeps it for as long as the session.
                let value = unsafe { value::over(tensor) }?;
                match is_copied {
                    true => builder.with_external_initializer(&slot.name, value),
                    false => builder.with_initializer(&slot.name, value),
                }
            }
            Supplied::Device(weight) => builder.with_initializer(&slot.name, weight.value()),
        }
        .map_err(EngineError::of("supplying a weight"))?;
        weights.push(held);
    }
    let file = model.encode();
    drop(model);
    let session = builder.commit_from_memory(&file).map_err(EngineError::of("making a session"));
    drop(file);
    if is_copied {
        // An external initializer is copied while the session is made.
        weights.clear();
    }
    freed::give_back();
    Ok((session?, weights))
}

impl Supplied {
    /// A weight in memory, as ONNX Runtime can read it there.
    pub(super) fn read(source: &dyn WeightSource, slot: &WeightSlot) -> Result<Self, EngineError> {
        supply(source, slot).map(value::aligned).map(Self::Host)
    }

    fn on_device(self) -> Result<Self, EngineError> {
        match self {
            Self::Host(tensor) => {
                let weight = DeviceWeight::bring(&tensor, AllocationDevice::CUDA)?;
                Ok(Self::Device(Arc::new(weight)))
            }
            Self::Device(_) => Ok(self),
        }
    }
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
        if options.provider == Provider::Cuda {
            arena::register_gpu(runtime);
        }
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

/// The arena takes what is asked for, not the next power of two of it, which would be up to twice the memory; fp32 is fp32,
/// not TF32; and convolutions, whose shapes change from chunk to chunk, are not searched for the best kernel at each.
fn cuda(builder: SessionBuilder) -> Result<SessionBuilder, EngineError> {
    let refused =
        |reason: &str| EngineError::Provider { provider: "cuda", reason: reason.to_owned() };
    match ep::CUDA::is_available() {
        Ok(true) => {}
        Ok(false) => return Err(refused("this build of ONNX Runtime does not have it")),
        Err(error) => return Err(refused(error.message())),
    }
    let provider = ep::CUDA::default()
        .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
        .with_tf32(false)
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
    builder
        .with_execution_providers([provider.build().error_on_failure()])
        .map_err(|error| refused(error.message()))
}
