//! Images and videos that requests bring.

use bytes::Bytes;
use cogwheel_api::generation::v1::{InputVideo, Pictures, input_video};
use cogwheel_video::{VideoEncoder, VideoFormat, encode_png};

use super::*;

fn checkpoint(name: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/checkpoints");
    Checkpoint::open(&folder.join(name)).unwrap()
}

fn png(width: u32, height: u32) -> Bytes {
    let pixels = vec![90; (width * height * 3) as usize];
    encode_png(FrameSize { width, height }, &pixels).unwrap().into()
}

fn pictures(count: usize) -> Option<InputVideo> {
    let files = vec![png(20, 10); count];
    Some(InputVideo { source: Some(input_video::Source::Pictures(Pictures { files })) })
}

fn mp4(frames: usize) -> Option<InputVideo> {
    let size = FrameSize { width: 32, height: 16 };
    let mut encoder = VideoEncoder::new(VideoFormat::Mp4, size, 8).unwrap();
    (0..frames).for_each(|at| encoder.push(&vec![at as u8; 32 * 16 * 3]).unwrap());
    let file = encoder.finish().unwrap().into();
    Some(InputVideo { source: Some(input_video::Source::File(file)) })
}

fn plan(checkpoint_name: &str, request: GenerateVideoRequest) -> Result<Plan, Failure> {
    let memory_limit = Some(MemorySize { bytes: u64::MAX });
    let limits = RequestLimits { memory_limit, ..RequestLimits::default() };
    let model = Model::new(checkpoint(checkpoint_name), limits.precision);
    Plan::new(request, &model, &Adapters::new(), &limits, Residency::Apart)
}

#[track_caller]
fn refused(checkpoint: &str, request: GenerateVideoRequest, expected: &[(&str, &str)]) {
    let Err(Failure::Invalid(invalid)) = plan(checkpoint, request) else { panic!("accepted") };
    let found: Vec<_> = invalid.0.iter().map(|v| (&*v.field, &*v.description)).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((field, text), (expected_field, expected_text)) in found.iter().zip(expected) {
        assert_eq!(field, expected_field, "{found:?}");
        assert!(text.contains(expected_text), "expected '{expected_text}' in '{text}'");
    }
}

#[test]
fn a_model_takes_what_it_is_made_for_and_nothing_else() {
    let none = GenerateVideoRequest::default;
    let image = || GenerateVideoRequest { image: Some(png(64, 48)), ..none() };
    let video = || GenerateVideoRequest { video: pictures(9), ..none() };
    refused("image", none(), &[("image", "expected an image to start from, found none")]);
    refused("control", none(), &[("video", "expected a video that controls")]);
    let found = "starts from an image, found one";
    refused("image", video(), &[("image", "found none"), ("video", found)]);
    refused("sincos", image(), &[("image", "does not start from an image, found one")]);
    refused("control", image(), &[("image", "found one"), ("video", "found none")]);
    for (name, request) in [
        ("image", image()),
        ("image15", image()),
        ("control", video()),
        ("sincos", video()),
        ("sincos", none()),
    ] {
        plan(name, request).unwrap();
    }
}

#[test]
fn strength_goes_with_a_video_to_depart_from_and_leaves_a_step() {
    let with = |strength, video| GenerateVideoRequest {
        strength: Some(strength),
        video,
        num_inference_steps: Some(4),
        ..GenerateVideoRequest::default()
    };
    refused("sincos", with(0.5, None), &[("strength", "expected none without a video")]);
    refused("control", with(0.5, pictures(9)), &[("strength", "departs from no video")]);
    for strength in [0.0, 0.2, 1.1, f64::NAN] {
        refused("sincos", with(strength, pictures(9)), &[("strength", "at least one of 4 steps")]);
    }
    let planned = plan("sincos", with(0.25, pictures(9))).unwrap();
    assert_eq!(planned.accepted(String::new()).strength, Some(0.25));
    let planned = plan("sincos", GenerateVideoRequest { video: pictures(9), ..Default::default() });
    assert_eq!(planned.unwrap().given.unwrap().strength, Some(0.8));
}

