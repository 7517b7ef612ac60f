//! The `cogwheel-orchestrator` process.

fn main() {
    cogwheel_service::leave(cogwheel_service::run_process(
        "cogwheel-orchestrator",
        "Serves the public API: checks requests, runs the chain of stages, encodes videos",
        cogwheel_orchestrator::run,
    ))
}
