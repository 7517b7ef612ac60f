//! Who is let in, by what, and how many: TLS, certificates, tokens and the bounds of connections, over real sockets.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod access;
mod certificates;
mod connections;
mod door;
mod tls;
