//! `cogwheel doctor`: what would keep a server from working here, and what to do about it.

mod checkpoint;
mod machine;

use std::fmt;

use cogwheel_service::{Fatal, machine_memory};

use crate::args::DoctorArgs;
use crate::hub;
use crate::shown;

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    subject: &'static str,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Good,
    /// It works, and could be better.
    Note,
    /// It does not work.
    Bad,
}

/// Looks at everything and prints what was found, a line each.
///
/// # Errors
/// When something would keep a server from working.
pub fn run(args: &DoctorArgs) -> Result<(), Fatal> {
    let memory = args.memory_limit.map(|limit| limit.bytes).or_else(machine_memory);
    let mut findings = machine::findings(memory);
    findings.push(machine::port(args.listen));
    match &args.model {
        Some(model) => findings.extend(match hub::model_folder(model) {
            Ok(model) => checkpoint::findings(&model, memory),
            Err(fatal) => vec![Finding::bad("checkpoint", fatal.message)],
        }),
        None => {
            findings.push(Finding::note("checkpoint", "not looked at: name it with --model DIR"))
        }
    }
    let text: String =
        findings.iter().map(|finding| format!("{}\n", shown::line(&finding.to_string()))).collect();
    crate::adapters::print(&text)?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => Err(Fatal::usage("1 thing would keep a server from working")),
        count => Err(Fatal::usage(format!("{count} things would keep a server from working"))),
    }
}

impl Finding {
    fn good(subject: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, subject, text: text.into() }
    }

    fn note(subject: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, subject, text: text.into() }
    }

    fn bad(subject: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, subject, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "BAD",
        };
        write!(f, "{verdict:<5} {:<12} {}", self.subject, self.text)
    }
}
