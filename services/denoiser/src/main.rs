//! The `cogwheel-denoiser` process.

fn main() {
    cogwheel_service::leave(cogwheel_service::run_process(
        "cogwheel-denoiser",
        "Turns embeddings into latents: the transformer and the sampling loop",
        cogwheel_denoiser::run,
    ))
}
