//! The README's table of settings is that of the programs. `COGWHEEL_WRITE_GENERATED=1` (that is `make settings`) writes it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use clap::{Arg, Command};

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "\n</details>";

/// The servers, with a letter each.
fn programs() -> [(char, Command); 5] {
    let mut cogwheel = cogwheel_cli::args::command();
    cogwheel.build();
    let serve = cogwheel.find_subcommand("serve").unwrap().clone();
    let command = cogwheel_service::command::<cogwheel_orchestrator::Settings>("", "");
    let stages = [
        ('O', command),
        ('T', cogwheel_service::command::<cogwheel_text_encoder::Settings>("", "")),
        ('D', cogwheel_service::command::<cogwheel_denoiser::Settings>("", "")),
        ('V', cogwheel_service::command::<cogwheel_vae::Settings>("", "")),
    ];
    let [o, t, d, v] = stages;
    [('S', serve), o, t, d, v]
}

/// A setting, and the programs that have it.
#[derive(PartialEq)]
struct Row {
    heading: String,
    cells: [String; 3],
    help: String,
    programs: String,
}

fn row(arg: &Arg) -> Option<Row> {
    let long = arg.get_long()?;
    let env = arg.get_env()?.to_str()?;
    let defaults: Vec<_> =
        arg.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let takes = arg.get_action().takes_values();
    let shown =
        |value: &str| if takes && !value.is_empty() { format!("`{value}`") } else { String::new() };
    let cells = [format!("`--{long}`"), format!("`{env}`"), shown(&defaults.join(" "))];
    let help = arg.get_help()?.to_string().replace('|', "\\|");
    Some(Row {
        heading: arg.get_help_heading().unwrap_or("Other").to_owned(),
        cells,
        help,
        programs: String::new(),
    })
}

/// The table, by headings in the order in which they come first.
fn table() -> String {
    let mut rows: Vec<Row> = Vec::new();
    for (letter, command) in programs() {
        for mut found in command.get_arguments().filter_map(row) {
            let same =
                rows.iter_mut().find(|row| row.cells == found.cells && row.help == found.help);
            match same {
                Some(row) => row.programs.push(letter),
                None => {
                    found.programs.push(letter);
                    rows.push(found);
                }
            }
        }
    }
    let mut headings: Vec<&str> = Vec::new();
    for row in &rows {
        if !headings.contains(&row.heading.as_str()) {
            headings.push(&row.heading);
        }
    }
    let mut text = "Of `cogwheel serve` (S), orchestrator (O), text encoder (T), denoiser (D) and vae (V).\n\n\
                    | flag | environment | default | of | what |\n|---|---|---|---|---|\n"
        .to_owned();
    for heading in headings {
        for row in rows.iter().filter(|row| row.heading == heading) {
            let [flag, env, default] = &row.cells;
            text += &format!("| {flag} | {env} | {default} | {} | {} |\n", row.programs, row.help);
        }
    }
    text
}

#[test]
fn the_readmes_table_of_settings_is_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("a place for the settings");
    let (_, after) = rest.split_once(END).expect("an end of the settings");
    let expected = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("COGWHEEL_WRITE_GENERATED").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    assert!(
        readme == expected,
        "README.md: the settings are not those of the programs: make settings"
    );
}

#[test]
fn every_setting_of_a_server_has_an_environment_variable() {
    for (letter, command) in programs() {
        for arg in command.get_arguments() {
            let long = arg.get_long().unwrap_or_default();
            if ["help", "version"].contains(&long) || arg.is_hide_set() {
                continue;
            }
            let env = arg.get_env().and_then(|env| env.to_str());
            assert!(env.is_some_and(|env| env.starts_with("COGWHEEL_")), "{letter}: --{long}");
        }
    }
}
