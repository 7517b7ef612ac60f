use cogwheel_api::generation::v1::GenerateVideoRequest;
use cogwheel_api::vae::v1::EncodePurpose;
use cogwheel_diffusion::scheduler::steps_taken;
use cogwheel_models::checkpoint::Conditioning;
use cogwheel_service::{Failure, Invalid};

use crate::input::Input;
use crate::model::Model;
use crate::settings::RequestLimits;

/// How far a video departs from the one it is made of, unless a request says: the default of diffusers' pipeline.
const STRENGTH: f64 = 0.8;

/// What a request brings, and what for.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) input: Input,
    pub(crate) purpose: EncodePurpose,
    /// With [`EncodePurpose::Video`] alone.
    pub(crate) strength: Option<f64>,
}

/// Takes image and video out of a request and opens what the model wants of them.
pub(super) fn given(
    request: &mut GenerateVideoRequest,
    model: &Model,
    limits: &RequestLimits,
    invalid: &mut Invalid,
) -> Option<Given> {
    let conditioning = model.conditioning();
    let (image, video) = (request.image.take(), request.video.take());
    let limits = limits.reading();
    let wanted = |found: bool, is_image: bool| match (conditioning, is_image) {
        (Conditioning::Image, true) if !found => {
            Some("expected an image to start from, found none")
        }
        (Conditioning::Control, false) if !found => {
            Some("expected a video that controls the new one, found none")
        }
        (Conditioning::Text | Conditioning::Control, true) if found => {
            Some("expected none, since this model does not start from an image, found one")
        }
        (Conditioning::Image, false) if found => {
            Some("expected none, since this model starts from an image, found one")
        }
        _ => None,
    };
    for (field, found) in [("image", image.is_some()), ("video", video.is_some())] {
        if let Some(message) = wanted(found, field == "image") {
            invalid.add(field, message);
        }
    }
    let (input, purpose) = match (conditioning, image, video) {
        (Conditioning::Image, Some(image), _) => {
            (Input::image(image, &limits).map_err(|error| error.to_string()), EncodePurpose::Image)
        }
        (Conditioning::Control, _, Some(video)) => {
            (Input::video(video, &limits), EncodePurpose::Control)
        }
        (Conditioning::Text, _, Some(video)) => {
            (Input::video(video, &limits), EncodePurpose::Video)
        }
        _ => {
            if request.strength.is_some() {
                invalid.add("strength", "expected none without a video, found one");
            }
            return None;
        }
    };
    let input = input.map_err(|error| invalid.add(Input::field(purpose), error)).ok()?;
    let strength = match purpose {
        EncodePurpose::Video => Some(request.strength.unwrap_or(STRENGTH)),
        _ => {
            if request.strength.is_some() {
                let message = "expected none, since this model departs from no video, found one";
                invalid.add("strength", message);
            }
            None
        }
    };
    Some(Given { input, purpose, strength })
}

impl Given {
    /// Reads the frames that a video of `num_frames` is made of, so that a broken one is told before any work, as long as
    /// `goes_on`. Work for a thread that may block.
    ///
    /// # Errors
    /// Which frame cannot be read, and why.
    pub(crate) fn look_through(
        &self,
        num_frames: usize,
        goes_on: impl FnMut() -> bool,
    ) -> Result<(), Failure> {
        let count = if self.purpose == EncodePurpose::Image { 1 } else { num_frames };
        self.input.look_through(Input::field(self.purpose), count, goes_on)
    }

    /// The most frames of a video to make, where a request does not say: `8n + 1` of those that there are, at most
    /// `default`. Where there are fewer than any video has, the fewest that one has, which is then refused.
    pub(super) fn num_frames(&self, default: usize) -> usize {
        match self.purpose {
            EncodePurpose::Image => default,
            _ => default.min((self.input.count.max(9) - 1) / 8 * 8 + 1),
        }
    }

    /// Holds it against the video to be made and the number of steps; says what is done to it.
    pub(super) fn check(
        &self,
        [num_frames, width, height]: [usize; 3],
        num_inference_steps: u32,
        notices: &mut Vec<String>,
        invalid: &mut Invalid,
    ) {
        let Input { size, count, .. } = self.input;
        notices.extend(self.input.notes.iter().cloned());
        let is_image = self.purpose == EncodePurpose::Image;
        if !is_image && count < num_frames {
            let message = format!("expected at least {num_frames} frames, found {count}");
            invalid.add("video", message);
        }
        if let Some(strength) = self.strength {
            let taken = steps_taken(num_inference_steps as usize, strength);
            if !(strength <= 1.0 && taken > 0) {
                let message = format!(
                    "expected above 0, at most 1 and at least one of {num_inference_steps} steps, found {strength}"
                );
                invalid.add("strength", message);
            }
        }
        let resized = (size.width as usize, size.height as usize) != (width, height);
        let cut = !is_image && count > num_frames;
        let (found, made) =
            (format!("{}x{}", size.width, size.height), format!("{width}x{height}"));
        let mut done = match (is_image, cut) {
            (false, true) => {
                format!("of the video's {count} frames the first {num_frames} are taken")
            }
            _ if !resized => return,
            (true, _) => "the image is".to_owned(),
            (false, false) => "the video's frames are".to_owned(),
        };
        if resized {
            done += if cut { ", " } else { " " };
            done += &format!("resized from {found} to {made}");
            let ratio = f64::from(size.width) / f64::from(size.height).max(1.0);
            let made = width as f64 / height.max(1) as f64;
            if (ratio / made - 1.0).abs() > DISTORTION {
                done += ", which changes their proportions";
            }
        }
        notices.push(done);
    }
}

/// A change of proportions that nobody sees.
const DISTORTION: f64 = 0.02;
