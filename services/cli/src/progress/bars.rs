use std::time::Duration;

use cogwheel_api::generation::v1::generate_video_response::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar without news shows that it is alive.
const TICK: Duration = Duration::from_millis(120);

/// A stage that cannot be counted.
const WAITING: &str = "{spinner} {msg} ({elapsed})";
/// A stage that goes step by step.
const COUNTING: &str = "{spinner} {prefix} {bar:30} {msg}";

/// One bar at the foot of the terminal: the stage, step n of m, time left.
pub(super) struct Bars {
    bar: ProgressBar,
}

impl Bars {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(WAITING));
        bar.set_message("checking");
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// Shows an event in the bar, or above it where it is none for the bar; `line` is the event in
    /// words.
    pub(super) fn show(&mut self, event: &Event, line: Option<String>) {
        let (stage, position, length) = match event {
            Event::StageStarted(_) | Event::Queued(_) => {
                self.bar.set_style(style(WAITING));
                self.bar.set_message(line.unwrap_or_default());
                return self.bar.reset_elapsed();
            }
            Event::StepCompleted(step) => ("denoising", step.step, step.num_steps),
            Event::FramesEncoded(encoded) => ("encoding", encoded.frames, encoded.num_frames),
            Event::TilesDecoded(decoded) => ("decoding", decoded.tiles, decoded.num_tiles),
            Event::FramesDecoded(decoded) => ("decoding", decoded.frames, decoded.num_frames),
            _ => return line.into_iter().for_each(|line| self.print(&line)),
        };
        self.bar.set_style(style(COUNTING));
        self.bar.set_prefix(stage);
        self.bar.set_length(length.into());
        self.bar.set_position(position.into());
        self.bar.set_message(line.unwrap_or_default());
    }

    /// Prints a line above the bar.
    pub(super) fn print(&self, line: &str) {
        self.bar.println(line);
    }

    /// Runs `print`, which writes to the same terminal.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A template that cannot be read would be a defect here; a plain bar is then better than none.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for template in [WAITING, COUNTING] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
