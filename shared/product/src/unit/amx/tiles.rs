use std::arch::asm;

use super::Unit;
use crate::{
    layout::{Line, MOST_PIECES, PIECE_LINES, TILE},
    unit::Block,
};

/// The tiles of this thread, set up; dropped, they are released, so that nobody saves them any more.
///
/// Four hold sums (two by two tiles of the result), two hold activations, two a weight.
#[derive(Debug)]
pub(crate) struct Tiles {
    /// Not to be sent to another thread.
    _thread: std::marker::PhantomData<*const ()>,
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    pub(in crate::unit) fn new(_: Unit) -> Self {
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes_of_row: [0; 16],
            rows: [0; 16],
        };
        config.bytes_of_row[..8].fill(size_of::<Line>() as u16);
        config.rows[..8].fill(TILE as u8);
        // SAFETY: the unit proves that the instruction exists and is permitted; it reads the 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly));
        }
        Self { _thread: std::marker::PhantomData }
    }

    /// Adds to a block's start the products of `steps` steps of a panel of activations and one of a weight in `pieces`
    /// pieces.
    ///
    /// # Safety
    /// The block's rows (16 for each tile of its height) of 32 values can be read from `start` and written to `target`,
    /// which no other thread touches meanwhile.
    pub(crate) unsafe fn multiply(
        &self,
        activations: &[Line],
        weight: &[Line],
        pieces: usize,
        block: &Block,
    ) {
        let steps = activations.len() / (MOST_PIECES * PIECE_LINES);
        assert!(steps > 0 && weight.len() >= steps * pieces * PIECE_LINES);
        // SAFETY: the assertion covers what is read of both; the caller answers for the block.
        unsafe {
            match (block.height, pieces) {
                (2, 1) => two_high::one(activations, weight, steps, block),
                (2, 2) => two_high::two(activations, weight, steps, block),
                (2, _) => two_high::three(activations, weight, steps, block),
                (_, 1) => one_high::one(activations, weight, steps, block),
                (_, 2) => one_high::two(activations, weight, steps, block),
                (_, _) => one_high::three(activations, weight, steps, block),
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: whoever made this had the unit, and nothing of the tiles is needed any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// Loads one piece of the activations; tiles of a step's piece are 1,024 bytes apart, pieces 2,048.
macro_rules! x {
    (2, $piece:literal) => {
        concat!(
            "tileloadd tmm4, [{x} + {line}*1 + ",
            $piece,
            "*2048]\n",
            "tileloadd tmm5, [{x} + {line}*1 + ",
            $piece,
            "*2048 + 1024]\n",
        )
    };
    (1, $piece:literal) => {
        concat!("tileloadd tmm4, [{x} + {line}*1 + ", $piece, "*2048]\n")
    };
}

/// Loads one piece of the weight.
macro_rules! w {
    ($piece:literal) => {
        concat!(
            "tileloadd tmm6, [{w} + {line}*1 + ",
            $piece,
            "*2048]\n",
            "tileloadd tmm7, [{w} + {line}*1 + ",
            $piece,
            "*2048 + 1024]\n",
        )
    };
}

/// Adds the products of the loaded pieces.
macro_rules! add {
    (2) => {
        "tdpbf16ps tmm0, tmm4, tmm6
        prefetcht1 [{next}]
        tdpbf16ps tmm1, tmm4, tmm7
        prefetcht1 [{next} + 64]
        tdpbf16ps tmm2, tmm5, tmm6
        prefetcht1 [{next} + 128]
        tdpbf16ps tmm3, tmm5, tmm7
        prefetcht1 [{next} + 192]
        add {next}, 256\n"
    };
    (1) => {
        "tdpbf16ps tmm0, tmm4, tmm6
        prefetcht1 [{next}]
        prefetcht1 [{next} + 64]
        tdpbf16ps tmm1, tmm4, tmm7
        prefetcht1 [{next} + 128]
        prefetcht1 [{next} + 192]
        add {next}, 256\n"
    };
}

/// Loads what the sums start from.
macro_rules! load_sums {
    (2) => {
        "tileloadd tmm0, [{start} + {start_stride}*1]
        tileloadd tmm1, [{start} + {start_stride}*1 + 64]
        tileloadd tmm2, [{start_below} + {start_stride}*1]
        tileloadd tmm3, [{start_below} + {start_stride}*1 + 64]"
    };
    (1) => {
        "# {start_below}
        tileloadd tmm0, [{start} + {start_stride}*1]
        tileloadd tmm1, [{start} + {start_stride}*1 + 64]"
    };
}

/// Stores the sums.
macro_rules! store_sums {
    (2) => {
        "tilestored [{target} + {stride}*1], tmm0
        tilestored [{target} + {stride}*1 + 64], tmm1
        tilestored [{target_below} + {stride}*1], tmm2
        tilestored [{target_below} + {stride}*1 + 64], tmm3"
    };
    (1) => {
        "# {target_below}
        tilestored [{target} + {stride}*1], tmm0
        tilestored [{target} + {stride}*1 + 64], tmm1"
    };
}

/// A function that multiplies, for a height and a number of pieces. The pairs of pieces are walked so that from one to the
/// next only one side is loaded.
macro_rules! kernel {
    ($name:ident, $height:tt, $pieces:literal, [$($part:expr),+]) => {
        /// # Safety
        /// As [`Tiles::multiply`], of this height and number of pieces, for as many steps.
        pub(super) unsafe fn $name(x: &[Line], w: &[Line], steps: usize, block: &Block) {
            let (start_stride, stride) = (4 * block.start_stride, 4 * block.stride);
            // SAFETY: see above; the tiles are set up for 16 rows of 64 bytes.
            unsafe {
                asm!(
                    load_sums!($height),
                    "2:",
                    $($part,)+
                    "add {x}, {x_step}",
                    "add {w}, {w_step}",
                    "dec {steps}",
                    "jnz 2b",
                    store_sums!($height),
                    x = inout(reg) x.as_ptr() => _,
                    w = inout(reg) w.as_ptr() => _,
                    steps = inout(reg) steps => _,
                    next = inout(reg) block.next => _,
                    x_step = const MOST_PIECES * PIECE_LINES * size_of::<Line>(),
                    w_step = const $pieces * PIECE_LINES * size_of::<Line>(),
                    line = in(reg) size_of::<Line>(),
                    start = in(reg) block.start,
                    start_below = in(reg) block.start.wrapping_byte_add(TILE * start_stride),
                    start_stride = in(reg) start_stride,
                    target = in(reg) block.target,
                    target_below = in(reg) block.target.wrapping_byte_add(TILE * stride),
                    stride = in(reg) stride,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

/// The kernels for one height. With `x0 + x1 + x2` and `w0 + w1 + w2`, left out are x1 w2, x2 w1 and x2 w2.
macro_rules! kernels {
    ($module:ident, $height:tt) => {
        mod $module {
            use super::*;

            kernel!(
                one,
                $height,
                1,
                [
                    x!($height, 2),
                    w!(0),
                    add!($height),
                    x!($height, 1),
                    add!($height),
                    x!($height, 0),
                    add!($height)
                ]
            );
            kernel!(
                two,
                $height,
                2,
                [
                    x!($height, 2),
                    w!(0),
                    add!($height),
                    x!($height, 0),
                    add!($height),
                    w!(1),
                    add!($height),
                    x!($height, 1),
                    add!($height),
                    w!(0),
                    add!($height)
                ]
            );
            kernel!(
                three,
                $height,
                3,
                [
                    x!($height, 2),
                    w!(0),
                    add!($height),
                    x!($height, 0),
                    add!($height),
                    w!(2),
                    add!($height),
                    w!(1),
                    add!($height),
                    x!($height, 1),
                    add!($height),
                    w!(0),
                    add!($height)
                ]
            );
        }
    };
}

kernels!(two_high, 2);
kernels!(one_high, 1);
