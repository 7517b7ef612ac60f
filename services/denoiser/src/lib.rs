//! cogwheel-denoiser
