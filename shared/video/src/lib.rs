//! cogwheel-video
