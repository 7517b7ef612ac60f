//! The wire contract: code generated from `protos/`, and conversions between messages and tensors.
//!
//! The generated code is committed under `src/generated/`; `tests/generated.rs` holds it to the
//! protos and rewrites it on `make proto`.

mod tensors;

pub use tensors::{PartError, TensorInbox, tensor_message, tensor_parts};

/// The descriptors of every package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor.bin");

/// Prompts to embeddings.
pub mod textencoder {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.textencoder.v1.rs");
    }
}

/// Embeddings to latents.
pub mod denoiser {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.denoiser.v1.rs");
    }
}

/// Latents to frames.
pub mod vae {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.vae.v1.rs");
    }
}

/// How busy a stage is.
pub mod stage {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.stage.v1.rs");
    }
}

/// The public API.
pub mod generation {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.generation.v1.rs");
    }
}

/// LoRA adapters.
pub mod adapter {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.adapter.v1.rs");
    }
}

/// Tensors on the wire.
pub mod tensor {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
        include!("generated/cogwheel.tensor.v1.rs");
    }
}
