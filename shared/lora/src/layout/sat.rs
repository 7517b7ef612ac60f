use super::{Key, Layout, Part, modules};

/// SAT's names. Queries, keys and values are one layer there, whose three parts have a pair of matrices each.
pub(super) fn parse(name: &str) -> Option<Key> {
    let rest = name.strip_prefix("model.diffusion_model.").unwrap_or(name);
    let rest = rest.strip_prefix("transformer.").unwrap_or(rest).strip_prefix("layers.")?;
    let (block, rest) = rest.split_once('.')?;
    let (layer, rest) = rest.strip_prefix("attention.")?.split_once('.')?;
    let (matrix, index) = rest.split_once('.')?;
    let part = match matrix {
        "matrix_A" => Part::A,
        "matrix_B" => Part::B,
        _ => return None,
    };
    let layer = match (layer, index) {
        ("query_key_value", "0") => "to_q",
        ("query_key_value", "1") => "to_k",
        ("query_key_value", "2") => "to_v",
        ("dense", "0") => "to_out.0",
        _ => return None,
    };
    let module = modules::dotted(&format!("transformer_blocks.{block}.attn1.{layer}"))?;
    Some(Key { layout: Layout::Sat, module, part })
}
