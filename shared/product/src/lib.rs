//! Linear layers: in fp32 on matrix units that multiply bf16 (Intel's AMX), and in bytes.
//!
//! An fp32 number is the exact sum of three bf16 numbers, eight bits of its mantissa each, and a product of two such sums
//! is the sum of the products of their pieces. The unit multiplies pieces exactly and adds up in fp32; pairs of pieces
//! whose product is below 2^-24 of the whole, where fp32 itself rounds, are left out. What comes out is as near to the
//! true product as a plain fp32 sum, at a multiple of its speed. After Henry, Tang and Heinecke, *Leveraging the bfloat16
//! Artificial Intelligence Datatype For Higher-Precision Computations* (ARITH 2019).
//!
//! Start at [`MatrixUnit::find`], which says whether this processor has such a unit, and [`PackedWeight::new`]; then
//! [`Linear::apply`]. Pure numbers: no runtime, no threads of its own but to pack.
//!
//! Of [`QuantizedWeight`]s each output is quantized by its largest weight, of the activations each row by its least and
//! greatest value while it is multiplied ([`QuantizedLinear`]): a quarter of the memory, and of the time on processors
//! that multiply bytes (AVX-512 VNNI, AVX-VNNI), for an error of about a hundredth. With AVX2 alone it is less memory and
//! no more time; what has none of these takes plain Rust, and longer than in fp32.

mod error;
mod layout;
mod linear;
mod packed;
mod quantized;
mod shared_slice;
mod unit;

pub use error::ProductError;
pub use linear::{Linear, Scratch, Threads};
pub use packed::PackedWeight;
pub use quantized::{QuantizedLinear, QuantizedWeight};
pub use unit::MatrixUnit;
