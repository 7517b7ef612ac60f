//! The `cogwheel-orchestrator` process.

use std::process::ExitCode;

fn main() -> ExitCode {
    cogwheel_service::run_process(
        "cogwheel-orchestrator",
        "Serves the public API: checks requests, runs the chain of stages, encodes videos",
        cogwheel_orchestrator::run,
    )
}