#[test]
fn a_video_has_as_many_frames_as_the_one_it_is_made_of_but_no_more_than_the_models() {
    // The model's default is 9.
    for (count, expected) in [(9, 9), (16, 9), (17, 9), (40, 9)] {
        let planned =
            plan("sincos", GenerateVideoRequest { video: pictures(count), ..Default::default() });
        assert_eq!(planned.unwrap().size.num_frames, expected);
    }
    let longer = |count, num_frames| GenerateVideoRequest {
        video: mp4(count),
        num_frames: Some(num_frames),
        ..Default::default()
    };
    assert_eq!(plan("sincos", longer(20, 17)).unwrap().size.num_frames, 17);
    refused("sincos", longer(16, 17), &[("video", "expected at least 17 frames, found 16")]);
    let short = GenerateVideoRequest { video: mp4(8), ..Default::default() };
    refused("sincos", short, &[("video", "expected at least 9 frames, found 8")]);
}

#[test]
fn what_is_done_to_an_image_or_video_is_told() {
    let notices = |name, request| plan(name, request).unwrap().notices;
    let video = GenerateVideoRequest { video: mp4(20), ..Default::default() };
    let expected = "of the video's 20 frames the first 9 are taken, resized from 32x16 to 64x48, which \
                    changes their proportions";
    assert_eq!(notices("sincos", video), [expected]);
    let image = |width, height| GenerateVideoRequest {
        image: Some(png(width, height)),
        ..Default::default()
    };
    assert_eq!(notices("image", image(128, 96)), ["the image is resized from 128x96 to 64x48"]);
    assert!(notices("image", image(64, 48)).is_empty());
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let image = |file: &[u8]| GenerateVideoRequest {
        image: Some(Bytes::copy_from_slice(file)),
        ..Default::default()
    };
    for (file, said) in
        [(&b""[..], "expected"), (b"GIF89a", "expected"), (&png(8, 8)[..40], "expected")]
    {
        refused("image", image(file), &[("image", said)]);
    }
    let file = |bytes: &[u8]| InputVideo {
        source: Some(input_video::Source::File(Bytes::copy_from_slice(bytes))),
    };
    let none = InputVideo { source: None };
    let many = InputVideo {
        source: Some(input_video::Source::Pictures(Pictures { files: vec![Bytes::new(); 10_001] })),
    };
    for video in [none, file(b""), file(&png(8, 8)), pictures(0).unwrap(), many] {
        let request = GenerateVideoRequest { video: Some(video), ..Default::default() };
        refused("sincos", request, &[("video", "expected")]);
    }
}

#[test]
fn a_frame_that_is_broken_later_is_found_by_looking_through() {
    let with = |broken: usize| {
        let mut files = vec![png(8, 8); 12];
        files[broken] = png(8, 8).slice(..40);
        let video = InputVideo { source: Some(input_video::Source::Pictures(Pictures { files })) };
        let request = GenerateVideoRequest { video: Some(video), ..Default::default() };
        plan("sincos", request).unwrap().given.unwrap()
    };
    let look = |broken: usize| with(broken).look_through(9, || true);
    let Err(Failure::Invalid(invalid)) = look(5) else { panic!("expected a refusal") };
    let found = &invalid.0[0];
    assert_eq!(found.field, "video");
    assert!(found.description.starts_with("frame 5: png: expected"), "{found:?}");
    // Not used.
    look(9).unwrap();
    // Nobody is there any more.
    with(5).look_through(9, || false).unwrap();
}

#[test]
fn sides_are_those_that_the_model_has_positions_for() {
    let sized = |width, height, image: bool| GenerateVideoRequest {
        width: Some(width),
        height: Some(height),
        image: image.then(|| png(64, 48)),
        ..Default::default()
    };
    let learned = "for which the model has learned positions, found";
    refused("image", sized(48, 64, true), &[("width", learned), ("height", learned)]);
    let table = "expected at most 160, the end of the model's positions, found 176";
    refused("patches", sized(192, 176, false), &[("height", table)]);
    plan("patches", sized(192, 160, false)).unwrap();
    // 1.0 spreads its positions over any picture.
    plan("rope", sized(320, 320, false)).unwrap();
}

#[test]
fn other_lengths_than_those_of_learned_positions_are_warned_of() {
    let request = GenerateVideoRequest {
        image: Some(png(64, 48)),
        num_frames: Some(17),
        ..Default::default()
    };
    let notices = plan("image", request).unwrap().notices;
    assert!(
        notices.iter().any(|notice| notice.contains("learned its positions for 9 frames")),
        "{notices:?}"
    );
}
