//! TLS of listeners and of clients, by rustls with ring.

mod client;
mod pem;
mod server;

pub(crate) use client::{ClientTls, client_tls};
pub use server::TlsArgs;
pub(crate) use server::{ServerTls, names_of};
