//! cogwheel-text-encoder
