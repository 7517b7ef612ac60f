//! The `cogwheel-denoiser` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cogwheel_service::run_process(
        "cogwheel-denoiser",
        "Turns embeddings into latents: the transformer and the sampling loop",
        cogwheel_denoiser::run,
    )
}
