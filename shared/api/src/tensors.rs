use std::collections::HashMap;

use bytes::Bytes;
use cogwheel_tensor::{Assembler, DType, MAX_RANK, Tensor, TensorError, TensorHeader, chunks};

use crate::tensor::v1::{self, DataType, TensorPart, tensor_part::Part};

/// Bytes of one chunk: large enough that headers cost nothing, small enough to stay well under
/// gRPC's usual 4 MiB message.
const CHUNK_BYTES: usize = 1 << 20;

/// Why messages are not the tensors they should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PartError {
    /// The dtype is absent or one this build does not know.
    #[error("tensor '{name}' has no known dtype (found {found})")]
    DType {
        /// Name in the header.
        name: String,
        /// The enum's number as received.
        found: i32,
    },
    /// The header contradicts itself.
    #[error("tensor '{name}' takes {expected} bytes by dtype and shape, its header says {found}")]
    ByteLength {
        /// Name in the header.
        name: String,
        /// What dtype and shape take.
        expected: usize,
        /// What the header says.
        found: u64,
    },
    /// A chunk came before any header, or a message was empty.
    #[error("expected a tensor header, found {found}")]
    NoHeader {
        /// What came instead.
        found: &'static str,
    },
    /// A name that this call does not take, or one sent twice.
    #[error("tensor '{name}' is not expected here, or was sent twice (expected: {expected})")]
    Unexpected {
        /// Name in the header.
        name: String,
        /// Names that this call takes.
        expected: String,
    },
    /// A dimension is larger than this machine can address.
    #[error("tensor '{name}' has a dimension of {found}")]
    Dimension {
        /// Name in the header.
        name: String,
        /// The dimension.
        found: u64,
    },
    /// Too many or too few bytes, or more than the limit.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// The messages that carry `tensor` as `name`: a header, then its chunks, without copying.
pub fn tensor_parts(name: &str, tensor: &Tensor) -> impl Iterator<Item = TensorPart> + use<> {
    let header = TensorPart { part: Some(Part::Header(header_of(name, tensor))) };
    let chunks =
        chunks(tensor, CHUNK_BYTES).map(|chunk| TensorPart { part: Some(Part::Chunk(chunk)) });
    std::iter::once(header).chain(chunks)
}

/// `tensor` in one message.
pub fn tensor_message(name: &str, tensor: &Tensor) -> v1::Tensor {
    v1::Tensor { header: Some(header_of(name, tensor)), data: tensor.bytes().clone() }
}

impl v1::Tensor {
    /// The tensor that the message holds, and its name.
    ///
    /// # Errors
    /// [`PartError`] when header and data disagree.
    pub fn into_tensor(self) -> Result<(String, Tensor), PartError> {
        let header = self.header.ok_or(PartError::NoHeader { found: "data only" })?;
        let header = checked(header)?;
        let tensor = Tensor::new(header.dtype, header.shape, self.data)?;
        Ok((header.name, tensor))
    }
}

/// Collects the tensors of one stream, each at most once, under one byte limit for all.
#[derive(Debug)]
pub struct TensorInbox {
    expected: &'static [&'static str],
    bytes_left: usize,
    current: Option<Assembler>,
    complete: HashMap<String, Tensor>,
}

impl TensorInbox {
    /// Takes tensors of these names, of at most `limit` bytes together.
    pub fn new(expected: &'static [&'static str], limit: usize) -> Self {
        Self { expected, bytes_left: limit, current: None, complete: HashMap::new() }
    }

    /// Takes the next message; gives the tensor's name when it completes one.
    ///
    /// # Errors
    /// [`PartError`] for anything but the parts of an expected tensor, in order.
    pub fn push(&mut self, part: TensorPart) -> Result<Option<String>, PartError> {
        match part.part {
            Some(Part::Header(header)) => self.start(checked(header)?)?,
            Some(Part::Chunk(chunk)) => self.extend(&chunk)?,
            None => return Err(PartError::NoHeader { found: "an empty message" }),
        }
        let Some(tensor) = self.current.take_if(|current| current.is_complete()) else {
            return Ok(None);
        };
        let (name, tensor) = tensor.finish()?;
        self.complete.insert(name.clone(), tensor);
        Ok(Some(name))
    }

    /// Takes a complete tensor out.
    pub fn take(&mut self, name: &str) -> Option<Tensor> {
        self.complete.remove(name)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`TensorError::Chunks`] when a tensor was cut short.
    pub fn finish(&mut self) -> Result<(), PartError> {
        match self.current.take() {
            Some(cut) => Ok(cut.finish().map(drop)?),
            None => Ok(()),
        }
    }

    fn start(&mut self, header: TensorHeader) -> Result<(), PartError> {
        self.finish()?;
        let known = self.expected.contains(&header.name.as_str());
        if !known || self.complete.contains_key(&header.name) {
            let expected = self.expected.join(", ");
            return Err(PartError::Unexpected { name: header.name, expected });
        }
        let bytes = header.byte_length()?;
        self.current = Some(Assembler::new(header, self.bytes_left)?);
        self.bytes_left -= bytes;
        Ok(())
    }

    fn extend(&mut self, chunk: &Bytes) -> Result<(), PartError> {
        let current = self.current.as_mut().ok_or(PartError::NoHeader { found: "a chunk" })?;
        Ok(current.push(chunk)?)
    }
}

