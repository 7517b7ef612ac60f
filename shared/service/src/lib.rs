//! cogwheel-service
