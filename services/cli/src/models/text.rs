use std::fmt::Write as _;

use super::{Description, Memory, OnDisk, Part, StageBytes};

/// A description as aligned text, sizes first.
pub(super) fn text(description: &Description) -> String {
    let Description { name, family, takes, defaults, max_text_tokens, .. } = description;
    let size = format!(
        "{}x{}, {} frames at {} fps",
        defaults.width, defaults.height, defaults.num_frames, defaults.fps
    );
    let guidance = if defaults.dynamic_cfg { "dynamic guidance" } else { "guidance" };
    let sampling = format!(
        "{}, {} steps, {guidance} {}",
        defaults.scheduler, defaults.num_inference_steps, defaults.guidance_scale
    );
    let prompt = format!("up to {max_text_tokens} tokens");
    let mut text = String::new();
    for (label, value) in [
        ("name", name.as_str()),
        ("family", family),
        ("takes", &takes.join(", ")),
        ("video", &size),
        ("sampling", &sampling),
        ("prompt", &prompt),
    ] {
        line(&mut text, format_args!("{label:<10}{value}"));
    }
    parts(&mut text, description);
    memory(&mut text, &description.memory);
    text
}

fn parts(text: &mut String, description: &Description) {
    line(
        text,
        format_args!("\n{:<16}{:>16}{:>12}{:>12}", "part", "parameters", "dtype", "on disk"),
    );
    let disk = description.weights.as_ref().map(|weights| &weights.0);
    let Part { text_encoder, transformer, vae } = &description.parameters;
    for (name, parameters, disk) in [
        ("text encoder", text_encoder, disk.map(|disk| &disk.text_encoder)),
        ("transformer", transformer, disk.map(|disk| &disk.transformer)),
        ("vae", vae, disk.map(|disk| &disk.vae)),
    ] {
        let (dtype, bytes) = disk
            .map_or(("unfit", String::new()), |OnDisk { dtype, bytes }| (dtype, size_of(*bytes)));
        let parameters = grouped(*parameters);
        line(text, format_args!("{name:<16}{parameters:>16}{dtype:>12}{bytes:>12}"));
    }
}

fn memory(text: &mut String, precisions: &[Memory]) {
    let mut row = |name: &str, cell: &dyn Fn(&Memory) -> String| {
        let cells = precisions.iter().fold(String::new(), |mut cells, memory| {
            // Writing to a string cannot fail.
            let _ = write!(cells, "{:>12}", cell(memory));
            cells
        });
        line(text, format_args!("{name:<16}{cells}"));
    };
    let stage = |bytes: StageBytes| size_of(bytes.weights.saturating_add(bytes.activations));
    row("\nmemory, about   ", &|memory| memory.precision.to_owned());
    row("text encoder", &|memory| stage(memory.stages.text_encoder));
    row("transformer", &|memory| stage(memory.stages.transformer));
    row("vae", &|memory| stage(memory.stages.vae));
    row("  in tiles", &|memory| stage(memory.vae_in_tiles));
    row("together", &|memory| size_of(memory.together));
    row("one by one", &|memory| size_of(memory.one_by_one));
    row("one by one, tiles", &|memory| size_of(memory.one_by_one_in_tiles));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// `1693783872` as `1,693,783,872`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the largest decimal unit that leaves a whole number.
fn size_of(bytes: u64) -> String {
    match bytes {
        ..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_693_783_872), "1,693,783,872");
        assert_eq!(size_of(1_500), "1.5 kB");
        assert_eq!(size_of(8_200_000), "8.2 MB");
        assert_eq!(size_of(9_500_000_000), "9.5 GB");
    }
}
