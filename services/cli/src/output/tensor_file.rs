use std::path::{Path, PathBuf};

use cogwheel_api::tensor::v1::{DataType, TensorHeader, TensorPart, tensor_part::Part};

use super::WriteError;
use super::pending::PendingFile;

/// One fp32 tensor in a safetensors file, written as its bytes arrive: never held in memory.
///
/// It may arrive in several tensors of the same name, which follow each other along the first axis.
#[derive(Debug)]
pub struct TensorFile {
    file: PendingFile,
    name: &'static str,
    shape: Vec<u64>,
    /// Rows of the first axis that were not announced yet.
    rows_left: u64,
    /// Bytes that were announced and have not arrived yet.
    bytes_left: u64,
}

impl TensorFile {
    /// Starts a file with the tensor `name` of this shape in fp32.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Contract`] for a shape of no rank or beyond 64 bits.
    pub fn create(path: &Path, name: &'static str, shape: Vec<u64>) -> Result<Self, WriteError> {
        let (Some(&rows), Some(bytes)) = (shape.first(), byte_length(&shape)) else {
            return Err(WriteError::contract("a tensor that fits a file", format!("{shape:?}")));
        };
        let mut file = PendingFile::create(path)
            .map_err(|source| WriteError::Io { path: path.to_path_buf(), source })?;
        file.write(&file_header(name, &shape, bytes))?;
        Ok(Self { file, name, shape, rows_left: rows, bytes_left: 0 })
    }

    /// Writes the next part.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Contract`] for anything but the parts of this tensor.
    pub fn push(&mut self, part: TensorPart) -> Result<(), WriteError> {
        match part.part {
            Some(Part::Header(header)) => self.start(&header),
            Some(Part::Chunk(chunk)) => {
                match self.bytes_left.checked_sub(chunk.len() as u64) {
                    Some(left) => self.bytes_left = left,
                    None => {
                        let expected = format!("{} more bytes of '{}'", self.bytes_left, self.name);
                        return Err(WriteError::contract(expected, chunk.len()));
                    }
                }
                self.file.write(&chunk)
            }
            None => Err(WriteError::contract("a part of a tensor", "an empty message")),
        }
    }

    /// Whether every byte is there.
    pub fn is_whole(&self) -> bool {
        self.rows_left == 0 && self.bytes_left == 0
    }

    /// Puts the whole file in its place.
    ///
    /// # Errors
    /// [`WriteError::Contract`] when parts are missing; [`WriteError::Io`].
    pub fn finish(self) -> Result<PathBuf, WriteError> {
        if !self.is_whole() {
            let expected = format!("'{}' of {:?}", self.name, self.shape);
            let found = format!("{} rows and {} bytes less", self.rows_left, self.bytes_left);
            return Err(WriteError::contract(expected, found));
        }
        self.file.commit()
    }

    fn start(&mut self, header: &TensorHeader) -> Result<(), WriteError> {
        let fits = header.name == self.name
            && header.dtype == i32::from(DataType::F32)
            && header.shape.get(1..) == self.shape.get(1..)
            && byte_length(&header.shape) == Some(header.byte_length)
            && self.bytes_left == 0;
        let rows = header.shape.first().and_then(|&rows| self.rows_left.checked_sub(rows));
        let (true, Some(rows_left)) = (fits, rows) else {
            let expected = format!("'{}' of {:?} in F32", self.name, self.shape);
            let found = format!(
                "'{}' of {:?}, dtype {}, in {} bytes",
                header.name, header.shape, header.dtype, header.byte_length
            );
            return Err(WriteError::contract(expected, found));
        };
        (self.rows_left, self.bytes_left) = (rows_left, header.byte_length);
        Ok(())
    }
}

/// Bytes of an fp32 tensor.
fn byte_length(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(size_of::<f32>() as u64, |bytes, &dim| bytes.checked_mul(dim))
}

/// What precedes the data: the length of a JSON text, and the text, padded so that the data is
/// aligned to 8 bytes (the safetensors format).
fn file_header(name: &str, shape: &[u64], bytes: u64) -> Vec<u8> {
    let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [0, bytes] });
    let mut text = serde_json::json!({ name: entry }).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text);
    header
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cogwheel_api::tensor_parts;
    use cogwheel_tensor::Tensor;
    use safetensors::SafeTensors;

    use super::*;

    fn chunk(rows: usize, first: f32) -> Tensor {
        let values = (0..rows * 12).map(|index| first + index as f32).collect();
        Tensor::from_f32([rows, 2, 2, 3], values).unwrap()
    }

    #[test]
    fn tensors_that_follow_each_other_become_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.safetensors");
        let mut file = TensorFile::create(&path, "frames", vec![3, 2, 2, 3]).unwrap();
        for tensor in [chunk(1, 0.0), chunk(2, 12.0)] {
            for part in tensor_parts("frames", &tensor) {
                file.push(part).unwrap();
            }
        }
        assert_eq!(file.finish().unwrap(), path);
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let frames = tensors.tensor("frames").unwrap();
        assert_eq!(frames.shape(), [3, 2, 2, 3]);
        assert_eq!(frames.data(), chunk(3, 0.0).bytes().as_ref());
        assert_eq!(tensors.len(), 1);
    }

    #[test]
    fn another_tensor_too_many_and_too_few_parts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.safetensors");
        let create = || TensorFile::create(&path, "frames", vec![3, 2, 2, 3]).unwrap();
        let parts = |name, rows| tensor_parts(name, &chunk(rows, 0.0)).collect::<Vec<_>>();

        let other = parts("latents", 3).remove(0);
        assert!(matches!(create().push(other), Err(WriteError::Contract { .. })));
        let too_many = parts("frames", 4).remove(0);
        assert!(matches!(create().push(too_many), Err(WriteError::Contract { .. })));
        let stray = TensorPart { part: Some(Part::Chunk(Bytes::from_static(b"1234"))) };
        assert!(matches!(create().push(stray), Err(WriteError::Contract { .. })));
        let mut file = create();
        for part in parts("frames", 2) {
            file.push(part).unwrap();
        }
        assert!(matches!(file.finish(), Err(WriteError::Contract { .. })));
        let huge = TensorFile::create(&path, "frames", vec![u64::MAX, 2]);
        assert!(matches!(huge, Err(WriteError::Contract { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
