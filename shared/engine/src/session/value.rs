use std::{ffi::c_void, ptr::NonNull};

use bytes::Bytes;
use cogwheel_tensor::{DType, Tensor};
use half::{bf16, f16};
use ort::{
    AsPointer as _,
    memory::{AllocationDevice, Allocator, MemoryInfo},
    session::{OutputSelector, SessionInputValue},
    value::{DynTensor, DynValue, PrimitiveTensorElementType, TensorElementType, ValueType},
};

use crate::EngineError;

/// What a graph is given under one name; neither form is copied.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A tensor of the caller's.
    Tensor(&'a Tensor),
    /// What an earlier run gave.
    Output(&'a Output),
}

/// What many runs of a session are given, where that computes: brought to a GPU once.
#[derive(Debug)]
pub enum Placed {
    /// In the process's memory, where the CPU computes.
    Host(Tensor),
    /// In the GPU's.
    Device(Output),
}

impl<'a> From<&'a Placed> for Input<'a> {
    fn from(placed: &'a Placed) -> Self {
        match placed {
            Placed::Host(tensor) => Self::Tensor(tensor),
            Placed::Device(output) => Self::Output(output),
        }
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl<'a> From<&'a Output> for Input<'a> {
    fn from(output: &'a Output) -> Self {
        Self::Output(output)
    }
}

impl<'a> Input<'a> {
    /// The value to hand to ONNX Runtime, which reads it during one run.
    pub(super) fn value(self) -> Result<SessionInputValue<'a>, EngineError> {
        match self {
            Self::Output(output) => Ok((&output.value).into()),
            Self::Tensor(tensor) if is_aligned(tensor) => {
                // SAFETY: the tensor is borrowed for 'a, which the value's use cannot outlast.
                Ok(unsafe { over(tensor) }?.into())
            }
            Self::Tensor(tensor) => copied(tensor),
        }
    }
}

/// What a run gave under one name: ONNX Runtime's own memory, which an [`Input`] may refer to.
#[derive(Debug)]
pub struct Output {
    name: String,
    value: DynValue,
}

impl Output {
    pub(super) fn new(name: &str, value: DynValue) -> Self {
        Self { name: name.to_owned(), value }
    }

    /// Room for what a run gives under this name, fp32 of this shape; see [`crate::Session::run_into`].
    ///
    /// # Errors
    /// What ONNX Runtime says about the memory.
    pub fn room(name: &str, shape: &[usize]) -> Result<Self, EngineError> {
        let shape: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        let value = ort::value::Tensor::<f32>::new(&Allocator::default(), shape)
            .map_err(EngineError::of("making room for an output"))?;
        Ok(Self::new(name, value.into_dyn()))
    }

    /// A tensor where a session computes, for many of its runs.
    pub(super) fn placed(tensor: &Tensor) -> Result<Self, EngineError> {
        let value = brought(&aligned(tensor.clone()), AllocationDevice::CUDA)?;
        Ok(Self::new("", value.into_dyn()))
    }

    pub(super) fn offer(outputs: OutputSelector, room: Self) -> OutputSelector {
        outputs.preallocate(room.name, room.value)
    }

    /// Name of the output in the graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values as a tensor, which takes over the memory without copying it.
    ///
    /// # Errors
    /// [`EngineError::OutputType`] when the elements are of a type that tensors do not have.
    pub fn into_tensor(self) -> Result<Tensor, EngineError> {
        let unfit = |value: &DynValue| EngineError::OutputType {
            name: self.name.clone(),
            found: value.dtype().to_string(),
        };
        let ValueType::Tensor { ty, shape, .. } = self.value.dtype() else {
            return Err(unfit(&self.value));
        };
        let Some(dtype) = dtype(*ty) else { return Err(unfit(&self.value)) };
        let shape: Vec<usize> =
            shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect();
        let bytes = match dtype {
            DType::F32 => owned::<f32>(self.value),
            DType::F16 => owned::<f16>(self.value),
            DType::BF16 => owned::<bf16>(self.value),
            DType::I64 => owned::<i64>(self.value),
            DType::I32 => owned::<i32>(self.value),
            DType::U8 => owned::<u8>(self.value),
            DType::I8 => owned::<i8>(self.value),
        }?;
        Ok(Tensor::new(dtype, shape, bytes)?)
    }
}

/// Bytes that keep the value they lie in.
fn owned<T>(value: DynValue) -> Result<Bytes, EngineError>
where
    T: PrimitiveTensorElementType + bytemuck::NoUninit + Send + Sync,
{
    struct Owner<T> {
        value: DynValue,
        element: std::marker::PhantomData<T>,
    }
    impl<T: PrimitiveTensorElementType + bytemuck::NoUninit> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            let (_, values) = self
                .value
                .try_extract_tensor::<T>()
                .expect("the element type was read from this very value");
            bytemuck::cast_slice(values)
        }
    }
    value.try_extract_tensor::<T>().map_err(EngineError::of("reading an output"))?;
    Ok(Bytes::from_owner(Owner::<T> { value, element: std::marker::PhantomData }))
}

