//! Behaviour of adapters over real files: those of diffusers and PEFT in tests/data/adapters, and others made from them.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod damage;
mod description;
mod files;
mod fixtures;
mod layouts;
mod merging;
mod recipes;
mod refusals;
mod scales;
