use std::{collections::BTreeMap, sync::LazyLock};

use cogwheel_models::{config::TransformerConfig, names};

/// What stands before the number of a block.
const BLOCKS: &str = "transformer_blocks";

/// The layers that an adapter can change, those of a block without its number: by their names with underscores.
static LAYERS: LazyLock<Layers> = LazyLock::new(Layers::of_the_architecture);

struct Layers {
    in_a_block: BTreeMap<String, String>,
    outside: BTreeMap<String, String>,
}

/// A layer's name as checkpoints have it; `None` where CogVideoX has no such layer.
pub(crate) fn dotted(name: &str) -> Option<String> {
    find(name, '.', |layers, rest| {
        layers.get(&rest.replace('.', "_")).filter(|layer| *layer == rest).cloned()
    })
}

/// A layer's name from one whose dots have become underscores.
pub(crate) fn flat(name: &str) -> Option<String> {
    find(name, '_', |layers, rest| layers.get(rest).cloned())
}

fn find(
    name: &str,
    separator: char,
    layer: impl Fn(&BTreeMap<String, String>, &str) -> Option<String>,
) -> Option<String> {
    let Some(rest) = name.strip_prefix(BLOCKS).and_then(|rest| rest.strip_prefix(separator)) else {
        return layer(&LAYERS.outside, name);
    };
    let (block, rest) = rest.split_once(separator)?;
    // As a number is written: `01` would be a second name for block 1.
    let number: u32 = block.parse().ok()?;
    if number.to_string() != block {
        return None;
    }
    Some(format!("{BLOCKS}.{number}.{}", layer(&LAYERS.in_a_block, rest)?))
}

impl Layers {
    fn of_the_architecture() -> Self {
        let config =
            TransformerConfig { num_layers: 1, ofs_embed_dim: Some(512), ..Default::default() };
        let (mut in_a_block, mut outside) = (BTreeMap::new(), BTreeMap::new());
        for tensor in names::transformer(&config) {
            // Norms have vectors, which are no product of two matrices.
            let Some(layer) =
                tensor.name.strip_suffix(".weight").filter(|_| tensor.shape.len() > 1)
            else {
                continue;
            };
            let (layers, layer) = match layer.strip_prefix("transformer_blocks.0.") {
                Some(layer) => (&mut in_a_block, layer),
                None => (&mut outside, layer),
            };
            layers.insert(layer.replace('.', "_"), layer.to_owned());
        }
        Self { in_a_block, outside }
    }
}
