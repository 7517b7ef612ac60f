//! cogwheel-weights
