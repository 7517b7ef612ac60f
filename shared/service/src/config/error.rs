use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Characters of a value that a message shows.
const SHOWN: usize = 80;
/// Characters of what a parser says of one.
const TOLD: usize = 300;

/// Why settings cannot be read. One line, and none of a file's secrets.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line: bad usage, or that help or the version are asked for.
    #[error("{}", crate::one_line(.0))]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("{}: expected a readable file of settings: {error}", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is too long.
    #[error("{}: expected a file of settings, at most {limit} bytes, found more", .path.display())]
    TooLong {
        /// Its path.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// The file is no TOML.
    #[error("{place}: expected TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that no setting has.
    #[error("{place}: {}: expected the name of a setting, found an unknown one{}", shown(.key), meant(.near.as_deref()))]
    Unknown {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What may be meant.
        near: Option<String>,
    },
    /// A value that its setting does not take.
    #[error("{place}: {key}: {message}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What was expected and what was found.
        message: String,
    },
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    /// The place of a byte of the file's text.
    pub(super) fn of(path: &Path, text: &str, byte: usize) -> Self {
        let before = text.as_bytes().iter().take(byte);
        let line = before.filter(|&&byte| byte == b'\n').count() + 1;
        Self { path: path.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shown(&self.path.to_string_lossy()), self.line)
    }
}

/// A value or name of a file as a message shows it.
pub(super) fn shown(text: &str) -> String {
    short(text, SHOWN)
}

/// What somebody else says of a file, which may repeat what stands there, as a message shows it.
pub(super) fn told(message: &str) -> String {
    short(&message.trim().replace('\n', ", "), TOLD)
}

/// On one line, not all of it where it is long, and nothing that moves a cursor or turns the direction of writing.
fn short(text: &str, limit: usize) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut short = String::new();
    for c in text.chars().take(limit) {
        if is_odd(c) { short.extend(c.escape_default()) } else { short.push(c) }
    }
    if text.chars().nth(limit).is_some() {
        short.push_str("...");
    }
    short
}

fn meant(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!("; did you mean {near}?"))
}
