//! The README's table of settings is that of the programs. `COGWHEEL_WRITE_GENERATED=1` (that is `make settings`) writes it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::{Arg, Command};
use cogwheel_service::{ConfigError, Parsed, ServerArgs};

const BEGIN: &str = "<!-- settings -->\n";
const END: &str = "\n</details>";

/// The servers, with a letter each.
fn programs() -> [(char, Command); 5] {
    let cogwheel = cogwheel_cli::args::command();
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
    cells: [String; 4],
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
    let key = cogwheel_service::file_key(arg).map_or(String::new(), |key| format!("`{key}`"));
    let cells = [format!("`--{long}`"), format!("`{env}`"), key, shown(&defaults.join(" "))];
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
                    | flag | environment | file | default | of | what |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for heading in headings {
        for row in rows.iter().filter(|row| row.heading == heading) {
            let (cells, programs) = (row.cells.join(" | "), &row.programs);
            text += &format!("| {cells} | {programs} | {} |\n", row.help);
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
            if ["help", "version", "print-config"].contains(&long) || arg.is_hide_set() {
                continue;
            }
            let env = arg.get_env().and_then(|env| env.to_str());
            assert!(env.is_some_and(|env| env.starts_with("COGWHEEL_")), "{letter}: --{long}");
        }
    }
}

/// What the programs print of their settings with this file.
fn printed(command: &Command, file: &str) -> Result<String, ConfigError> {
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(&path, file).unwrap();
    let path = path.path().to_str().unwrap();
    let arguments = ["x", "--config", path, "--print-config"].map(OsString::from);
    match cogwheel_service::parse(command.clone(), &ServerArgs::TABLES, arguments)? {
        Parsed::Print(text) => Ok(text),
        Parsed::Run(config) => panic!("expected settings, found {config:?}"),
    }
}

/// The same without the comments.
fn lines(printed: &str) -> Vec<&str> {
    let lines = printed.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split("  # ").next().unwrap()).collect()
}

/// Of each kind of setting one takes one of these, or it names what it takes.
const WORDS: [&str; 7] =
    ["7", "4194304", "0.5", "true", "'m'", "'127.0.0.1:7'", "'http://127.0.0.1:7'"];

/// What a setting may take, one or an array of them.
fn values(arg: &Arg) -> Vec<String> {
    let named = arg.get_possible_values();
    let named = named.iter().map(|value| format!("'{}'", value.get_name())).rev();
    let words = named.chain(WORDS.map(str::to_owned));
    words.flat_map(|word| [word.clone(), format!("[{word}, {word}]")]).collect()
}

#[test]
fn every_setting_may_stand_in_the_file_and_what_is_printed_gives_the_same() {
    for (letter, command) in programs() {
        let mut file = String::new();
        for arg in command.get_arguments() {
            let Some(key) = cogwheel_service::file_key(arg) else { continue };
            let mut lines = values(arg).into_iter().map(|value| format!("{key} = {value}\n"));
            let line = lines.find(|line| printed(&command, line).is_ok());
            file +=
                &line.unwrap_or_else(|| panic!("{letter}: no value for {key}: add one to WORDS"));
        }
        let text = printed(&command, &file).unwrap();
        let file = file.replace('\'', "\"");
        let mut stated: Vec<&str> = file.lines().collect();
        let mut found = lines(&text);
        assert_eq!(found, lines(&printed(&command, &text).unwrap()), "{letter}");
        // As it was stated, but in the order of the help.
        stated.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, stated, "{letter}");
        // And by themselves: the defaults.
        let text = printed(&command, "").unwrap();
        assert_eq!(lines(&text), lines(&printed(&command, &text).unwrap()), "{letter}");
    }
}

#[test]
fn flags_go_before_the_environment_and_the_environment_before_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "model = 'm'\nmax_adapters = 1\nmax_streams = 1\nqueue_depth = 1\n").unwrap();
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cogwheel"));
        command.arg("serve").args(arguments).env_clear().envs(environment.iter().copied());
        command.env("COGWHEEL_CONFIG", file.path()).output().unwrap()
    };
    let environment = [("COGWHEEL_MAX_STREAMS", "2"), ("COGWHEEL_QUEUE_DEPTH", "2")];
    let output = run(&["--queue-depth", "3", "--print-config"], &environment);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let path = file.path().display();
    for line in [
        "queue_depth = 3  # flag --queue-depth",
        "max_streams = 2  # environment variable COGWHEEL_MAX_STREAMS",
        &format!("max_adapters = 1  # file {path}:2"),
        "grace_seconds = 30  # default",
    ] {
        assert!(text.lines().any(|found| found == line), "expected {line} in\n{text}");
    }
    let output = run(&["--config", "/no/such/file"], &environment);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: /no/such/file: expected a readable file"), "{error}");
}

#[test]
fn the_readmes_file_of_settings_is_one() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md"));
    let readme = readme.unwrap();
    let (_, rest) = readme.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let [(_, serve), ..] = programs();
    let text = printed(&serve, example).unwrap();
    assert!(text.contains("[[tokens]]") && text.contains("[[identities]]"), "{text}");
}
