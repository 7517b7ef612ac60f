//! CogVideoX's transformer: a session over its graph, and what a run is given beside the latents.

mod positions;

use std::time::Duration;

use cogwheel_diffusion::{
    geometry::{TokenGrid, patchify, unpatchify},
    positions::{PositionError, timestep_projection},
};
use cogwheel_engine::{
    CancellationToken, EngineError, Input, Placed, Provider, Runtime, Session, SessionOptions,
    Variant, VariantMaker, WeightSource,
};
use cogwheel_graph::GraphError;
use cogwheel_models::{
    config::TransformerConfig,
    transformer::{Chunks, Form, TokenLayout, io, transformer},
};
use cogwheel_tensor::{DType, Tensor, TensorError};

use positions::Positions;

/// The number that `CogVideoXImageToVideoPipeline` gives as `ofs`, whatever it makes.
const OFS: f32 = 2.0;

/// Why the transformer cannot be made or run.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No graph can be made of the config.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The session could not be made, or failed, or was cancelled.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The size has no positions.
    #[error(transparent)]
    Positions(#[from] PositionError),
    /// A tensor that is no fp32, or of an impossible size.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An operand of another shape than the config calls for.
    #[error("{what}: expected shape {expected}, found {found:?}")]
    Shape {
        /// Which operand.
        what: &'static str,
        /// The shape, with names for what is free.
        expected: String,
        /// The shape given.
        found: Vec<usize>,
    },
}

/// The transformer, ready to predict.
#[derive(Debug)]
pub struct Transformer {
    session: Session,
    config: TransformerConfig,
    layout: TokenLayout,
    /// fp32 `[1, max_text_seq_length + tokens, inner_dim]`, for the size that the model was made for.
    position_table: Option<Tensor>,
}

/// What stays the same from step to step: the prompts and the places of the tokens.
#[derive(Debug)]
pub struct Conditions {
    batch: usize,
    /// `[batch, tokens, channels]`.
    text: Placed,
    positions: Positions,
    /// Where the graph takes chunks.
    chunks: Option<Chunks>,
    /// Of the latents: frames, channels, height, width.
    shape: [usize; 4],
    variant: Option<Variant>,
}

impl Conditions {
    /// The same for a variant of the model.
    #[must_use]
    pub fn of_variant(self, variant: Option<Variant>) -> Self {
        Self { variant, ..self }
    }
}

impl Transformer {
    /// Builds the graph of `config` and makes a session of it; `weights` supplies the
    /// tensors under their names in the checkpoint. Computed in the options' arithmetic; on a GPU all tokens at once.
    ///
    /// # Errors
    /// A config that no graph can be made of, a weight that is missing or unfit, or what ONNX
    /// Runtime says.
    pub fn load(
        runtime: &Runtime,
        config: &TransformerConfig,
        weights: &dyn WeightSource,
        options: &SessionOptions,
    ) -> Result<Self, ForwardError> {
        Self::load_in(form(options), runtime, config, weights, options)
    }

    fn load_in(
        form: Form,
        runtime: &Runtime,
        config: &TransformerConfig,
        weights: &dyn WeightSource,
        options: &SessionOptions,
    ) -> Result<Self, ForwardError> {
        let model = transformer(config, form)?;
        let session = Session::new(runtime, &model, weights, options)?;
        let position_table = config
            .use_learned_positional_embeddings
            .then(|| positions::learned(config, weights))
            .transpose()?;
        Ok(Self { session, config: config.clone(), layout: form.layout, position_table })
    }

    /// Makes variants of the transformer that [`Self::load`] makes of the same config and options, of weights stored in
    /// `stored`.
    ///
    /// # Errors
    /// A config that no graph can be made of.
    pub fn variant_maker(
        config: &TransformerConfig,
        options: &SessionOptions,
        stored: DType,
    ) -> Result<VariantMaker, ForwardError> {
        Ok(VariantMaker::of(&transformer(config, form(options))?, options, stored))
    }

    /// The config that it was built from.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Conditions for latents of `shape` [frames, channels, height, width] under the prompts
    /// `text`, fp32 `[batch, max_text_seq_length, text_embed_dim]`.
    ///
    /// # Errors
    /// [`ForwardError::Shape`] for latents that are not whole patches, or embeddings of another
    /// model; [`ForwardError::Positions`] for a size without positions.
    pub fn conditions(&self, shape: [usize; 4], text: Tensor) -> Result<Conditions, ForwardError> {
        let config = &self.config;
        let [frames, channels, height, width] = shape;
        let (p, p_t) = (config.patch_size, config.patch_size_t.unwrap_or(1));
        let whole = |size: usize, patch: usize| size > 0 && size.is_multiple_of(patch);
        if channels != config.in_channels
            || !(whole(frames, p_t) && whole(height, p) && whole(width, p))
        {
            let expected = format!("[{p_t}n, {}, {p}n, {p}n]", config.in_channels);
            return Err(ForwardError::Shape { what: "latents", expected, found: shape.to_vec() });
        }
        let (length, dim) = (config.max_text_seq_length, config.text_embed_dim);
        if text.shape().len() != 3 || text.shape()[1..] != [length, dim] || text.is_empty() {
            let expected = format!("[prompts, {length}, {dim}]");
            let found = text.shape().to_vec();
            return Err(ForwardError::Shape { what: "prompt embeddings", expected, found });
        }
        text.as_f32()?;
        let grid = TokenGrid { frames: frames / p_t, height: height / p, width: width / p };
        let positions = Positions::new(config, grid, self.position_table.as_ref(), &self.session)?;
        self.placed(shape, text, positions, grid)
    }

