use std::{ptr, sync::Once};

use cogwheel_graph::{Dim, GraphBuilder};
use cogwheel_tensor::DType;
use ort::{
    AsPointer as _,
    environment::Environment,
    inputs,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{RunOptions, Session},
    value::Tensor,
};

use crate::{EngineError, Runtime};

/// Gives the environment an arena of CPU memory, for sessions that are made with its allocators.
///
/// Otherwise each session has an arena of its own, which holds what its largest run needed for as long as the session
/// lives: 700 MB for one of 2B width and 2,146 tokens. An arena that gives that back after each run pays for it in page
/// faults of the next, 3% of a step. This one takes memory when a session first runs and keeps it until [`Use`] ends.
pub(super) fn register(environment: &Environment) -> ort::Result<()> {
    let memory =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    // SAFETY: both pointers are of live objects of this library; the environment copies what it keeps. No configuration
    // stands for the defaults, which are those of a session's own arena.
    let status = unsafe {
        (ort::api().CreateAndRegisterAllocator)(
            environment.ptr().cast_mut(),
            memory.ptr(),
            ptr::null(),
        )
    };
    // SAFETY: the status is what the call above returned, taken once.
    unsafe { ort::Error::result_from_status(status) }
}

/// Gives the environment an arena of the first NVIDIA GPU's memory likewise, the first time that it is called. Whatever keeps
/// it from that is told in the log, and each session has an arena of its own then.
pub(crate) fn register_gpu(runtime: &Runtime) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        if let Err(error) = on_gpu(runtime.environment()) {
            let error = error.message();
            tracing::warn!(error, "variants compute in memory of their own each");
        }
    });
}

fn on_gpu(environment: &Environment) -> ort::Result<()> {
    // Takes what is asked for, not the next power of two of it.
    let (keys, values) = ([c"arena_extend_strategy".as_ptr()], [1usize]);
    let memory =
        MemoryInfo::new(AllocationDevice::CUDA, 0, AllocatorType::Arena, MemoryType::Default)?;
    let mut config = ptr::null_mut();
    // SAFETY: keys and values are as many as is said, and all pointers are of live objects.
    let status = unsafe {
        (ort::api().CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &mut config)
    };
    // SAFETY: the status is what the call above returned, taken once.
    unsafe { ort::Error::result_from_status(status) }?;
    // SAFETY: all pointers are of live objects of this library, which copies what it keeps; no provider options are given.
    let status = unsafe {
        (ort::api().CreateAndRegisterAllocatorV2)(
            environment.ptr().cast_mut(),
            c"CUDAExecutionProvider".as_ptr(),
            memory.ptr(),
            config,
            ptr::null(),
            ptr::null(),
            0,
        )
    };
    // SAFETY: it was made above and is used no more.
    unsafe { (ort::api().ReleaseArenaCfg)(config) };
    // SAFETY: the status is what the call above returned, taken once.
    unsafe { ort::Error::result_from_status(status) }
}

/// The use of the environment's arena by a session and its siblings: at its end the arena gives its free memory back.
#[derive(Debug)]
pub(crate) struct Use(Runtime);

/// Has the named arenas give their free memory back at the end of a run.
const SHRINK_KEY: &str = "memory.enable_memory_arena_shrinkage";

impl Use {
    pub(crate) fn of(runtime: &Runtime) -> Self {
        Self(runtime.clone())
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Err(error) = shrink(&self.0) {
            tracing::warn!(%error, "the memory of a session that has ended could not be given back");
        }
    }
}

/// An arena gives memory back at the end of a run only, so a graph of one addition is run in it.
fn shrink(runtime: &Runtime) -> Result<(), Box<dyn std::error::Error>> {
    let failed = EngineError::of("giving memory back");
    let mut g = GraphBuilder::new("shrink");
    let dims = [Dim::Fixed(1)];
    let x = g.input("x", DType::F32, &dims)?;
    let y = g.add(&x, &x)?;
    g.output("y", &y, &dims)?;
    let mut session = Session::builder(runtime.environment())
        .map_err(&failed)?
        .with_env_allocators()
        .map_err(EngineError::of("giving memory back"))?
        .with_intra_threads(1)
        .map_err(EngineError::of("giving memory back"))?
        .commit_from_memory(&g.finish().encode())
        .map_err(&failed)?;
    let mut options = RunOptions::new().map_err(&failed)?;
    options.set(SHRINK_KEY, "cpu:0").map_err(&failed)?;
    let x = Tensor::from_array(([1], vec![0f32])).map_err(&failed)?;
    session.run_with_options(inputs!["x" => x], &options).map_err(&failed)?;
    Ok(())
}
