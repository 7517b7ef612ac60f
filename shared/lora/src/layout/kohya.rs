use super::{Key, Layout, Part, modules};

/// Names whose layer has underscores for dots. CogVideoX-Fun writes two after the prefix, since the transformer itself
/// has an empty name.
pub(super) fn parse(name: &str) -> Option<Key> {
    let rest = ["lora_unet_", "lora_transformer_"].iter().find_map(|p| name.strip_prefix(p))?;
    let (layer, part) = rest.split_once('.')?;
    let part = match part {
        "lora_down.weight" | "lora_A.weight" => Part::A,
        "lora_up.weight" | "lora_B.weight" => Part::B,
        "lora_up.bias" | "lora_B.bias" => Part::Bias,
        "alpha" => Part::Alpha,
        "dora_scale" => Part::Magnitude,
        _ => return None,
    };
    let layer = layer.strip_prefix('_').unwrap_or(layer);
    Some(Key { layout: Layout::Kohya, module: modules::flat(layer)?, part })
}
