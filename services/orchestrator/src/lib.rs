//! cogwheel-orchestrator
