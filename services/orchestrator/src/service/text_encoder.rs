use cogwheel_api::TensorInbox;
use cogwheel_api::textencoder::v1::{
    EncodeRequest, EncodeResponse, EncodeSummary, encode_response::Event,
    text_encoder_service_client::TextEncoderServiceClient,
};
use cogwheel_service::Failure;
use cogwheel_tensor::Tensor;
use tonic::Streaming;

use super::{Place, Terms};

/// What the text encoder tells.
pub(crate) enum EncodeEvent {
    /// So many requests are served before this one.
    Queued(u32),
    /// What became of the prompts.
    Summary(EncodeSummary),
    /// [prompts, tokens, width] fp32.
    Embeddings(Tensor),
}

/// A call of the text encoder; dropping it stops the work.
pub(crate) struct EncodeCall<'a> {
    place: &'a Place,
    responses: Streaming<EncodeResponse>,
    inbox: TensorInbox,
    shape: [usize; 3],
}

impl Place {
    /// Encodes prompts; `shape` is that of their embeddings.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn encode(
        &self,
        prompts: Vec<String>,
        shape: [usize; 3],
        terms: &Terms,
    ) -> Result<EncodeCall<'_>, Failure> {
        let mut client = TextEncoderServiceClient::new(self.channel());
        let responses = client
            .encode(terms.request(EncodeRequest { prompts }))
            .await
            .map_err(|status| self.failure(status))?
            .into_inner();
        let limit = shape.iter().product::<usize>().saturating_mul(size_of::<f32>());
        Ok(EncodeCall {
            place: self,
            responses,
            inbox: TensorInbox::new(&["embeddings"], limit),
            shape,
        })
    }
}

impl EncodeCall<'_> {
    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// What the stage answers, or a tensor other than promised.
    pub(crate) async fn next(&mut self) -> Result<Option<EncodeEvent>, Failure> {
        loop {
            let message = self.responses.message().await;
            let Some(response) = message.map_err(|status| self.place.failure(status))? else {
                return Ok(None);
            };
            self.place.hear_of_work();
            match response.event {
                Some(Event::QueuePosition(position)) => {
                    return Ok(Some(EncodeEvent::Queued(position)));
                }
                Some(Event::Summary(summary)) => return Ok(Some(EncodeEvent::Summary(summary))),
                Some(Event::Embeddings(part)) => {
                    if let Some(tensor) = self.place.receive(&mut self.inbox, part, &self.shape)? {
                        return Ok(Some(EncodeEvent::Embeddings(tensor)));
                    }
                }
                None => {}
            }
        }
    }
}
