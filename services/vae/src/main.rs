//! The `cogwheel-vae` process.

fn main() {
    cogwheel_service::leave(cogwheel_service::run_process(
        "cogwheel-vae",
        "Turns latents into frames, chunk by chunk",
        cogwheel_vae::run,
    ))
}
