use cogwheel_api::denoiser::v1::{DenoiseHeader, DenoiseSummary};
use cogwheel_api::generation::v1::{Stage, generate_video_response::Event};
use cogwheel_service::Failure;
use cogwheel_tensor::Tensor;

use super::encoding::EncodedInput;
use super::{Embeddings, Generation, incomplete};
use crate::handover::Handover;
use crate::service::{DenoiseEvent, Place, PrepareEvent};

impl Generation<'_> {
    /// Hands the adapters over and has their variant made, while the prompt is encoded, by a denoiser that is then there
    /// for the first video. Where that fails, denoising does too and says why.
    pub(super) async fn prepare(&self) -> Option<Place> {
        let adapters = &self.plan.adapters;
        if adapters.is_empty() {
            return None;
        }
        let variant = self.stages.variants.of(adapters);
        let place = self.stages.denoiser.choose(variant.as_deref()).await.ok()?;
        let mut handover = Handover::new(adapters, &place, &self.terms);
        while let Err(failure) = self.try_to_prepare(&handover).await {
            if let Err(failure) = handover.after(failure).await {
                tracing::debug!(%failure, "the variant is not made ahead");
                if let Some(status) = failure.lost() {
                    place.lose(status.clone());
                }
                break;
            }
        }
        // Nothing of the denoising has been heard.
        Some(place.renewed())
    }

    #[tracing::instrument(name = "stage call", skip_all, fields(method = "DenoiserService/PrepareVariant", address = handover.place().address(), otel.kind = "client"))]
    async fn try_to_prepare(&self, handover: &Handover<'_>) -> Result<(), Failure> {
        let (adapters, pinned) = (handover.scales(), self.pinned.then_some(true));
        let mut call = handover.place().prepare_variant(adapters, pinned, &self.terms).await?;
        while let Some(event) = call.next().await? {
            match event {
                PrepareEvent::Merging(merging) => {
                    self.tell(0, Event::VariantMerging(merging)).await?;
                }
                PrepareEvent::Prepared(prepared) => {
                    self.stages.variants.note(&self.plan.adapters, &prepared.variant);
                    if prepared.byte_length > 0 {
                        handover.place().has_variant(&prepared.variant);
                    }
                }
            }
        }
        Ok(())
    }

    /// Denoises, at first where it was prepared, and puts the adapters there that the denoiser turns out to lack.
    pub(super) async fn denoise(
        &self,
        index: u32,
        given: (&Embeddings, Option<&EncodedInput>),
        prepared: Option<Place>,
    ) -> Result<(Tensor, DenoiseSummary), Failure> {
        self.begin(index, Stage::Denoiser).await?;
        let mut runs = self.runs(index, Stage::Denoiser, &self.stages.denoiser);
        let mut prepared = prepared.filter(|place| place.is_serving());
        loop {
            let place = match prepared.take() {
                Some(place) => place,
                None => {
                    let variant = self.stages.variants.of(&self.plan.adapters);
                    runs.place(variant.as_deref()).await?
                }
            };
            match self.denoise_at(index, given, &place).await {
                Err(failure) => runs.after(&place, failure).await?,
                denoised => return denoised,
            }
        }
    }

    async fn denoise_at(
        &self,
        index: u32,
        given: (&Embeddings, Option<&EncodedInput>),
        place: &Place,
    ) -> Result<(Tensor, DenoiseSummary), Failure> {
        let mut handover = Handover::new(&self.plan.adapters, place, &self.terms);
        loop {
            match self.try_to_denoise(index, given, &handover).await {
                Err(failure) => handover.after(failure).await?,
                Ok((latents, summary)) => {
                    self.stages.variants.note(&self.plan.adapters, &summary.variant);
                    place.has_variant(&summary.variant);
                    return Ok((latents, summary));
                }
            }
        }
    }

    #[tracing::instrument(name = "stage call", skip_all, fields(method = "DenoiserService/Denoise", address = handover.place().address(), otel.kind = "client"))]
    async fn try_to_denoise(
        &self,
        index: u32,
        (embeddings, encoded): (&Embeddings, Option<&EncodedInput>),
        handover: &Handover<'_>,
    ) -> Result<(Tensor, DenoiseSummary), Failure> {
        let header = DenoiseHeader {
            sampling: Some(self.plan.sampling_of(index)),
            size: Some(self.plan.size),
            adapters: handover.scales(),
            pinned: self.pinned,
            strength: self.plan.given.as_ref().and_then(|given| given.strength),
            values_drawn: encoded.map_or(0, |encoded| encoded.values_drawn),
        };
        let mut tensors = vec![("prompt_embeds", embeddings.prompt.clone())];
        let optional = [
            ("negative_prompt_embeds", &embeddings.negative_prompt),
            ("initial_latents", &self.plan.initial_latents),
        ];
        for (name, tensor) in optional {
            tensors.extend(tensor.iter().map(|tensor| (name, tensor.clone())));
        }
        tensors.extend(encoded.map(|encoded| (encoded.name, encoded.latents.clone())));
        let shape = self.plan.latents.shape();
        let mut call = handover.place().denoise(header, tensors, shape, &self.terms).await?;
        let (mut latents, mut summary) = (None, DenoiseSummary::default());
        while let Some(event) = call.next().await? {
            match event {
                DenoiseEvent::Queued(position) => {
                    self.queued(index, Stage::Denoiser, position).await?;
                }
                DenoiseEvent::Merging(merging) => {
                    self.tell(index, Event::VariantMerging(merging)).await?;
                }
                DenoiseEvent::Step(step) => self.tell(index, Event::StepCompleted(step)).await?,
                DenoiseEvent::Latents(tensor) => latents = Some(tensor),
                DenoiseEvent::Summary(told) => summary = told,
            }
        }
        Ok((latents.ok_or_else(|| incomplete("denoiser", "latents"))?, summary))
    }
}
