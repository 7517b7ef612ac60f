//! cogwheel-models
