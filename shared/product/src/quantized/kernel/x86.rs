//! Kernels that keep the sums of a few rows in registers while they go through a panel once.

pub(super) mod avx2;
pub(super) mod avx512_vnni;
pub(super) mod avx_vnni;

use super::{GROUP, Group, Operands, PANEL, Panel, RowScale, Sums, by_rows, rows};

/// The four bytes of a row that a group multiplies.
///
/// # Safety
/// `bytes` holds at least `(row + 1) * stride`, and a row at least `group + 1` groups.
#[inline(always)]
unsafe fn inputs(bytes: &[u8], stride: usize, row: usize, group: usize) -> i32 {
    let start = row * stride + group * GROUP;
    debug_assert!(start + GROUP <= bytes.len(), "within the rows");
    // SAFETY: within the rows.
    unsafe { bytes.as_ptr().add(start).cast::<i32>().read_unaligned() }
}