/// A value that reads the tensor's own bytes.
///
/// # Safety
/// The tensor's bytes must outlive every use of the value.
pub(super) unsafe fn over(tensor: &Tensor) -> Result<DynValue, EngineError> {
    debug_assert!(is_aligned(tensor));
    let shape: Vec<i64> = tensor.shape().iter().map(|&dim| dim as i64).collect();
    let data = tensor.bytes().as_ptr().cast::<c_void>().cast_mut();
    let element = element_type(tensor.dtype());
    // SAFETY: the byte length is the shape's by `Tensor`'s invariant, and ONNX Runtime only reads the data of inputs and
    // initializers; that it lives long enough is the caller's.
    unsafe { wrapped(&MemoryInfo::default(), data, tensor.bytes().len(), &shape, element) }
}

/// A copy of the tensor in the memory of a device, which is ONNX Runtime's.
pub(super) fn brought(
    tensor: &Tensor,
    device: AllocationDevice<'_>,
) -> Result<DynTensor, EngineError> {
    let failed = EngineError::of("bringing a tensor to a device");
    // SAFETY: the value is used for the copy below alone.
    let value = unsafe { over(tensor) }?;
    let value: DynTensor = value.downcast().map_err(&failed)?;
    value.to(device, 0).map_err(&failed)
}

/// A value that reads another's memory, wherever that is.
///
/// # Safety
/// The owner must outlive every use of the value.
pub(super) unsafe fn borrowed(owner: &DynTensor) -> Result<DynValue, EngineError> {
    let failed = || EngineError::of("wrapping a tensor")(ort::Error::new("its size is unknown"));
    let length = owner.size().ok_or_else(failed)?;
    let data = owner.data_ptr().cast_mut();
    // SAFETY: memory, length and shape are the owner's, which lives long enough by the caller's word.
    unsafe { wrapped(owner.memory_info(), data, length, owner.shape(), *owner.data_type()) }
}

/// A value over memory that is not ONNX Runtime's.
///
/// # Safety
/// `data` points to `length` bytes in `memory`, as many as the shape's elements have, and outlives every use of the value.
unsafe fn wrapped(
    memory: &MemoryInfo<'_>,
    data: *mut c_void,
    length: usize,
    shape: &[i64],
    element: TensorElementType,
) -> Result<DynValue, EngineError> {
    let mut value = std::ptr::null_mut();
    // SAFETY: all other pointers are valid for this call, which copies what it keeps; the data is as the caller says.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            data,
            length,
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &mut value,
        )
    };
    let failed = EngineError::of("wrapping a tensor");
    // SAFETY: the status comes from the call above and is used up here.
    unsafe { ort::Error::result_from_status(status) }.map_err(&failed)?;
    let value = NonNull::new(value)
        .ok_or_else(|| failed(ort::Error::new("a value was promised and not given")))?;
    // SAFETY: a tensor value that was just made, and that nothing else owns.
    Ok(unsafe { DynValue::from_ptr(value, Some(&Allocator::default())) })
}

/// The tensor, its bytes moved if they do not lie as its elements need.
pub(super) fn aligned(tensor: Tensor) -> Tensor {
    if is_aligned(&tensor) {
        return tensor;
    }
    let words: Vec<u64> = bytemuck::pod_collect_to_vec(tensor.bytes());
    let length = tensor.bytes().len();
    let bytes = Bytes::from_owner(Words(words)).slice(..length);
    Tensor::new(tensor.dtype(), tensor.shape(), bytes).expect("the same bytes fill the same shape")
}

struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn is_aligned(tensor: &Tensor) -> bool {
    tensor.bytes().as_ptr().align_offset(tensor.dtype().size()) == 0
}

/// An owned copy, for bytes that ONNX Runtime could not read where they lie.
fn copied<'a>(tensor: &Tensor) -> Result<SessionInputValue<'a>, EngineError> {
    fn copy<'a, T>(tensor: &Tensor) -> Result<SessionInputValue<'a>, EngineError>
    where
        T: PrimitiveTensorElementType
            + bytemuck::AnyBitPattern
            + bytemuck::NoUninit
            + std::fmt::Debug,
    {
        let values: Vec<T> = bytemuck::pod_collect_to_vec(tensor.bytes());
        let value = ort::value::Tensor::from_array((tensor.shape(), values))
            .map_err(EngineError::of("copying an input"))?;
        Ok(value.into())
    }
    match tensor.dtype() {
        DType::F32 => copy::<f32>(tensor),
        DType::F16 => copy::<f16>(tensor),
        DType::BF16 => copy::<bf16>(tensor),
        DType::I64 => copy::<i64>(tensor),
        DType::I32 => copy::<i32>(tensor),
        DType::U8 => copy::<u8>(tensor),
        DType::I8 => copy::<i8>(tensor),
    }
}

fn element_type(dtype: DType) -> TensorElementType {
    match dtype {
        DType::F32 => TensorElementType::Float32,
        DType::F16 => TensorElementType::Float16,
        DType::BF16 => TensorElementType::Bfloat16,
        DType::I64 => TensorElementType::Int64,
        DType::I32 => TensorElementType::Int32,
        DType::U8 => TensorElementType::Uint8,
        DType::I8 => TensorElementType::Int8,
    }
}

fn dtype(element: TensorElementType) -> Option<DType> {
    Some(match element {
        TensorElementType::Float32 => DType::F32,
        TensorElementType::Float16 => DType::F16,
        TensorElementType::Bfloat16 => DType::BF16,
        TensorElementType::Int64 => DType::I64,
        TensorElementType::Int32 => DType::I32,
        TensorElementType::Uint8 => DType::U8,
        TensorElementType::Int8 => DType::I8,
        _ => return None,
    })
}
