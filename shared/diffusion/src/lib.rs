//! cogwheel-diffusion