fn header_of(name: &str, tensor: &Tensor) -> v1::TensorHeader {
    v1::TensorHeader {
        name: name.to_owned(),
        dtype: data_type(tensor.dtype()).into(),
        shape: tensor.shape().iter().map(|&dim| dim as u64).collect(),
        byte_length: tensor.bytes().len() as u64,
    }
}

fn checked(header: v1::TensorHeader) -> Result<TensorHeader, PartError> {
    let name = header.name;
    let Some(dtype) = DataType::try_from(header.dtype).ok().and_then(dtype) else {
        return Err(PartError::DType { name, found: header.dtype });
    };
    if header.shape.len() > MAX_RANK {
        let found = header.shape.len();
        return Err(TensorError::Rank { name, limit: MAX_RANK, found }.into());
    }
    let mut shape = Vec::with_capacity(header.shape.len());
    for dim in header.shape {
        match usize::try_from(dim) {
            Ok(dim) => shape.push(dim),
            Err(_) => return Err(PartError::Dimension { name, found: dim }),
        }
    }
    let result = TensorHeader { name, dtype, shape };
    let expected = result.byte_length()?;
    if expected as u64 != header.byte_length {
        let (name, found) = (result.name, header.byte_length);
        return Err(PartError::ByteLength { name, expected, found });
    }
    Ok(result)
}

fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::F32,
        DType::F16 => DataType::F16,
        DType::BF16 => DataType::Bf16,
        DType::I64 => DataType::I64,
        DType::I32 => DataType::I32,
        DType::U8 => DataType::U8,
        DType::I8 => DataType::I8,
    }
}

fn dtype(data_type: DataType) -> Option<DType> {
    Some(match data_type {
        DataType::Unspecified => return None,
        DataType::F32 => DType::F32,
        DataType::F16 => DType::F16,
        DataType::Bf16 => DType::BF16,
        DataType::I64 => DType::I64,
        DataType::I32 => DType::I32,
        DataType::U8 => DType::U8,
        DataType::I8 => DType::I8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents() -> Tensor {
        let values = (0..700_000).map(|value| value as f32).collect();
        Tensor::from_f32([7, 100_000], values).unwrap()
    }

    #[test]
    fn a_tensor_is_the_same_after_the_wire() {
        let mut inbox = TensorInbox::new(&["latents"], 4_000_000);
        let mut completed = Vec::new();
        for part in tensor_parts("latents", &latents()) {
            completed.extend(inbox.push(part).unwrap());
        }
        assert_eq!(completed, ["latents"]);
        assert_eq!(inbox.take("latents"), Some(latents()));
        let whole = tensor_message("latents", &latents()).into_tensor().unwrap();
        assert_eq!(whole, ("latents".to_owned(), latents()));
    }

    #[test]
    fn an_unknown_a_second_and_a_too_large_tensor_are_refused() {
        let mut inbox = TensorInbox::new(&["latents"], 4_000_000);
        let error = inbox.push(tensor_parts("weights", &latents()).next().unwrap()).unwrap_err();
        assert!(matches!(error, PartError::Unexpected { .. }));
        for part in tensor_parts("latents", &latents()) {
            inbox.push(part).unwrap();
        }
        let error = inbox.push(tensor_parts("latents", &latents()).next().unwrap()).unwrap_err();
        assert!(matches!(error, PartError::Unexpected { .. }));
        let mut small = TensorInbox::new(&["latents"], 100);
        let error = small.push(tensor_parts("latents", &latents()).next().unwrap()).unwrap_err();
        assert!(matches!(error, PartError::Tensor(TensorError::TooLarge { .. })));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let mut header = header_of("latents", &latents());
        header.byte_length += 1;
        let mut inbox = TensorInbox::new(&["latents"], usize::MAX);
        let part = TensorPart { part: Some(Part::Header(header.clone())) };
        assert!(matches!(inbox.push(part), Err(PartError::ByteLength { .. })));
        header.shape = vec![1; 100_000];
        let part = TensorPart { part: Some(Part::Header(header.clone())) };
        let refused = PartError::Tensor(TensorError::Rank {
            name: "latents".into(),
            limit: MAX_RANK,
            found: 100_000,
        });
        assert_eq!(inbox.push(part), Err(refused));
        header.dtype = 99;
        let part = TensorPart { part: Some(Part::Header(header)) };
        assert!(matches!(inbox.push(part), Err(PartError::DType { found: 99, .. })));
    }

    #[test]
    fn chunks_without_a_header_and_a_cut_tensor_are_refused() {
        let mut inbox = TensorInbox::new(&["latents"], usize::MAX);
        let stray = TensorPart { part: Some(Part::Chunk(Bytes::from_static(b"1234"))) };
        assert_eq!(inbox.push(stray), Err(PartError::NoHeader { found: "a chunk" }));
        let empty = TensorPart { part: None };
        assert_eq!(inbox.push(empty), Err(PartError::NoHeader { found: "an empty message" }));
        for part in tensor_parts("latents", &latents()).take(2) {
            inbox.push(part).unwrap();
        }
        assert!(matches!(inbox.finish(), Err(PartError::Tensor(TensorError::Chunks { .. }))));
    }
}
