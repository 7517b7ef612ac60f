//! Settings from flags, the environment and one TOML file, in that order of precedence.
//!
//! The clap command is the single source: what has a flag and an environment variable is a setting, and
//! its key in the file is the flag with `_` for `-`. The file's values become defaults of the command
//! before it parses for good, so that whatever reads the matches knows nothing of the file. Since clap does
//! not count defaults as stated, settings that need or exclude each other are checked by whoever uses them,
//! not by `requires` or `conflicts_with`. A setting with `hide_env_values` is a secret, which is shown nowhere.
//! Tables that only the file has are types of their own ([`FileTable`]).

mod error;
mod file;
mod print;
mod setting;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};

pub use error::{ConfigError, Place};
pub use setting::file_key;
pub use table::{Entry, FileTable, FileTables, Identity, TableKind, Token};

use file::{Item, SettingsFile};
use setting::Setting;

/// Names of these two as clap has them.
const CONFIG: &str = "config";
const PRINT_CONFIG: &str = "print_config";

/// Where settings are read from. A command that has these takes a file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct ConfigArgs {
    /// TOML file of settings; flags and the environment go before it
    #[arg(long, env = "COGWHEEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print every setting as such a file, with where each comes from, and end
    #[arg(long)]
    pub print_config: bool,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Something to do.
    Run(Box<Config>),
    /// Its settings are to be told: the text.
    Print(String),
}

/// What flags, environment and file say together.
#[derive(Debug)]
pub struct Config {
    /// The settings.
    pub matches: ArgMatches,
    /// What only the file has.
    pub tables: FileTables,
}

/// Reads a command line, program name first, with its environment and the file that it names.
///
/// Where subcommands take a file, one file does for all of them: each uses the settings that it has, and
/// a key that none of them has is an error. `command` has not been built: clap finds no changed argument in
/// one that has.
///
/// # Errors
/// [`ConfigError::Usage`] for the command line, help among it; what is wrong in the file by its line.
pub fn parse(
    command: Command,
    tables: &[TableKind],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Parsed, ConfigError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // What is required may stand in the file, which is not known yet.
    let lax = each_with_a_file(command.clone(), setting::lax);
    let first = lax.clone().try_get_matches_from(&arguments)?;
    let Some((name, first)) = with_a_file(&command, &first) else {
        let matches = command.try_get_matches_from(&arguments)?;
        return Ok(Parsed::Run(Box::new(Config { matches, tables: FileTables::default() })));
    };
    let own = Setting::all(setting::named(&command, name));
    let others: Vec<Setting> = command
        .get_subcommands()
        .filter(|other| takes_a_file(other) && Some(other.get_name()) != name)
        .flat_map(Setting::all)
        .collect();
    let path = first.get_one::<PathBuf>(CONFIG);
    let mut file = match path {
        Some(path) => SettingsFile::read(path, &own, &others, tables)?,
        None => SettingsFile::default(),
    };
    file.tables.file = path.cloned();
    let used: Vec<&Item> = file.items.iter().filter(|item| is_open(first, &item.id)).collect();
    let with_values =
        |command| setting::mut_named(command, name, |c| setting::with_values(c, &used));
    if first.get_flag(PRINT_CONFIG) {
        let matches = with_values(lax).try_get_matches_from(&arguments)?;
        let matches = name.and_then(|name| matches.subcommand_matches(name)).unwrap_or(&matches);
        return Ok(Parsed::Print(print::text(&own, matches, &file)));
    }
    let matches = with_values(command).try_get_matches_from(&arguments)?;
    Ok(Parsed::Run(Box::new(Config { matches, tables: file.tables })))
}

/// The tables of a file's text, when it has changed.
pub(crate) fn tables_of(
    path: &Path,
    text: &str,
    tables: &[TableKind],
) -> Result<FileTables, ConfigError> {
    SettingsFile::tables_of(path, text, tables)
}

/// Whether neither a flag nor the environment has decided it.
fn is_open(matches: &ArgMatches, id: &str) -> bool {
    !matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn takes_a_file(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == PRINT_CONFIG)
}

/// The command that was called, by its name below the root, and what it was called with.
fn with_a_file<'m>(
    command: &Command,
    matches: &'m ArgMatches,
) -> Option<(Option<&'m str>, &'m ArgMatches)> {
    if takes_a_file(command) {
        return Some((None, matches));
    }
    let (name, matches) = matches.subcommand()?;
    command.find_subcommand(name).filter(|c| takes_a_file(c)).map(|_| (Some(name), matches))
}

fn each_with_a_file(command: Command, change: fn(Command) -> Command) -> Command {
    if takes_a_file(&command) {
        return change(command);
    }
    command.mut_subcommands(|c| if takes_a_file(&c) { change(c) } else { c })
}
