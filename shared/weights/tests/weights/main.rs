//! Behaviour of weights over real files, written with the reference implementation.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod check;
mod conversion;
mod digest;
mod files;
mod open;
mod shards;
