//! Stages that are lost in the midst of their work.

use cogwheel_api::denoiser::v1::denoise_response;
use cogwheel_api::generation::v1::{OutputFormat, generate_video_response};
use cogwheel_api::vae::v1::vae_service_server::{VaeService, VaeServiceServer};
use cogwheel_api::vae::v1::{self as vae, decode_response};
use cogwheel_api::{TensorInbox, tensor_parts};
use tokio_stream::StreamExt as _;

use super::*;

/// Gives latents of zeros.
struct Zeros;

#[tonic::async_trait]
impl DenoiserService for Zeros {
    type DenoiseStream = tokio_stream::Iter<std::vec::IntoIter<Result<DenoiseResponse, Status>>>;

    async fn denoise(
        &self,
        request: Request<Streaming<DenoiseRequest>>,
    ) -> Result<Response<Self::DenoiseStream>, Status> {
        let mut messages = request.into_inner();
        while messages.message().await?.is_some() {}
        let latents = Tensor::from_f32([3, 16, 2, 2], vec![0.0; 192]).unwrap();
        let parts = tensor_parts("latents", &latents).map(denoise_response::Event::Latents);
        let answers: Vec<_> = parts.map(|part| Ok(DenoiseResponse { event: Some(part) })).collect();
        Ok(Response::new(tokio_stream::iter(answers)))
    }

    async fn put_adapter(
        &self,
        _: Request<Streaming<PutAdapterRequest>>,
    ) -> Result<Response<PutAdapterResponse>, Status> {
        Err(Status::unimplemented("no adapters"))
    }

    type PrepareVariantStream = tokio_stream::Empty<Result<PrepareVariantResponse, Status>>;

    async fn prepare_variant(
        &self,
        _: Request<PrepareVariantRequest>,
    ) -> Result<Response<Self::PrepareVariantStream>, Status> {
        Err(Status::unimplemented("no variants"))
    }
}

/// Gives nine frames, each of its number, in chunks of these lengths; the runs that are lost are so after as many chunks.
struct Vae {
    chunks: &'static [usize],
    lost_after: Vec<usize>,
    runs: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl VaeService for Vae {
    type DecodeStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<vae::DecodeResponse, Status>> + Send>,
    >;

    async fn decode(
        &self,
        request: Request<Streaming<vae::DecodeRequest>>,
    ) -> Result<Response<Self::DecodeStream>, Status> {
        let mut messages = request.into_inner();
        while messages.message().await?.is_some() {}
        let run = self.runs.fetch_add(1, Ordering::Relaxed) as usize;
        let mut first = 0;
        let mut answers = Vec::new();
        for &length in self.chunks {
            let values =
                (first..first + length).flat_map(|frame| [frame as f32 / 16.0; 16 * 16 * 3]);
            let frames = Tensor::from_f32([length, 16, 16, 3], values.collect::<Vec<_>>()).unwrap();
            let parts = tensor_parts("frames", &frames).map(decode_response::Event::Frames);
            answers.push(parts.map(|part| Ok(vae::DecodeResponse { event: Some(part) })).collect());
            first += length;
        }
        if let Some(&chunks) = self.lost_after.get(run) {
            answers.truncate(chunks);
            answers.push(vec![Err(Failure::Draining.into())]);
        }
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(answers).fuse())))
    }

    type EncodeStream = tokio_stream::Empty<Result<vae::EncodeResponse, Status>>;

    async fn encode(
        &self,
        _: Request<Streaming<vae::EncodeRequest>>,
    ) -> Result<Response<Self::EncodeStream>, Status> {
        Err(Status::unimplemented("it only decodes"))
    }
}

/// The frames' numbers as the client gets them, the notices, and how often the vae ran.
async fn frames_of(
    chunks: &'static [usize],
    lost_after: &[usize],
) -> (Result<Vec<f32>, Status>, Vec<String>, u32) {
    let runs = Arc::new(AtomicU32::new(0));
    let vae = Vae { chunks, lost_after: lost_after.to_vec(), runs: Arc::clone(&runs) };
    let vae = serve("vae", Routes::new(VaeServiceServer::new(vae)));
    let denoiser = serve("denoiser", Routes::new(DenoiserServiceServer::new(Zeros)));
    let mut client = orchestrator_of(Address::Memory(denoiser), Some(Address::Memory(vae)));
    let request = GenerateVideoRequest {
        prompt: "x".to_owned(),
        width: Some(16),
        height: Some(16),
        num_frames: Some(9),
        output_format: OutputFormat::Frames.into(),
        ..Default::default()
    };
    let mut responses = client.generate_video(request).await.unwrap().into_inner();
    let mut inbox = TensorInbox::new(&["frames"], usize::MAX);
    let (mut frames, mut notices) = (Vec::new(), Vec::new());
    let result = loop {
        match responses.message().await {
            Ok(Some(response)) => match response.event {
                Some(generate_video_response::Event::Notice(notice)) => {
                    notices.push(notice.message)
                }
                Some(generate_video_response::Event::Frames(part)) => {
                    if let Some(name) = inbox.push(part).unwrap() {
                        let chunk = inbox.take(&name).unwrap();
                        let values = chunk.as_f32().unwrap();
                        frames.extend(values.chunks(16 * 16 * 3).map(|frame| frame[0] * 16.0));
                    }
                }
                _ => {}
            },
            Ok(None) => break Ok(frames),
            Err(status) => break Err(status),
        }
    };
    (result, notices, runs.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_vae_that_is_lost_between_chunks_gives_every_frame_once() {
    for (chunks, lost_after) in [
        (&[9][..], &[][..]),
        (&[4, 5], &[1]),
        (&[1, 4, 4], &[2]),
        (&[1, 4, 4], &[1, 2]),
        (&[4, 4, 1], &[2, 1]),
    ] {
        let (frames, notices, runs) = frames_of(chunks, lost_after).await;
        assert_eq!(
            frames.unwrap(),
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
            "{chunks:?} {lost_after:?}"
        );
        assert_eq!((notices.len(), runs as usize), (lost_after.len(), lost_after.len() + 1));
    }
}

#[tokio::test]
async fn a_vae_that_refuses_before_it_begins_is_asked_again_without_a_word() {
    let (frames, notices, runs) = frames_of(&[9], &[0, 0, 0, 0]).await;
    assert_eq!((frames.unwrap().len(), notices.len(), runs), (9, 0, 5));
}

#[tokio::test]
async fn a_vae_that_is_lost_each_time_is_given_up_after_three_runs() {
    let (failed, notices, runs) = frames_of(&[4, 5], &[1; 10]).await;
    let status = failed.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let said = "vae: this process cannot be reached (shutting down, try another replica)";
    assert_eq!(status.message(), said);
    assert_eq!((notices.len(), runs), (2, 3));
}
