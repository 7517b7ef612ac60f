//! The `cogwheel-text-encoder` process.

fn main() {
    cogwheel_service::leave(cogwheel_service::run_process(
        "cogwheel-text-encoder",
        "Turns prompts into embeddings",
        cogwheel_text_encoder::run,
    ))
}
