//! Settings as a file that can be read again, with where each comes from.

use std::fmt::Write as _;

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml::de::{DeTable, DeValue};

use super::Place;
use super::file::SettingsFile;
use super::setting::{Kind, Setting};
use super::table::TableKind;

/// All settings, under the headings of the help.
pub(super) fn text(settings: &[Setting], matches: &ArgMatches, file: &SettingsFile) -> String {
    let mut headings: Vec<&str> = Vec::new();
    for setting in settings {
        let heading = heading(setting);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut text =
        "# Flags go first, then the environment, then the file, then defaults.\n".to_owned();
    for name in headings {
        let _ = writeln!(text, "\n# {name}");
        for setting in settings.iter().filter(|setting| heading(setting) == name) {
            text += &line(setting, matches, file);
        }
    }
    text + &file.printed
}

fn heading(setting: &Setting) -> &str {
    setting.arg.get_help_heading().unwrap_or("Other")
}

fn line(setting: &Setting, matches: &ArgMatches, file: &SettingsFile) -> String {
    let (key, id) = (&setting.key, setting.arg.get_id().as_str());
    let source = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => {
            format!("flag --{}", setting.arg.get_long().unwrap_or_default())
        }
        Some(ValueSource::EnvVariable) => {
            let name = setting.arg.get_env().unwrap_or_default();
            format!("environment variable {}", name.to_string_lossy())
        }
        _ => match file.items.iter().find(|item| item.id == id) {
            Some(item) => format!("file {}", item.place),
            None => "default".to_owned(),
        },
    };
    if setting.is_secret() && matches.contains_id(id) {
        return format!("# {key} =  # a secret, left out; {source}\n");
    }
    match values(setting, matches) {
        Ok(Some(value)) => format!("{key} = {value}  # {source}\n"),
        Ok(None) if setting.arg.is_required_set() => format!("# {key} =  # required, not set\n"),
        Ok(None) => format!("# {key} =  # not set\n"),
        Err(NotText) => format!("# {key} =  # no UTF-8, left out; {source}\n"),
    }
}

/// What no file can say.
struct NotText;

fn values(setting: &Setting, matches: &ArgMatches) -> Result<Option<String>, NotText> {
    let id = setting.arg.get_id().as_str();
    if setting.kind == Kind::Bool && !setting.is_list {
        return Ok(matches.get_one::<bool>(id).map(bool::to_string));
    }
    let Some(raw) = matches.get_raw(id) else {
        return Ok(None);
    };
    let words: Result<Vec<String>, NotText> = raw
        .map(|word| word.to_str().map(|word| scalar(setting.kind, word)).ok_or(NotText))
        .collect();
    let words = words?;
    Ok(Some(if setting.is_list { format!("[{}]", words.join(", ")) } else { words.concat() }))
}

/// A word of the command line as TOML has it. What a setting has taken for a number is written as one
/// wherever TOML can.
fn scalar(kind: Kind, word: &str) -> String {
    let number = match kind {
        Kind::Whole | Kind::Bytes => word.parse::<i128>().ok().map(|whole| whole.to_string()),
        Kind::Number => word.parse::<f64>().ok().map(|number| format!("{number:?}").to_lowercase()),
        Kind::Bool => word.parse::<bool>().ok().map(|value| value.to_string()),
        Kind::Text => None,
    };
    number.unwrap_or_else(|| string(word))
}

/// A key: bare where it can be.
fn name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { string(key) }
}

/// A basic string of one line.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A table of the file as it is, but its secrets.
pub(super) fn table(kind: &TableKind, table: &DeTable<'_>, place: &Place) -> String {
    let mut text = format!("\n[[{}]]  # file {place}\n", kind.key);
    for (key, field) in table {
        let key = key.get_ref();
        let _ = if kind.secrets.contains(&&**key) {
            writeln!(text, "# {key} =  # a secret, left out: without it this table is refused")
        } else {
            writeln!(text, "{} = {}", name(key), value(field.get_ref()))
        };
    }
    text
}

/// A value of a file, on one line.
pub(super) fn value(found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(text) => string(text),
        DeValue::Integer(whole) => whole.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(array) => {
            let values: Vec<_> = array.iter().map(|element| value(element.get_ref())).collect();
            format!("[{}]", values.join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(key, field): (&toml::Spanned<_>, &toml::Spanned<_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                format!("{} = {}", name(key), value(field.get_ref()))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}
