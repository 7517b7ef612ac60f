//! AMX on Linux, and the AVX-512 instructions that every processor with AMX has.

mod split;
mod tiles;

use std::sync::OnceLock;

pub(super) use split::split;
pub(crate) use tiles::Tiles;

/// Proof that the instructions of this folder may be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit(());

/// `arch_prctl`'s request for a part of the state that the kernel keeps for a process (asm/prctl.h), and the number of
/// the tiles' data in it.
const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
const XFEATURE_XTILEDATA: libc::c_long = 18;

impl Unit {
    pub(super) fn find() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        FOUND.get_or_init(|| has_instructions() && is_permitted()).then_some(Self(()))
    }
}

fn has_instructions() -> bool {
    /// Bits of CPUID's leaf 7, in EDX.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && leaf.edx & AMX_BF16 != 0
        && leaf.edx & AMX_TILE != 0
}

/// The kernel saves the tiles only for processes that ask; one that knows no tiles refuses.
fn is_permitted() -> bool {
    // SAFETY: the call takes two numbers, and changes only what the kernel keeps for this process.
    let status =
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    status == 0
}