    fn placed(
        &self,
        shape: [usize; 4],
        text: Tensor,
        positions: Positions,
        grid: TokenGrid,
    ) -> Result<Conditions, ForwardError> {
        let (batch, length) = (text.shape()[0], self.config.max_text_seq_length);
        let chunks = match self.layout {
            TokenLayout::Chunked => Some(Chunks::new(batch, length, grid.token_count())?),
            TokenLayout::Whole => None,
        };
        let text = self.session.place(text)?;
        Ok(Conditions { batch, text, positions, chunks, shape, variant: None })
    }

    /// What the model predicts for one sample at `timestep` (0 to 999) under each of the prompts:
    /// `[batch, frames, out_channels, height, width]`.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] within [`ForwardError::Engine`] when the token fires, before or
    /// during the run; [`ForwardError::Shape`] when `latents` are not of the conditions' shape.
    pub fn forward(
        &mut self,
        conditions: &Conditions,
        latents: &[f32],
        timestep: i64,
        cancellation: &CancellationToken,
    ) -> Result<Tensor, ForwardError> {
        let config = &self.config;
        let shape @ [frames, channels, height, width] = conditions.shape;
        if latents.len() != shape.iter().product::<usize>() {
            let expected = format!("{shape:?}");
            return Err(ForwardError::Shape {
                what: "latents",
                expected,
                found: vec![latents.len()],
            });
        }
        let batch = conditions.batch;
        let tokens = patchify(latents, shape, config.patch_size, config.patch_size_t);
        let features = channels * self.latents_of_patch();
        let count = tokens.len() / features;
        let patches = Tensor::from_f32([batch, count, features], tokens.repeat(batch))?;
        let projection = timestep_projection(timestep as f32, config.inner_dim());
        let projection = Tensor::from_f32([1, config.inner_dim()], projection)?;
        let ofs = |dim| Tensor::from_f32([1, dim], timestep_projection(OFS, dim));
        let ofs = config.ofs_embed_dim.map(ofs).transpose()?;

        let mut inputs: Vec<(&str, Input<'_>)> = vec![
            (io::PATCHES, (&patches).into()),
            (io::TEXT, (&conditions.text).into()),
            (io::TIMESTEP_PROJECTION, (&projection).into()),
        ];
        inputs.extend(ofs.iter().map(|ofs| (io::OFS_PROJECTION, ofs.into())));
        inputs.extend(conditions.positions.inputs());
        let chunks = conditions.chunks.iter().flat_map(Chunks::inputs);
        inputs.extend(chunks.map(|(name, tensor)| (name, tensor.into())));
        let variant = conditions.variant.as_ref();
        let outputs = self.session.run_variant(variant, &inputs, cancellation)?;
        let output = outputs.into_iter().next().ok_or_else(|| ForwardError::Shape {
            what: "outputs",
            expected: "one prediction".to_owned(),
            found: vec![],
        })?;
        let output = output.into_tensor()?;

        let out_shape = [frames, config.out_channels, height, width];
        let values = output.as_f32()?;
        let mut prediction = Vec::with_capacity(values.len());
        for sample in values.chunks_exact(out_shape.iter().product::<usize>().max(1)) {
            prediction.extend(unpatchify(
                sample,
                out_shape,
                config.patch_size,
                config.patch_size_t,
            ));
        }
        Ok(Tensor::from_f32([batch, frames, config.out_channels, height, width], prediction)?)
    }

    /// One forward of the least that there can be, of zeros: a single patch under one prompt.
    ///
    /// # Errors
    /// What keeps the model from being run.
    pub fn warm_up(&mut self) -> Result<(), ForwardError> {
        let config = &self.config;
        let (p, p_t) = (config.patch_size, config.patch_size_t.unwrap_or(1));
        let shape = [p_t, config.in_channels, p, p];
        let text = [1, config.max_text_seq_length, config.text_embed_dim];
        let grid = TokenGrid { frames: 1, height: 1, width: 1 };
        let text = Tensor::from_f32(text, vec![0.0; text.iter().product()])?;
        let has_table = self.position_table.is_some();
        let positions = Positions::unlearned(config, grid, has_table, &self.session)?;
        let conditions = self.placed(shape, text, positions, grid)?;
        let latents = vec![0.0; shape.iter().product()];
        self.forward(&conditions, &latents, 0, &CancellationToken::new()).map(drop)
    }

    /// Time spent inside ONNX Runtime by all forwards so far.
    pub fn time_inside(&self) -> Duration {
        self.session.time_inside()
    }

    fn latents_of_patch(&self) -> usize {
        let config = &self.config;
        config.patch_size * config.patch_size * config.patch_size_t.unwrap_or(1)
    }
}

/// The graph that suits where it is computed.
fn form(options: &SessionOptions) -> Form {
    let layout = match options.provider {
        Provider::Cpu => TokenLayout::Chunked,
        Provider::Cuda => TokenLayout::Whole,
    };
    Form { dtype: options.arithmetic, layout }
}

#[cfg(test)]
mod tests;
