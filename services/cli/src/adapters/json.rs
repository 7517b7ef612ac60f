use cogwheel_api::adapter::v1::Adapter;
use serde_json::{Value, json};

/// An adapter as JSON, under the API's names.
pub(super) fn value(adapter: &Adapter) -> Value {
    let ranks = adapter.ranks.iter().map(|g| json!({"rank": g.rank, "num_targets": g.num_targets}));
    let alphas = adapter
        .alphas
        .iter()
        .map(|g| json!({"alpha": g.alpha, "source": g.source, "num_targets": g.num_targets}));
    let scales =
        adapter.scales.iter().map(|g| json!({"scale": g.scale, "num_targets": g.num_targets}));
    json!({
        "name": adapter.name,
        "digest": adapter.digest,
        "size_bytes": adapter.size_bytes,
        "layout": adapter.layout,
        "dtype": adapter.dtype,
        "num_tensors": adapter.num_tensors,
        "num_targets": adapter.num_targets,
        "num_targets_of_model": adapter.num_targets_of_model,
        "ranks": ranks.collect::<Vec<_>>(),
        "alphas": alphas.collect::<Vec<_>>(),
        "scales": scales.collect::<Vec<_>>(),
        "num_dora_targets": adapter.num_dora_targets,
        "num_bias_targets": adapter.num_bias_targets,
        "stated_base": adapter.stated_base,
        "stated_alpha": adapter.stated_alpha,
        "fits": adapter.fits,
        "warnings": adapter.warnings,
    })
}
