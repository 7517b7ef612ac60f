use std::any::TypeId;
use std::error::Error as _;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::de::DeValue;

use super::error::{shown, told};
use super::file::Item;
use super::print;
use crate::MemorySize;

/// The key of the file that stands for this argument. Only what has a flag and an environment variable is
/// a setting; a file names no other file.
pub fn file_key(arg: &Arg) -> Option<String> {
    arg.get_env()?;
    let key = arg.get_long()?.replace('-', "_");
    (key != super::CONFIG).then_some(key)
}

/// What the file may say of an argument.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Its name in the file.
    pub(super) key: String,
    pub(super) arg: Arg,
    pub(super) kind: Kind,
    /// Whether it is an array of that.
    pub(super) is_list: bool,
}

/// TOML's types as settings have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Whole,
    Number,
    /// A whole number or a text with a unit.
    Bytes,
    Text,
}

impl Setting {
    /// All that a command has, in its order.
    pub(super) fn all(command: &Command) -> Vec<Self> {
        command.get_arguments().filter_map(Self::of).collect()
    }

    fn of(arg: &Arg) -> Option<Self> {
        let (key, kind) = (file_key(arg)?, Kind::of(arg));
        let is_list = matches!(arg.get_action(), ArgAction::Append)
            || arg.get_num_args().is_some_and(|num| num.max_values() > 1);
        Some(Self { key, kind, is_list, arg: arg.clone() })
    }

    /// Whether its value is shown nowhere: clap's mark that help is not to show it either.
    pub(super) fn is_secret(&self) -> bool {
        self.arg.is_hide_env_values_set()
    }

    /// The words that a command line would have for a value of the file.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub(super) fn words(&self, value: &DeValue<'_>) -> Result<Vec<String>, String> {
        match (self.is_list, value) {
            (true, DeValue::Array(array)) => {
                array.iter().map(|value| self.word(value.get_ref())).collect()
            }
            (true, other) => {
                let (each, found) = (self.expected(), self.found(other));
                Err(format!("expected an array, each {each}, found {found}"))
            }
            (false, value) => Ok(vec![self.word(value)?]),
        }
    }

    fn word(&self, value: &DeValue<'_>) -> Result<String, String> {
        let word = match (self.kind, value) {
            (Kind::Bool, DeValue::Boolean(value)) => value.to_string(),
            (Kind::Whole | Kind::Number | Kind::Bytes, DeValue::Integer(whole)) => {
                match i128::from_str_radix(whole.as_str(), whole.radix()) {
                    Ok(whole) => whole.to_string(),
                    Err(_) => return Err(self.wrong(value)),
                }
            }
            (Kind::Number, DeValue::Float(number)) => number.as_str().to_owned(),
            (Kind::Bytes | Kind::Text, DeValue::String(text)) => text.clone().into_owned(),
            _ => return Err(self.wrong(value)),
        };
        match refusal(self.arg.get_value_parser(), &word) {
            None => Ok(word),
            Some(_) if self.is_secret() => Err(self.wrong(value)),
            Some(reason) if reason.starts_with("expected") => Err(reason),
            Some(reason) if reason.is_empty() => Err(self.wrong(value)),
            Some(reason) => Err(format!("{}: {reason}", self.wrong(value))),
        }
    }

    fn wrong(&self, value: &DeValue<'_>) -> String {
        format!("expected {}, found {}", self.expected(), self.found(value))
    }

    fn expected(&self) -> String {
        let possible = self.arg.get_possible_values();
        let named: Vec<_> = possible.iter().map(|v| format!("\"{}\"", v.get_name())).collect();
        match self.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Whole => "a whole number".to_owned(),
            Kind::Number => "a number".to_owned(),
            Kind::Bytes => "a number of bytes, or a text such as \"8GiB\"".to_owned(),
            Kind::Text if named.is_empty() => "a text".to_owned(),
            Kind::Text => format!("one of {}", named.join(", ")),
        }
    }

    fn found(&self, value: &DeValue<'_>) -> String {
        match value {
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::String(_) if self.is_secret() => "a text".to_owned(),
            DeValue::String(text) => format!("the text \"{}\"", shown(text)),
            other => shown(&print::value(other)),
        }
    }
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        if matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
            return Self::Bool;
        }
        let kinds = [
            (Self::Bool, vec![TypeId::of::<bool>()]),
            (Self::Bytes, vec![TypeId::of::<MemorySize>()]),
            (Self::Number, vec![TypeId::of::<f32>(), TypeId::of::<f64>()]),
            (
                Self::Whole,
                vec![
                    TypeId::of::<u8>(),
                    TypeId::of::<u16>(),
                    TypeId::of::<u32>(),
                    TypeId::of::<u64>(),
                    TypeId::of::<usize>(),
                    TypeId::of::<i32>(),
                    TypeId::of::<i64>(),
                ],
            ),
        ];
        let id = arg.get_value_parser().type_id();
        let is = |ids: &[TypeId]| ids.iter().any(|other| id == *other);
        kinds.into_iter().find(|(_, ids)| is(ids)).map_or(Self::Text, |(kind, _)| kind)
    }
}

/// Why a parser does not take a word; empty where only the word's kind was wrong.
fn refusal(parser: &ValueParser, word: &str) -> Option<String> {
    // The parser alone: what the real argument requires or conflicts with is judged with the others.
    let arg = Arg::new("x").long("x").value_parser(parser.clone()).action(ArgAction::Set);
    let command = Command::new("x").no_binary_name(true).arg(arg);
    let error = command.try_get_matches_from([format!("--x={word}")]).err()?;
    if let Some(ContextValue::String(near)) = error.get(ContextKind::SuggestedValue) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    Some(error.source().map_or(String::new(), |source| told(&source.to_string())))
}

/// The command without what it requires.
pub(super) fn lax(command: Command) -> Command {
    let groups: Vec<String> =
        command.get_groups().map(|group| group.get_id().to_string()).collect();
    let command = command.mut_args(|arg| arg.required(false));
    groups.iter().fold(command, |c, id| c.mut_group(id, |group| group.required(false)))
}

/// The command with the file's values as its defaults.
pub(super) fn with_values(command: Command, items: &[&Item]) -> Command {
    items.iter().fold(command, |command, item| {
        command.mut_arg(&item.id, |arg| {
            let takes_many = arg.get_value_delimiter().is_some();
            let arg = arg.required(false).default_values(item.words.clone());
            // An array's elements are whole already.
            if takes_many { arg.value_delimiter(None) } else { arg }
        })
    })
}

/// The root, or the command below it of that name.
pub(super) fn named<'c>(command: &'c Command, name: Option<&str>) -> &'c Command {
    name.and_then(|name| command.find_subcommand(name)).unwrap_or(command)
}

/// Changes that command.
pub(super) fn mut_named(
    command: Command,
    name: Option<&str>,
    change: impl FnOnce(Command) -> Command,
) -> Command {
    match name {
        Some(name) => command.mut_subcommand(name, change),
        None => change(command),
    }
}
