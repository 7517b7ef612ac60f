//! What a user sees while a video is made, on standard error: bars on a terminal, lines elsewhere.

mod bars;
mod duration;
mod lines;

use std::io::{IsTerminal as _, Write as _};

use bars::Bars;
use cogwheel_api::generation::v1::generate_video_response::Event;
pub use lines::Lines;

use crate::shown;

/// Where progress is shown.
pub struct Progress {
    lines: Lines,
    bars: Option<Bars>,
}

impl Progress {
    /// Bars where standard error is a terminal. `verbose` tells where the time went.
    pub fn new(verbose: bool) -> Self {
        let bars = std::io::stderr().is_terminal().then(Bars::new);
        Self { lines: Lines::new(verbose), bars }
    }

    /// Shows an event of video `index`.
    pub fn show(&mut self, index: u32, event: &Event) {
        let line = self.lines.line(index, event).map(|line| shown::line(&line));
        match (&mut self.bars, line) {
            (Some(bars), line) => bars.show(event, line),
            (None, Some(line)) => print(&line),
            (None, None) => {}
        }
    }

    /// Tells something that is no event.
    pub fn note(&self, message: &str) {
        let message = shown::line(message);
        match &self.bars {
            Some(bars) => bars.print(&format!("note: {message}")),
            None => print(&format!("note: {message}")),
        }
    }

    /// Runs `print`, which may write to the same terminal.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.aside(print),
            None => print(),
        }
    }

    /// Takes the bars away.
    pub fn clear(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.clear();
        }
    }
}

/// A reader of standard error that has gone away is no reason to lose a video.
fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
