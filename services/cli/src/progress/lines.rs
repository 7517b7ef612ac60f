use std::time::{Duration, Instant};

use cogwheel_api::denoiser::v1::{Sampling, Scheduler, StepCompleted, VariantMerging, VideoSize};
use cogwheel_api::generation::v1::{
    Accepted, FramesDecoded, FramesEncoded, Stage, TilesDecoded, VideoCompleted,
    generate_video_response::Event,
};

use super::duration::duration;

/// Digits of a variant's digest that are shown: enough to find it in a log.
const DIGITS: usize = 16;

/// Events as plain lines.
#[derive(Debug)]
pub struct Lines {
    verbose: bool,
    num_videos: u32,
    /// Of each video.
    num_frames: u32,
    /// Seconds of the steps so far in the current video.
    step_seconds: f64,
    /// When what is told of now began: a stage, or the tiles or frames of one.
    since: Instant,
}

impl Lines {
    /// Lines; `verbose` ones tell where the time went.
    pub fn new(verbose: bool) -> Self {
        let since = Instant::now();
        Self { verbose, num_videos: 0, num_frames: 0, step_seconds: 0.0, since }
    }

    /// The line that tells an event of video `index`, if it is one to tell.
    pub fn line(&mut self, index: u32, event: &Event) -> Option<String> {
        let line = match event {
            Event::Accepted(accepted) => {
                self.num_videos = accepted.num_videos;
                self.num_frames = accepted.size.unwrap_or_default().num_frames;
                return Some(understood(accepted));
            }
            Event::Notice(notice) => return Some(format!("note: {}", notice.message)),
            Event::PromptEnhanced(enhanced) => {
                return Some(format!("prompt, written out: {}", enhanced.prompt));
            }
            Event::StageStarted(started) => {
                self.step_seconds = 0.0;
                self.since = Instant::now();
                stage(started.stage())?.to_owned()
            }
            Event::Queued(queued) => {
                let stage = stage(queued.stage()).unwrap_or("waiting");
                let requests = if queued.queue_position == 1 { "request" } else { "requests" };
                format!("{stage}: {} {requests} ahead", queued.queue_position)
            }
            Event::VariantMerging(merging) => {
                let VariantMerging { tensors, num_tensors } = *merging;
                // Hundreds of tensors take seconds: a line for each tenth is enough.
                let tenth = |tensors: u32| u64::from(tensors) * 10 / u64::from(num_tensors.max(1));
                if tenth(tensors) == tenth(tensors.saturating_sub(1)) {
                    return None;
                }
                format!("merging adapters: {tensors} of {num_tensors} tensors")
            }
            Event::StepCompleted(step) => self.step(step),
            Event::TilesDecoded(TilesDecoded { tiles, num_tiles }) => {
                // Loading and waiting are over when the first tile begins; frames follow the last one at once.
                let elapsed = self.since.elapsed();
                if *tiles == 0 || tiles == num_tiles {
                    self.since = Instant::now();
                }
                told("tile", *tiles, *num_tiles, (*tiles > 0).then_some(elapsed))
            }
            Event::FramesEncoded(FramesEncoded { frames, num_frames }) => {
                format!("encoded frame {frames} of {num_frames}")
            }
            Event::FramesDecoded(FramesDecoded { frames, num_frames }) => {
                told("frame", *frames, *num_frames, Some(self.since.elapsed()))
            }
            Event::VideoCompleted(completed) => self.completed(completed),
            Event::Latents(_) | Event::Frames(_) | Event::Artifact(_) => return None,
        };
        Some(if self.num_videos > 1 {
            format!("video {} of {}: {line}", index.saturating_add(1), self.num_videos)
        } else {
            line
        })
    }

    /// Time left by the mean of the steps so far: they all compute the same.
    fn step(&mut self, step: &StepCompleted) -> String {
        self.step_seconds += step.seconds.max(0.0);
        let mean = self.step_seconds / f64::from(step.step.max(1));
        let left = mean * f64::from(step.num_steps.saturating_sub(step.step));
        let each = if mean < 0.1 { format!("{:.0} ms", mean * 1e3) } else { duration(mean) };
        let left = duration(left);
        format!("step {} of {}, {each} each, {left} left", step.step, step.num_steps)
    }

