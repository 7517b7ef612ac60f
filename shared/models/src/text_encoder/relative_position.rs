use cogwheel_tensor::{DType, Tensor};
use cogwheel_weights::Weights;

use crate::{BuildError, config::TextEncoderConfig};

/// The table [buckets, heads] that all blocks use.
const TABLE: &str = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";

/// Most biases in a graph: 1 GiB of them. The published models have 3,268,864.
const LIMIT: usize = 1 << 28;

/// What is added to the attention scores of a prompt: fp32 [1, heads, tokens, tokens], the table's value for the
/// distance from query to key.
pub(super) fn bias(
    config: &TextEncoderConfig,
    weights: &Weights,
    tokens: usize,
) -> Result<Tensor, BuildError> {
    let table = weights.tensor_as(TABLE, DType::F32)?;
    let (table, heads) = (table.as_f32()?, config.num_heads);
    let count = [heads, tokens, tokens].into_iter().try_fold(1, usize::checked_mul);
    if count.is_none_or(|count| count > LIMIT) {
        return Err(BuildError::PositionBias { limit: LIMIT, heads, tokens });
    }
    let buckets = Buckets::of(config);
    let mut bias = Vec::with_capacity(heads * tokens * tokens);
    for head in 0..heads {
        for query in 0..tokens {
            bias.extend(
                (0..tokens).map(|key| table[buckets.of_distance(query, key) * heads + head]),
            );
        }
    }
    Ok(Tensor::from_f32([1, heads, tokens, tokens], bias)?)
}

/// How distances are sorted into buckets, as T5's `_relative_position_bucket` with `bidirectional=True`: half of the
/// buckets for each direction; of those half for one distance each, the others ever wider, up to a greatest distance.
struct Buckets {
    for_direction: usize,
    exact: usize,
    log_range: f32,
}

impl Buckets {
    fn of(config: &TextEncoderConfig) -> Self {
        let for_direction = config.relative_attention_num_buckets / 2;
        let exact = for_direction / 2;
        let range = config.relative_attention_max_distance as f64 / exact as f64;
        Self { for_direction, exact, log_range: range.ln() as f32 }
    }

    /// The bucket of a key as seen from a query. In fp32, as torch computes it: a distance on the border of two buckets
    /// must fall to the same side.
    fn of_distance(&self, query: usize, key: usize) -> usize {
        let later = if key > query { self.for_direction } else { 0 };
        let distance = key.abs_diff(query);
        if distance < self.exact {
            return later + distance;
        }
        let wide = (self.for_direction - self.exact) as f32;
        let step = (distance as f32 / self.exact as f32).ln() / self.log_range * wide;
        later + (self.exact + step as usize).min(self.for_direction - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// tools/reference/text_encoder.py: transformers' buckets of the distances -REACH..=REACH.
    #[test]
    fn buckets_are_those_of_transformers() {
        const REACH: usize = 600;
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/text_encoder.safetensors");
        let reference = Weights::open_file(Path::new(path)).unwrap();
        let mut checked = 0;
        for name in reference.names().filter(|name| name.starts_with("buckets.")) {
            let sizes: Vec<usize> = name.split('.').skip(1).map(|s| s.parse().unwrap()).collect();
            let buckets = Buckets::of(&TextEncoderConfig {
                relative_attention_num_buckets: sizes[0],
                relative_attention_max_distance: sizes[1],
                ..TextEncoderConfig::default()
            });
            let expected = reference.tensor(name).unwrap();
            for (key, &expected) in expected.as_i64().unwrap().iter().enumerate() {
                assert_eq!(buckets.of_distance(REACH, key), expected as usize, "{name} {key}");
            }
            checked += 1;
        }
        assert_eq!(checked, 5);
    }
}
