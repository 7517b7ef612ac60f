use std::fmt::Write as _;

use crate::clip::Clip;

/// What a column is called.
pub(crate) fn label(adapters: &[String]) -> String {
    if adapters.is_empty() { "base".to_owned() } else { adapters.join(" + ") }
}

/// Seconds of clips and steps, and what changing adapters costs.
pub(crate) fn of(rows: &[Vec<Clip>], cases: &[Vec<String>]) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "{:24}{:>10}{:>12}{:>26}", "", "a clip", "a step", "until the first step");
    for (column, adapters) in cases.iter().enumerate() {
        let clips: Vec<&Clip> = rows.iter().filter_map(|row| row.get(column)).collect();
        let steps = clips.iter().flat_map(|clip| clip.steps.iter().copied()).collect();
        let (first, again): (Vec<&Clip>, Vec<&Clip>) = clips.iter().partition(|clip| clip.merged);
        let until = |clips: &[&Clip]| median(clips.iter().map(|c| c.until_first_step).collect());
        // The very first clip waits for the model to load.
        let again: Vec<_> = if adapters.is_empty() { again[1..].to_vec() } else { again };
        let merged = match first.is_empty() {
            true => String::new(),
            false => format!(", {:.0} ms when it was merged", until(&first) * 1e3),
        };
        let _ = writeln!(
            text,
            "{:24}{:>8.2} s{:>9.1} ms{:>8.1} ms{merged}",
            label(adapters),
            median(clips.iter().map(|clip| clip.seconds).collect()),
            median(steps) * 1e3,
            until(&again) * 1e3,
        );
    }
    text
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