    /// The variant that made it, where adapters did; how fast; and where the time went.
    fn completed(&self, completed: &VideoCompleted) -> String {
        let id: String = completed.variant.chars().take(DIGITS).collect();
        let variant = (!id.is_empty()).then(|| format!("made with variant {id}"));
        let seconds = completed.seconds;
        let rate = (seconds > 0.0).then(|| f64::from(self.num_frames) / seconds);
        let rate = rate.map(|rate| format!(", {rate:.2} frames a second")).unwrap_or_default();
        let speed = format!("{} frames in {}{rate}", self.num_frames, duration(seconds));
        let spent = self.verbose.then(|| spent(completed));
        variant.into_iter().chain([speed]).chain(spent).collect::<Vec<_>>().join(", ")
    }
}

/// How far decoding is; how many a second and the time left, by how long those so far took.
fn told(what: &str, done: u32, of: u32, elapsed: Option<Duration>) -> String {
    let told = format!("decoded {what} {done} of {of}");
    let each = elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64() / f64::from(done.max(1)));
    if each <= 0.0 {
        return told;
    }
    let left = duration(each * f64::from(of.saturating_sub(done)));
    format!("{told}, {:.2} a second, {left} left", each.recip())
}

/// What a stage does.
fn stage(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::TextEncoder => Some("encoding the prompt"),
        Stage::Denoiser => Some("denoising"),
        Stage::Vae => Some("decoding frames"),
        Stage::VaeEncoder => Some("encoding what was given"),
        Stage::Unspecified => None,
    }
}

fn understood(accepted: &Accepted) -> String {
    let VideoSize { num_frames, width, height } = accepted.size.unwrap_or_default();
    let sampling = accepted.sampling.unwrap_or_default();
    let Sampling { num_inference_steps, guidance_scale, dynamic_cfg, seed, .. } = sampling;
    let scheduler = match sampling.scheduler() {
        Scheduler::Dpm => " of dpm",
        Scheduler::Ddim => " of ddim",
        Scheduler::Unspecified => "",
    };
    let guidance = match (guidance_scale > 1.0, dynamic_cfg) {
        (false, _) => "no guidance".to_owned(),
        (true, true) => format!("dynamic guidance {guidance_scale}"),
        (true, false) => format!("guidance {guidance_scale}"),
    };
    let videos = match accepted.num_videos {
        1 => String::new(),
        n => format!("{n} videos of "),
    };
    format!(
        "{videos}{num_frames} frames of {width}x{height} at {} fps, {num_inference_steps} steps{scheduler}, {guidance}, seed {seed}",
        accepted.fps
    )
}

fn spent(completed: &VideoCompleted) -> String {
    let VideoCompleted { seconds, runtime_seconds, seed, .. } = completed;
    let outside = if *seconds > 0.0 { (1.0 - runtime_seconds / seconds) * 100.0 } else { 0.0 };
    format!("seed {seed}: {seconds:.3} s, {outside:.2}% of it outside the runtime")
}

#[cfg(test)]
mod tests {
    use cogwheel_api::generation::v1::{FramesDecoded, Notice, Queued, StageStarted};

    use super::*;

    fn accepted(num_videos: u32) -> Event {
        Event::Accepted(Accepted {
            generation_id: "1".into(),
            size: Some(VideoSize { num_frames: 17, width: 64, height: 48 }),
            sampling: Some(Sampling {
                num_inference_steps: 50,
                guidance_scale: 6.0,
                scheduler: Scheduler::Dpm.into(),
                dynamic_cfg: true,
                seed: 42,
            }),
            fps: 8,
            num_videos,
            adapters: Vec::new(),
            strength: None,
        })
    }

    fn step(step: u32) -> Event {
        Event::StepCompleted(StepCompleted { step, num_steps: 50, timestep: 999, seconds: 2.0 })
    }

    #[test]
    fn a_request_is_told_as_it_was_understood() {
        assert_eq!(
            Lines::new(false).line(0, &accepted(1)).unwrap(),
            "17 frames of 64x48 at 8 fps, 50 steps of dpm, dynamic guidance 6, seed 42"
        );
        let line = Lines::new(false).line(0, &accepted(2)).unwrap();
        assert!(line.starts_with("2 videos of 17 frames"), "{line}");
        let bare = Event::Accepted(Accepted { num_videos: 1, ..Accepted::default() });
        assert!(Lines::new(false).line(0, &bare).unwrap().contains("no guidance"));
    }

