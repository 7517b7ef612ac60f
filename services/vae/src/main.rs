//! The `cogwheel-vae` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cogwheel_service::run_process(
        "cogwheel-vae",
        "Turns latents into frames, chunk by chunk",
        cogwheel_vae::run,
    )
}
