use std::fmt;
use std::io::{self, Write as _};

/// How a process ends: the exit codes of every binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Bad usage, or a checkpoint, file or path that is missing, malformed, unfit or unwritable.
    Usage,
    /// The user interrupted it.
    Interrupted,
    /// Anything else.
    Failed,
}

impl Exit {
    /// The number that the caller's shell sees.
    pub fn code(self) -> i32 {
        match self {
            Self::Usage => 2,
            Self::Interrupted => 130,
            Self::Failed => 1,
        }
    }
}

/// What ends a process early: an exit code and one plain line.
#[derive(Debug)]
pub struct Fatal {
    /// The exit code.
    pub exit: Exit,
    /// What was expected and what was found.
    pub message: String,
}

impl Fatal {
    /// The caller's fault.
    pub fn usage(error: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: error.to_string() }
    }

    /// Not the caller's fault.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, message: error.to_string() }
    }

    /// Says it on standard error and gives the exit code.
    pub fn report(&self) -> i32 {
        // Standard error may be closed; the exit code still tells.
        let _ = writeln!(io::stderr(), "error: {}", self.message.replace('\n', " "));
        self.exit.code()
    }
}