    #[test]
    fn steps_tell_the_time_left() {
        let mut lines = Lines::new(false);
        lines.line(0, &accepted(1));
        assert_eq!(lines.line(0, &step(1)).unwrap(), "step 1 of 50, 2.0 s each, 1 min 38 s left");
        for n in 2..50 {
            lines.line(0, &step(n));
        }
        assert_eq!(lines.line(0, &step(50)).unwrap(), "step 50 of 50, 2.0 s each, 0.0 s left");
    }

    #[test]
    fn lines_name_the_video_only_among_several() {
        let decoded = Event::FramesDecoded(FramesDecoded { frames: 9, num_frames: 17 });
        let mut lines = Lines::new(false);
        lines.line(0, &accepted(1));
        let line = lines.line(0, &decoded).unwrap();
        assert!(line.starts_with("decoded frame 9 of 17"), "{line}");
        lines.line(0, &accepted(3));
        let line = lines.line(1, &decoded).unwrap();
        assert!(line.starts_with("video 2 of 3: decoded frame 9 of 17"), "{line}");
        let notice = Event::Notice(Notice { message: "the prompt was cut".into() });
        assert_eq!(lines.line(0, &notice).unwrap(), "note: the prompt was cut");
    }

    #[test]
    fn decoding_tells_how_many_a_second_and_the_time_left() {
        let line = told("frame", 9, 17, Some(Duration::from_millis(4500)));
        assert_eq!(line, "decoded frame 9 of 17, 2.00 a second, 4.0 s left");
        let line = told("tile", 1, 9, Some(Duration::from_secs(20)));
        assert_eq!(line, "decoded tile 1 of 9, 0.05 a second, 2 min 40 s left");
        assert_eq!(told("frame", 9, 17, Some(Duration::ZERO)), "decoded frame 9 of 17");
        assert_eq!(told("tile", 0, 9, None), "decoded tile 0 of 9");
        let none = told("frame", 0, 0, Some(Duration::from_secs(1)));
        assert!(none.starts_with("decoded frame 0 of 0"));
    }

    #[test]
    fn frames_that_follow_tiles_are_timed_from_the_last_tile() {
        let mut lines = Lines::new(false);
        lines.line(0, &accepted(1));
        let hour = Duration::from_secs(3600);
        for tiles in [0, 9] {
            lines.since = Instant::now().checked_sub(hour).unwrap();
            lines.line(0, &Event::TilesDecoded(TilesDecoded { tiles, num_tiles: 9 }));
            assert!(lines.since.elapsed() < hour / 2);
        }
        lines.since = Instant::now().checked_sub(hour).unwrap();
        let tile = Event::TilesDecoded(TilesDecoded { tiles: 3, num_tiles: 9 });
        assert!(lines.line(0, &tile).unwrap().ends_with("2 h 00 min left"));
        assert!(lines.since.elapsed() >= hour);
    }

    #[test]
    fn stages_and_queues_are_told() {
        let mut lines = Lines::new(false);
        let started = Event::StageStarted(StageStarted { stage: Stage::Denoiser.into() });
        assert_eq!(lines.line(0, &started).unwrap(), "denoising");
        let queued =
            |queue_position| Event::Queued(Queued { stage: Stage::Vae.into(), queue_position });
        assert_eq!(lines.line(0, &queued(1)).unwrap(), "decoding frames: 1 request ahead");
        assert_eq!(lines.line(0, &queued(2)).unwrap(), "decoding frames: 2 requests ahead");
    }

    #[test]
    fn the_variant_is_told_where_adapters_made_the_video() {
        let variant = "0123456789abcdef".repeat(4);
        let completed = Event::VideoCompleted(VideoCompleted { variant, ..Default::default() });
        let line = Lines::new(false).line(0, &completed).unwrap();
        assert!(line.starts_with("made with variant 0123456789abcdef, 0 frames"), "{line}");
    }

    #[test]
    fn a_finished_video_tells_frames_a_second_and_where_the_time_went_when_asked() {
        let completed = Event::VideoCompleted(VideoCompleted {
            seed: 7,
            seconds: 2.0,
            runtime_seconds: 1.99,
            ..VideoCompleted::default()
        });
        for (verbose, expected) in [
            (false, "17 frames in 2.0 s, 8.50 frames a second"),
            (
                true,
                "17 frames in 2.0 s, 8.50 frames a second, seed 7: 2.000 s, 0.50% of it outside the runtime",
            ),
        ] {
            let mut lines = Lines::new(verbose);
            lines.line(0, &accepted(1));
            assert_eq!(lines.line(0, &completed).unwrap(), expected);
        }
    }
}
