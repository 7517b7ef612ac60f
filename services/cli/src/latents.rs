//! Latents that a user brings.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::{Weights, WeightsError};

/// Name of the tensor.
pub const NAME: &str = "latents";

/// Why a file's latents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LatentsError {
    /// The file is missing, malformed or has no such tensor.
    #[error("--initial-latents: {0}")]
    File(#[from] WeightsError),
    /// The tensor is of another kind.
    #[error(
        "--initial-latents {}: tensor '{NAME}': expected F32 [frames, channels, height, width], found {found}",
        path.display()
    )]
    Kind {
        /// The file.
        path: PathBuf,
        /// Its dtype and shape.
        found: String,
    },
    /// The tensor is larger than a request.
    #[error("--initial-latents {}: expected at most {max} bytes (--max-request-bytes), found {found}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What a request may hold.
        max: usize,
        /// Bytes of the tensor.
        found: usize,
    },
    /// A value would spread over the whole video.
    #[error("--initial-latents {}: expected finite numbers, found {found} at {index:?}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// NaN or an infinity.
        found: f32,
        /// Where: frame, channel, row, column.
        index: [usize; 4],
    },
}

/// Reads the tensor `latents` [frames, channels, height, width], fp32, of a safetensors file. Whether
/// the shape is the video's, the model has to say. A request holds `max` bytes of it.
///
/// # Errors
/// A [`LatentsError`] that names file, expected and found.
pub fn read(path: &Path, max: usize) -> Result<Tensor, LatentsError> {
    let file = Weights::open_file(path)?;
    let mapped = file.tensor(NAME)?;
    let &[_, channels, height, width] = mapped.shape() else {
        return Err(kind(path, &mapped));
    };
    if mapped.dtype() != DType::F32 || mapped.is_empty() {
        return Err(kind(path, &mapped));
    }
    let found = mapped.bytes().len();
    if found > max {
        return Err(LatentsError::TooLarge { path: path.into(), max, found });
    }
    // A copy, because the file may change while the video is made.
    let bytes = Bytes::copy_from_slice(mapped.bytes());
    let latents =
        Tensor::new(DType::F32, mapped.shape(), bytes).map_err(|_| kind(path, &mapped))?;
    let values = latents.as_f32().map_err(|_| kind(path, &mapped))?;
    if let Some(flat) = values.iter().position(|value| !value.is_finite()) {
        let row = flat / width;
        let plane = row / height;
        let index = [plane / channels, plane % channels, row % height, flat % width];
        return Err(LatentsError::NotFinite { path: path.into(), found: values[flat], index });
    }
    drop(values);
    Ok(latents)
}

fn kind(path: &Path, tensor: &Tensor) -> LatentsError {
    let found = format!("{} {:?}", tensor.dtype(), tensor.shape());
    LatentsError::Kind { path: path.into(), found }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn file(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> tempfile::NamedTempFile {
        let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let bytes = safetensors::serialize([(name, view)], None).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[track_caller]
    fn refused(file: &tempfile::NamedTempFile, expected: &str) {
        let error = read(file.path(), 4096).unwrap_err().to_string();
        assert!(error.starts_with("--initial-latents"), "{error}");
        assert!(error.contains(expected), "expected '{expected}' in '{error}'");
    }

    #[test]
    fn latents_are_read_as_they_stand() {
        let values: Vec<f32> = (0..16).map(|value| value as f32).collect();
        let file = file(NAME, Dtype::F32, &[2, 2, 2, 2], &floats(&values));
        let latents = read(file.path(), 64).unwrap();
        assert_eq!(latents, Tensor::from_f32([2, 2, 2, 2], values).unwrap());
    }

    #[test]
    fn another_name_dtype_rank_or_nothing_is_refused() {
        let data = floats(&[0.0; 16]);
        refused(&file("noise", Dtype::F32, &[2, 2, 2, 2], &data), "expected tensor 'latents'");
        refused(&file(NAME, Dtype::F16, &[4, 2, 2, 2], &data), "found F16 [4, 2, 2, 2]");
        refused(&file(NAME, Dtype::F32, &[1, 2, 2, 2, 2], &data), "found F32 [1, 2, 2, 2, 2]");
        refused(&file(NAME, Dtype::F32, &[0, 2, 2, 2], &[]), "found F32 [0, 2, 2, 2]");
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "no tensors").unwrap();
        refused(&text, "expected");
        assert!(read(Path::new("missing.safetensors"), 4096).is_err());
        assert!(read(Path::new("/"), 4096).is_err());
    }

    #[test]
    fn what_no_request_can_hold_is_refused() {
        use std::io::Write as _;
        // 64 MiB of nothing: a file with a hole.
        let entry = r#""dtype":"F32","shape":[1,16,1024,1024],"data_offsets":[0,67108864]"#;
        let header = format!("{{\"latents\":{{{entry}}}}}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.as_file().set_len(8 + header.len() as u64 + (64 << 20)).unwrap();
        let expected = "expected at most 4096 bytes (--max-request-bytes), found 67108864";
        refused(&file, expected);
    }

    #[test]
    fn a_value_that_is_not_finite_is_told_with_its_place() {
        let mut values = [0.0; 24];
        values[23] = f32::NAN;
        refused(&file(NAME, Dtype::F32, &[2, 3, 2, 2], &floats(&values)), "NaN at [1, 2, 1, 1]");
        values[6] = f32::NEG_INFINITY;
        refused(&file(NAME, Dtype::F32, &[2, 3, 2, 2], &floats(&values)), "-inf at [0, 1, 1, 0]");
    }
}
