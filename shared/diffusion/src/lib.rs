//! The numbers around CogVideoX's networks, as pure functions: noise, schedulers, guidance, positions, latent
//! geometry and the post-processing of frames. Nothing here knows a tensor type, a file or a runtime.

pub mod frames;
pub mod geometry;
pub mod guidance;
pub mod noise;
pub mod positions;
pub mod scheduler;
