//! cogwheel-engine
