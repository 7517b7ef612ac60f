use std::collections::BTreeSet;

use crate::{
    Adapter, AdapterError, Model,
    config::{ends_with, quote},
    error::list,
    model::Published,
};

/// Whether an adapter is one for a model: by its layers, and by what it says itself.
pub(super) fn fit(
    adapter: &Adapter,
    model: &Model<'_>,
    fits: &[Published],
) -> Result<(), AdapterError> {
    let path = || adapter.path.clone();
    for target in &adapter.targets {
        model.fit(target).map_err(|(expected, found)| AdapterError::WrongModel {
            path: path(),
            expected,
            found,
            fits: fits.iter().map(|published| published.name()).collect(),
        })?;
    }
    for (key, stated) in &adapter.stated_bases {
        let same = match Published::named(stated) {
            None => true,
            Some(Err(())) => false,
            // A model of other sizes than any published one is what its owner says it is.
            Some(Ok(named)) => model.published.is_none_or(|published| published == named),
        };
        if !same {
            return Err(AdapterError::StatedBase {
                path: path(),
                expected: model.description(),
                source_key: key.clone(),
                stated: quote(stated),
            });
        }
    }
    Ok(())
}

/// What speaks neither for nor against the adapter.
pub(super) fn warnings(adapter: &Adapter, model: &Model<'_>, fits: &[Published]) -> Vec<String> {
    let mut warnings = Vec::new();
    let named = adapter.stated_bases.iter().any(|(_, base)| Published::named(base).is_some());
    if let Some(published) = model.published.filter(|_| fits.len() > 1 && !named) {
        let others: Vec<&str> =
            fits.iter().filter(|fit| **fit != published).map(|fit| fit.name()).collect();
        warnings.push(format!(
            "nothing in it says which model it was trained from, and by its shapes it could belong to {} too",
            others.join(", ")
        ));
    }
    warnings.extend(depth(adapter, model));
    warnings.extend(target_modules(adapter));
    warnings
}

/// All blocks up to one that is not the last: an adapter of a model with fewer layers, or one on purpose.
fn depth(adapter: &Adapter, model: &Model<'_>) -> Option<String> {
    let block = |module: &str| -> Option<usize> {
        module.strip_prefix("transformer_blocks.")?.split('.').next()?.parse().ok()
    };
    let blocks: BTreeSet<usize> =
        adapter.targets.iter().filter_map(|target| block(&target.module)).collect();
    let last = *blocks.last()?;
    let first_ones = blocks.len() == last + 1 && blocks.len() < model.num_layers;
    first_ones.then(|| {
        format!("it changes the first {} of {} blocks alone", blocks.len(), model.num_layers)
    })
}

/// The tensors decide what is targeted; a config that says otherwise is of another file, or of another mind.
fn target_modules(adapter: &Adapter) -> Option<String> {
    let stated = adapter.target_modules.as_ref()?;
    let matches = |module: &str, name: &str| {
        let name = name.strip_prefix("transformer.").unwrap_or(name);
        ends_with(module, name)
    };
    let stray: Vec<String> = adapter
        .targets
        .iter()
        .filter(|target| !stated.iter().any(|name| matches(&target.module, name)))
        .map(|target| target.module.clone())
        .collect();
    let absent: Vec<String> = stated
        .iter()
        .filter(|name| !adapter.targets.iter().any(|target| matches(&target.module, name)))
        .map(quote)
        .collect();
    let part = |names: &[String], what: &str| {
        (!names.is_empty()).then(|| format!("{what} {}", list(names)))
    };
    let parts: Vec<String> = [
        part(&stray, "tensors for layers that it does not name, as"),
        part(&absent, "no tensors for"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty())
        .then(|| format!("target_modules disagrees with the file: {}", parts.join("; ")))
}
