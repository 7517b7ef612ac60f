//! Why a file under the name of safetensors is not read, in words for whoever has an adapter.

use std::{fs::File, io::Read as _, path::Path};

use cogwheel_weights::WeightsError;

use crate::{AdapterError, config::quote};

/// The reason as one of an adapter's: what can be mended by saving the file again says so.
pub(super) fn reason(path: &Path, error: WeightsError) -> AdapterError {
    match error {
        WeightsError::UnsupportedDType { tensor, found, .. } => {
            AdapterError::DType { path: path.to_path_buf(), tensor: quote(tensor), found }
        }
        // Only what is no safetensors is looked at: a header's length can begin as a pickle does.
        WeightsError::Malformed { .. } if is_pickle(path) => {
            AdapterError::Pickle { path: path.to_path_buf() }
        }
        other => other.into(),
    }
}

/// Whether a file begins as torch.save has it: a zip archive, before torch 1.6 a pickle of protocol 2 or later. The same
/// bytes with zeros behind them are the length of a header that was cut off.
fn is_pickle(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match start {
        _ if read.is_err() => false,
        [b'P', b'K', 3, 4, ..] => true,
        [0x80, 2..=5, rest @ ..] => rest != [0; 6],
        _ => false,
    }
}
