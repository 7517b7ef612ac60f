use cogwheel_api::generation::v1::{Notice, PromptEnhanced, generate_video_response::Event};
use cogwheel_service::Failure;

use super::Generation;

impl Generation<'_> {
    /// Has the prompt written out, where the request asks for that and brings no longer one along. A prompt that cannot be
    /// enhanced is used as it is.
    ///
    /// # Errors
    /// That the caller left.
    pub(super) async fn enhance_prompt(&mut self) -> Result<(), Failure> {
        let Some(enhancer) = self.enhancer.filter(|_| self.plan.enhance_prompt) else {
            return Ok(());
        };
        match enhancer.enhance(&self.plan.prompt, self.plan.max_prompt_chars).await {
            Ok(prompt) => {
                tracing::info!(characters = prompt.chars().count(), "prompt enhanced");
                self.plan.enhanced_prompt = Some(prompt.clone());
                self.tell(0, Event::PromptEnhanced(PromptEnhanced { prompt })).await
            }
            Err(error) => {
                tracing::warn!(%error, "the prompt is not enhanced");
                let message = format!("the prompt is used as it is, not enhanced: {error}");
                self.tell(0, Event::Notice(Notice { message })).await
            }
        }
    }
}
