//! cogwheel-vae
