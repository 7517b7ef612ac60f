//! Parts of hostile and of good requests to the stages.

use cogwheel_api::denoiser::v1::{
    DenoiseHeader, DenoiseRequest, Sampling, Scheduler, VideoSize, denoise_request::Part,
};
use cogwheel_api::tensor::v1::{DataType, TensorHeader, TensorPart, tensor_part};
use cogwheel_api::tensor_parts;
use cogwheel_api::vae::v1::{EncodeHeader, EncodePurpose, EncodeRequest, encode_request};
use cogwheel_tensor::{DType, Tensor};

/// `[tokens, width]` of an embedding of the `sincos` checkpoint.
const EMBEDDING: [usize; 2] = [16, 24];

/// The header of one guided step of the smallest video that the `sincos` checkpoint is made for.
pub fn denoise_header() -> DenoiseHeader {
    DenoiseHeader {
        sampling: Some(Sampling {
            num_inference_steps: 1,
            guidance_scale: 6.0,
            scheduler: Scheduler::Ddim.into(),
            dynamic_cfg: false,
            seed: 1,
        }),
        size: Some(VideoSize { num_frames: 9, width: 64, height: 48 }),
        adapters: Vec::new(),
        pinned: false,
        strength: None,
        values_drawn: 0,
    }
}

/// A header as a part of a request.
pub fn header_part(header: DenoiseHeader) -> DenoiseRequest {
    DenoiseRequest { part: Some(Part::Header(header)) }
}

/// A part of a tensor as a part of a request.
pub fn denoise_part(part: TensorPart) -> DenoiseRequest {
    DenoiseRequest { part: Some(Part::Tensor(part)) }
}

/// A whole tensor as parts of a request.
pub fn denoise_parts(name: &str, tensor: &Tensor) -> Vec<DenoiseRequest> {
    tensor_parts(name, tensor).map(denoise_part).collect()
}

/// An embedding that the `sincos` checkpoint takes.
pub fn embedding() -> Tensor {
    zeros([1, EMBEDDING[0], EMBEDDING[1]])
}

/// An fp32 tensor of zeros.
pub fn zeros(shape: impl Into<Vec<usize>>) -> Tensor {
    let shape = shape.into();
    let count = shape.iter().product();
    Tensor::from_f32(shape, vec![0.0; count]).unwrap()
}

/// A request of a header and both embeddings.
pub fn denoise_request(header: DenoiseHeader) -> Vec<DenoiseRequest> {
    let mut parts = vec![header_part(header)];
    parts.extend(denoise_parts("prompt_embeds", &embedding()));
    parts.extend(denoise_parts("negative_prompt_embeds", &embedding()));
    parts
}

/// A tensor's header, whether or not it agrees with itself.
pub fn tensor_header(name: &str, dtype: i32, shape: &[u64], byte_length: u64) -> TensorPart {
    let (name, shape) = (name.to_owned(), shape.to_vec());
    let header = TensorHeader { name, dtype, shape, byte_length };
    TensorPart { part: Some(tensor_part::Part::Header(header)) }
}

/// An fp32 tensor's header that agrees with itself.
pub fn f32_header(name: &str, shape: &[u64]) -> TensorPart {
    let bytes = shape.iter().product::<u64>() * 4;
    tensor_header(name, DataType::F32.into(), shape, bytes)
}

/// Bytes of a tensor.
pub fn chunk(bytes: usize) -> TensorPart {
    TensorPart { part: Some(tensor_part::Part::Chunk(vec![0; bytes].into())) }
}

/// What is to be done with frames, as a part of a request.
pub fn encode_header(purpose: EncodePurpose) -> EncodeRequest {
    let header = EncodeHeader { purpose: purpose.into(), seed: 7 };
    EncodeRequest { part: Some(encode_request::Part::Header(header)) }
}

/// A part of frames as a part of a request.
pub fn frames_part(part: TensorPart) -> EncodeRequest {
    EncodeRequest { part: Some(encode_request::Part::Frames(part)) }
}

/// Black frames [frames, height, width, 3] as parts of a request.
pub fn frames_parts(shape: [usize; 4]) -> Vec<EncodeRequest> {
    let bytes = vec![0_u8; shape.iter().product()];
    let frames = Tensor::new(DType::U8, shape, bytes).unwrap();
    tensor_parts("frames", &frames).map(frames_part).collect()
}
