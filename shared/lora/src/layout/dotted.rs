use super::{Key, Layout, Part, modules};

/// What stands between a layer's name and the rest of a tensor's; longer ones before those that they contain.
const MARKERS: [(&str, Part, Style); 15] = [
    (".lora_A", Part::A, Style::New),
    (".lora_B", Part::B, Style::New),
    (".lora_down", Part::A, Style::New),
    (".lora_up", Part::B, Style::New),
    (".lora_linear_layer.down", Part::A, Style::Old),
    (".lora_linear_layer.up", Part::B, Style::Old),
    (".lora.down", Part::A, Style::Old),
    (".lora.up", Part::B, Style::Old),
    ("_lora.down", Part::A, Style::Old),
    ("_lora.up", Part::B, Style::Old),
    (".lora_magnitude_vector", Part::Magnitude, Style::New),
    (".dora_scale", Part::Magnitude, Style::New),
    ("_lora.alpha", Part::Alpha, Style::Old),
    (".lora.alpha", Part::Alpha, Style::Old),
    (".alpha", Part::Alpha, Style::New),
];

#[derive(Clone, Copy, PartialEq)]
enum Style {
    New,
    Old,
}

/// Names whose layer has dots, under any prefix.
pub(super) fn parse(name: &str) -> Option<Key> {
    let (layout, name) = strip_prefix(name);
    let (at, (marker, part, style)) =
        MARKERS.iter().find_map(|marker| Some((name.find(marker.0)?, *marker)))?;
    let part = with_ending(part, &name[at + marker.len()..])?;
    let module = modernize(&name[..at]);
    let layout = if style == Style::Old { Layout::OldDiffusers } else { layout };
    Some(Key { layout, module: modules::dotted(&module)?, part })
}

/// The outermost prefix decides, and others may follow it.
fn strip_prefix(name: &str) -> (Layout, &str) {
    const PREFIXES: [(&str, Layout); 4] = [
        ("base_model.model.", Layout::Peft),
        ("transformer.", Layout::Diffusers),
        ("diffusion_model.", Layout::DiffusionModel),
        ("model.diffusion_model.", Layout::DiffusionModel),
    ];
    let mut layout = Layout::Unprefixed;
    let mut rest = name;
    while let Some((prefix, found)) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix)) {
        if layout == Layout::Unprefixed {
            layout = *found;
        }
        rest = &rest[prefix.len()..];
    }
    (layout, rest)
}

/// What the end of a name makes of a part. PEFT puts the adapter's name before `.weight` in what it holds in memory, and
/// some trainers save that.
fn with_ending(part: Part, ending: &str) -> Option<Part> {
    let mut words =
        ending.strip_prefix('.').map_or_else(Vec::new, |rest| rest.split('.').collect());
    if words.iter().any(|word| word.is_empty()) {
        return None;
    }
    let last = words.pop();
    match (part, last, words.len()) {
        (Part::A | Part::B, Some("weight"), 0 | 1) => Some(part),
        (Part::B, Some("bias"), 0 | 1) => Some(Part::Bias),
        (Part::Magnitude, None, _) | (Part::Magnitude, Some("weight"), 0 | 1) => Some(part),
        (Part::Magnitude, Some(_), 0) => Some(part),
        (Part::Alpha, None, _) => Some(part),
        _ => None,
    }
}

/// Attention processors once held the matrices; the output projection was a list's first element in name only later.
fn modernize(module: &str) -> String {
    let module = module.replace(".processor.", ".");
    match module.strip_suffix(".to_out") {
        Some(attention) => format!("{attention}.to_out.0"),
        None => module,
    }
}
