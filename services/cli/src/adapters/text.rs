use std::fmt::Write as _;

use cogwheel_api::adapter::v1::Adapter;

/// An adapter in one line: layout, layers, ranks, alphas and what the scale comes to.
pub(crate) fn summary(adapter: &Adapter, scale: f32) -> String {
    let Adapter { name, layout, num_targets, num_targets_of_model, size_bytes, .. } = adapter;
    let dora = match adapter.num_dora_targets {
        0 => String::new(),
        n => format!(", DoRA in {n}"),
    };
    let effective: Vec<f64> =
        adapter.scales.iter().map(|group| group.scale * f64::from(scale)).collect();
    format!(
        "adapter {name}: {layout} layout, {num_targets} of {num_targets_of_model} layers{dora}, \
         rank {}, alpha {}, scale {scale}, effective scale {}, {:.1} MB",
        counted(adapter.ranks.iter().map(|group| group.rank)),
        alphas(adapter),
        counted(effective.into_iter()),
        *size_bytes as f64 / 1e6
    )
}

/// Everything about an adapter, a line each.
pub(super) fn full(adapter: &Adapter) -> String {
    let of_layers = |n: u32| format!("{n} layers");
    let ranks = adapter.ranks.iter().map(|g| format!("{} ({})", g.rank, of_layers(g.num_targets)));
    let scales =
        adapter.scales.iter().map(|g| format!("{} ({})", g.scale, of_layers(g.num_targets)));
    let alpha = adapter.alphas.iter().map(|group| {
        format!("{} ({}, {})", group.alpha, group.source, of_layers(group.num_targets))
    });
    let lines = [
        ("name", adapter.name.clone()),
        ("digest", adapter.digest.clone()),
        ("size", format!("{:.1} MB, {}", adapter.size_bytes as f64 / 1e6, adapter.dtype)),
        ("layout", format!("{}, {} tensors", adapter.layout, adapter.num_tensors)),
        ("layers", format!("{} of {}", adapter.num_targets, adapter.num_targets_of_model)),
        ("DoRA", optional(adapter.num_dora_targets)),
        ("biases", optional(adapter.num_bias_targets)),
        ("rank", ranks.collect::<Vec<_>>().join(", ")),
        ("alpha", alpha.collect::<Vec<_>>().join(", ")),
        ("scale", scales.collect::<Vec<_>>().join(", ")),
        ("made from", adapter.stated_base.clone()),
        ("fits", adapter.fits.join(", ")),
    ];
    let mut text = String::new();
    for (label, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<10}{value}");
    }
    for warning in &adapter.warnings {
        let _ = writeln!(text, "{:<10}{warning}", "warning");
    }
    text
}

/// A table of adapters.
pub(super) fn list(adapters: &[Adapter]) -> String {
    let width = adapters.iter().map(|adapter| adapter.name.len()).fold(4, usize::max);
    let mut text = format!("{:<width$}  {:<16}  {:>9}  layout\n", "name", "digest", "size");
    for Adapter { name, digest, size_bytes, layout, .. } in adapters {
        let digest: String = digest.chars().take(16).collect();
        let size = format!("{:.1} MB", *size_bytes as f64 / 1e6);
        let _ = writeln!(text, "{name:<width$}  {digest}  {size:>9}  {layout}");
    }
    text
}

fn optional(layers: u32) -> String {
    if layers == 0 { String::new() } else { format!("{layers} layers") }
}

fn alphas(adapter: &Adapter) -> String {
    match adapter.alphas.as_slice() {
        [one] => format!("{} ({})", one.alpha, one.source),
        several => counted(several.iter().map(|group| group.alpha)),
    }
}

/// One value, or from where to where.
fn counted<T: PartialOrd + Copy + std::fmt::Display>(values: impl Iterator<Item = T>) -> String {
    let mut bounds: Option<(T, T)> = None;
    for value in values {
        let (low, high) = bounds.unwrap_or((value, value));
        bounds =
            Some((if value < low { value } else { low }, if value > high { value } else { high }));
    }
    match bounds {
        Some((low, high)) if low == high => low.to_string(),
        Some((low, high)) => format!("{low} to {high}"),
        None => "unknown".to_owned(),
    }
}
