use std::ptr;

use ort::{
    AsPointer as _,
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
};

/// Gives the environment an arena of CPU memory, for sessions that are made with its allocators.
///
/// Otherwise each session has an arena of its own, which holds what its largest run needed for as long as the session
/// lives: 700 MB for one of 2B width and 2,146 tokens. An arena that gives that back after each run pays for it in page
/// faults of the next, 3% of a step. This one takes memory when a session first runs and keeps it until the process ends.
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
