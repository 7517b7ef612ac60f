//! cogwheel-api
