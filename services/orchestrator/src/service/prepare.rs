use cogwheel_api::denoiser::v1::{
    AdapterScale, PrepareVariantRequest, PrepareVariantResponse, VariantMerging, VariantPrepared,
    denoiser_service_client::DenoiserServiceClient, prepare_variant_response::Event,
};
use cogwheel_service::Failure;
use tonic::Streaming;

use super::{Place, Terms};

/// What the denoiser tells of a variant that is made before anybody runs with it.
pub(crate) enum PrepareEvent {
    /// It is being made.
    Merging(VariantMerging),
    /// The end.
    Prepared(VariantPrepared),
}

/// A call of the denoiser; dropping it stops the merge within a tensor.
pub(crate) struct PrepareCall<'a> {
    place: &'a Place,
    responses: Streaming<PrepareVariantResponse>,
}

impl Place {
    /// Has the denoiser make a variant of these adapters, which stays in memory if it is `pinned`, and does so no longer
    /// than others, and is not made, where that is false.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn prepare_variant(
        &self,
        adapters: Vec<AdapterScale>,
        pinned: Option<bool>,
        terms: &Terms,
    ) -> Result<PrepareCall<'_>, Failure> {
        let mut client = DenoiserServiceClient::new(self.channel());
        let request = terms.request(PrepareVariantRequest { adapters, pinned });
        let responses = client.prepare_variant(request).await;
        let responses = responses.map_err(|status| self.failure(status))?.into_inner();
        Ok(PrepareCall { place: self, responses })
    }
}

impl PrepareCall<'_> {
    /// What happens next; `None` at the end.
    ///
    /// # Errors
    /// What the stage answers.
    pub(crate) async fn next(&mut self) -> Result<Option<PrepareEvent>, Failure> {
        loop {
            let message = self.responses.message().await;
            let Some(response) = message.map_err(|status| self.place.failure(status))? else {
                return Ok(None);
            };
            self.place.hear();
            match response.event {
                Some(Event::VariantMerging(merging)) => {
                    return Ok(Some(PrepareEvent::Merging(merging)));
                }
                Some(Event::VariantPrepared(prepared)) => {
                    return Ok(Some(PrepareEvent::Prepared(prepared)));
                }
                None => {}
            }
        }
    }
}
