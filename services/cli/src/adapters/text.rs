use std::collections::BTreeSet;
use std::fmt::Write as _;

use cogwheel_api::adapter::v1::Adapter;

use crate::shown;

/// An adapter in one line: layout, layers, ranks, alphas and what the scale comes to.
pub(crate) fn summary(adapter: &Adapter, scale: f32) -> String {
    let Adapter { name, layout, num_targets, num_targets_of_model, size_bytes, .. } = adapter;
    let dora = match adapter.num_dora_targets {
        0 => String::new(),
        n => format!(", DoRA in {n}"),
    };
    // In the precision that the scale has: what it was parsed to is not what was written in any higher one.
    let effective = adapter.scales.iter().map(|group| (group.scale * f64::from(scale)) as f32);
    format!(
        "adapter {name}: {layout} layout, {num_targets} of {num_targets_of_model} layers{dora}, \
         rank {}, alpha {}, scale {scale}, effective scale {}, {:.1} MB",
        counted(adapter.ranks.iter().map(|group| group.rank)),
        alphas(adapter),
        counted(effective),
        *size_bytes as f64 / 1e6
    )
}

/// Everything about an adapter, a line each.
pub(super) fn full(adapter: &Adapter) -> String {
    let of_layers = |n: u32| format!("{n} {}", if n == 1 { "layer" } else { "layers" });
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
        let _ = writeln!(text, "{label:<10}{}", shown::line(&value));
    }
    for warning in &adapter.warnings {
        let _ = writeln!(text, "{:<10}{}", "warning", shown::line(warning));
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
        let _ = writeln!(
            text,
            "{:<width$}  {}  {size:>9}  {}",
            shown::line(name),
            shown::line(&digest),
            shown::line(layout)
        );
    }
    text
}

fn optional(layers: u32) -> String {
    if layers == 0 { String::new() } else { format!("{layers} layers") }
}

/// The alphas and every place that they come from.
fn alphas(adapter: &Adapter) -> String {
    let sources: BTreeSet<&str> = adapter.alphas.iter().map(|group| &*group.source).collect();
    let sources = sources.into_iter().collect::<Vec<_>>().join("; ");
    format!("{} ({sources})", counted(adapter.alphas.iter().map(|group| group.alpha)))
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

#[cfg(test)]
mod tests {
    use cogwheel_api::adapter::v1::{AlphaCount, RankCount, ScaleCount};

    use super::*;

    #[test]
    fn a_summary_says_every_alphas_source_and_scales_as_they_were_written() {
        let alpha =
            |alpha, source: &str| AlphaCount { alpha, source: source.into(), num_targets: 1 };
        let adapter = Adapter {
            name: "a".into(),
            layout: "kohya".into(),
            num_targets: 3,
            num_targets_of_model: 9,
            ranks: vec![RankCount { rank: 4, num_targets: 3 }],
            alphas: vec![
                alpha(2.0, "alpha tensors"),
                alpha(4.0, "not said"),
                alpha(1.0, "not said"),
            ],
            scales: vec![ScaleCount { scale: 1.0, num_targets: 3 }],
            ..Adapter::default()
        };
        assert_eq!(
            summary(&adapter, -0.7),
            "adapter a: kohya layout, 3 of 9 layers, rank 4, alpha 1 to 4 (alpha tensors; not said), scale -0.7, \
             effective scale -0.7, 0.0 MB"
        );
    }
}
