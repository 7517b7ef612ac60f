use cogwheel_api::denoiser::v1::{
    DenoiseHeader, DenoiseRequest, DenoiseResponse, DenoiseSummary, StepCompleted, VariantMerging,
    denoise_request::Part, denoise_response::Event, denoiser_service_client::DenoiserServiceClient,
};
use cogwheel_api::{TensorInbox, tensor_parts};
use cogwheel_service::Failure;
use cogwheel_tensor::Tensor;
use tonic::Streaming;

use super::{Place, Terms};

/// What the denoiser tells.
pub(crate) enum DenoiseEvent {
    /// So many requests are served before this one.
    Queued(u32),
    /// The variant is being made.
    Merging(VariantMerging),
    /// A step has been computed.
    Step(StepCompleted),
    /// [frames, channels, height, width] fp32.
    Latents(Tensor),
    /// The end.
    Summary(DenoiseSummary),
}

/// A call of the denoiser; dropping it stops the loop within a step.
pub(crate) struct DenoiseCall<'a> {
    place: &'a Place,
    responses: Streaming<DenoiseResponse>,
    inbox: TensorInbox,
    shape: [usize; 4],
}

impl Place {
    /// Runs a sampling loop; `shape` is that of the latents.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn denoise(
        &self,
        header: DenoiseHeader,
        tensors: Vec<(&'static str, Tensor)>,
        shape: [usize; 4],
        terms: &Terms,
    ) -> Result<DenoiseCall<'_>, Failure> {
        let mut requests = vec![DenoiseRequest { part: Some(Part::Header(header)) }];
        for (name, tensor) in &tensors {
            let parts = tensor_parts(name, tensor).map(Part::Tensor);
            requests.extend(parts.map(|part| DenoiseRequest { part: Some(part) }));
        }
        let mut client = DenoiserServiceClient::new(self.channel());
        let responses = client
            .denoise(terms.request(tokio_stream::iter(requests)))
            .await
            .map_err(|status| self.failure(status))?
            .into_inner();
        let limit = shape.iter().product::<usize>().saturating_mul(size_of::<f32>());
        Ok(DenoiseCall {
            place: self,
            responses,
            inbox: TensorInbox::new(&["latents"], limit),
            shape,
        })
    }
}

impl DenoiseCall<'_> {
    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// What the stage answers, or a tensor other than promised.
    pub(crate) async fn next(&mut self) -> Result<Option<DenoiseEvent>, Failure> {
        loop {
            let message = self.responses.message().await;
            let Some(response) = message.map_err(|status| self.place.failure(status))? else {
                return Ok(None);
            };
            self.place.hear_of_work();
            match response.event {
                Some(Event::QueuePosition(position)) => {
                    return Ok(Some(DenoiseEvent::Queued(position)));
                }
                Some(Event::StepCompleted(step)) => return Ok(Some(DenoiseEvent::Step(step))),
                Some(Event::Summary(summary)) => return Ok(Some(DenoiseEvent::Summary(summary))),
                Some(Event::Latents(part)) => {
                    if let Some(tensor) = self.place.receive(&mut self.inbox, part, &self.shape)? {
                        return Ok(Some(DenoiseEvent::Latents(tensor)));
                    }
                }
                Some(Event::VariantMerging(merging)) => {
                    return Ok(Some(DenoiseEvent::Merging(merging)));
                }
                None => {}
            }
        }
    }
}
