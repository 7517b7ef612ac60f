//! cogwheel-graph
