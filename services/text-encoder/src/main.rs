//! The `cogwheel-text-encoder` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cogwheel_service::run_process(
        "cogwheel-text-encoder",
        "Turns prompts into embeddings",
        cogwheel_text_encoder::run,
    )
}
