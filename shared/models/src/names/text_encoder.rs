use cogwheel_weights::{ExpectedTensor, Weights};

use super::list::List;
use crate::config::TextEncoderConfig;

/// The token embedding, [vocabulary, d_model].
pub const EMBEDDING: &str = "shared.weight";

/// The second name of the token embedding. transformers saves one of the two; a file may hold either, or both.
pub const TIED_EMBEDDING: &str = "encoder.embed_tokens.weight";

/// The tensors of transformers' `T5EncoderModel` with a gated feed-forward. No linear layer has a bias.
pub fn text_encoder(config: &TextEncoderConfig) -> Vec<ExpectedTensor> {
    let (model, inner, ff) = (config.d_model, config.inner_dim(), config.d_ff);
    let mut list = List::default();
    list.tensor(EMBEDDING.to_owned(), [config.vocab_size, model]);
    for block in 0..config.num_layers {
        let attention = format!("encoder.block.{block}.layer.0");
        for projection in ["q", "k", "v"] {
            list.tensor(format!("{attention}.SelfAttention.{projection}.weight"), [inner, model]);
        }
        list.tensor(format!("{attention}.SelfAttention.o.weight"), [model, inner]);
        if block == 0 {
            // The first block's table serves all of them.
            let shape = [config.relative_attention_num_buckets, config.num_heads];
            list.tensor(format!("{attention}.SelfAttention.relative_attention_bias.weight"), shape);
        }
        list.tensor(format!("{attention}.layer_norm.weight"), [model]);
        let feed_forward = format!("encoder.block.{block}.layer.1");
        for gate in ["wi_0", "wi_1"] {
            list.tensor(format!("{feed_forward}.DenseReluDense.{gate}.weight"), [ff, model]);
        }
        list.tensor(format!("{feed_forward}.DenseReluDense.wo.weight"), [model, ff]);
        list.tensor(format!("{feed_forward}.layer_norm.weight"), [model]);
    }
    list.tensor("encoder.final_layer_norm.weight".to_owned(), [model]);
    list.0
}

/// The same with the token embedding under the names that a file has for it.
pub fn text_encoder_in(config: &TextEncoderConfig, weights: &Weights) -> Vec<ExpectedTensor> {
    let mut tensors = text_encoder(config);
    let shape = [config.vocab_size, config.d_model];
    if embedding_name(weights) != EMBEDDING {
        tensors.retain(|tensor| tensor.name != EMBEDDING);
    }
    if weights.get(TIED_EMBEDDING).is_some() {
        tensors.push(ExpectedTensor::new(TIED_EMBEDDING, shape));
    }
    tensors
}

/// Whether transformers keeps a tensor in fp32 where the rest is fp16: the feed-forward's last layer, whose sums pass
/// the range of halves.
pub fn is_kept_fp32(name: &str) -> bool {
    name.ends_with(".wo.weight")
}

/// The name under which a file has the token embedding: the first, unless it has the second alone.
pub fn embedding_name(weights: &Weights) -> &'static str {
    let second_alone = weights.get(EMBEDDING).is_none() && weights.get(TIED_EMBEDDING).is_some();
    if second_alone { TIED_EMBEDDING } else { EMBEDDING }
}
