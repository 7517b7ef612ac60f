use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where there is no terminal, a line says how far it is so often.
const QUIET: Duration = Duration::from_secs(30);
const BAR: &str = "{spinner} {msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// How much of a model has come, on standard error: a bar on a terminal, elsewhere a line now and then.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    length: u64,
    total: u64,
    told: Instant,
}

impl Progress {
    /// Of so many bytes.
    pub(super) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(BAR);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, what: String::new(), length: 0, total, told: Instant::now() }
    }

    /// What comes next.
    pub(super) fn turn_to(&mut self, what: &str) {
        self.what = what.to_owned();
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// So many bytes were there already.
    pub(super) fn has(&mut self, bytes: u64) {
        self.length = self.length.saturating_add(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(self.length);
            // They say nothing about how fast others come.
            bar.reset_eta();
        }
    }

    /// So many bytes came.
    pub(super) fn came(&mut self, bytes: u64) {
        self.length = self.length.saturating_add(bytes);
        match &self.bar {
            Some(bar) => bar.set_position(self.length),
            None if self.told.elapsed() >= QUIET => {
                self.told = Instant::now();
                say(&format!("{}: {}", self.what, part(self.length, self.total)));
            }
            None => {}
        }
    }

    /// So many bytes must come again.
    pub(super) fn lost(&mut self, bytes: u64) {
        self.length = self.length.saturating_sub(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(self.length);
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error; a reader that has gone away is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", crate::shown::line(line));
}

fn part(length: u64, total: u64) -> String {
    let percent = length as f64 / total.max(1) as f64 * 100.0;
    format!("{:.2} of {:.2} GB in all ({percent:.0}%)", length as f64 / 1e9, total as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_read_and_a_line_says_how_far_it_is() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
        assert_eq!(part(500_000_000, 2_000_000_000), "0.50 of 2.00 GB in all (25%)");
        assert_eq!(part(0, 0), "0.00 of 0.00 GB in all (0%)");
    }
}
