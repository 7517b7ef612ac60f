//! Calls of the stages, each to its end.

use cogwheel_api::denoiser::v1::DenoiseRequest;
use cogwheel_api::denoiser::v1::denoiser_service_client::DenoiserServiceClient;
use cogwheel_api::tensor::v1::{TensorPart, tensor_part::Part};
use cogwheel_api::textencoder::v1::EncodeRequest;
use cogwheel_api::textencoder::v1::text_encoder_service_client::TextEncoderServiceClient;
use cogwheel_api::vae::v1::vae_service_client::VaeServiceClient;
use cogwheel_api::vae::v1::{
    DecodeRequest, EncodeRequest as EncodeFramesRequest, decode_response, encode_response,
};
use tonic::Status;
use tonic::transport::Channel;

/// Runs a sampling loop.
///
/// # Errors
/// The status that it ends with.
pub async fn denoise(channel: &Channel, parts: Vec<DenoiseRequest>) -> Result<(), Status> {
    let mut client = DenoiserServiceClient::new(channel.clone());
    let mut stream = client.denoise(tokio_stream::iter(parts)).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

/// Decodes latents; gives the number of frames.
///
/// # Errors
/// The status that it ends with.
pub async fn decode(channel: &Channel, parts: Vec<Option<TensorPart>>) -> Result<u32, Status> {
    let mut client = VaeServiceClient::new(channel.clone());
    let requests = parts.into_iter().map(|latents| DecodeRequest { latents });
    let mut stream = client.decode(tokio_stream::iter(requests)).await?.into_inner();
    let mut frames = 0;
    while let Some(response) = stream.message().await? {
        if let Some(decode_response::Event::Summary(summary)) = response.event {
            frames = summary.num_frames;
        }
    }
    Ok(frames)
}

/// Encodes frames; gives the shape of the latents and how many values were drawn for them.
///
/// # Errors
/// The status that it ends with.
pub async fn encode_frames(
    channel: &Channel,
    parts: Vec<EncodeFramesRequest>,
) -> Result<(Vec<u64>, u64), Status> {
    let mut client = VaeServiceClient::new(channel.clone());
    let mut stream = client.encode(tokio_stream::iter(parts)).await?.into_inner();
    let (mut shape, mut drawn) = (Vec::new(), 0);
    while let Some(response) = stream.message().await? {
        match response.event {
            Some(encode_response::Event::Summary(summary)) => drawn = summary.values_drawn,
            Some(encode_response::Event::Latents(TensorPart {
                part: Some(Part::Header(header)),
            })) => {
                shape = header.shape;
            }
            _ => {}
        }
    }
    Ok((shape, drawn))
}

/// Encodes prompts.
///
/// # Errors
/// The status that it ends with.
pub async fn encode(channel: &Channel, prompts: Vec<String>) -> Result<(), Status> {
    let mut client = TextEncoderServiceClient::new(channel.clone());
    let mut stream = client.encode(EncodeRequest { prompts }).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}
