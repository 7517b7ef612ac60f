mod inputs;

use std::path::Path;

use cogwheel_service::MemorySize;

use super::*;

fn demo() -> Checkpoint {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/model");
    Checkpoint::open(&dir).unwrap()
}

/// The fields that are violated, with enough memory or with what is stated.
fn violated(request: GenerateVideoRequest, memory_limit: u64) -> Vec<String> {
    let memory_limit = Some(MemorySize { bytes: memory_limit });
    let limits = RequestLimits { memory_limit, ..RequestLimits::default() };
    match check(request, &demo(), &[], &limits, Residency::Apart) {
        Ok(()) => Vec::new(),
        Err(Failure::Invalid(invalid)) => invalid.0.into_iter().map(|v| v.field).collect(),
        Err(other) => panic!("expected violations, found {other}"),
    }
}

fn request(format: OutputFormat) -> GenerateVideoRequest {
    GenerateVideoRequest { output_format: format.into(), ..GenerateVideoRequest::default() }
}

const FORMATS: [OutputFormat; 5] = [
    OutputFormat::Unspecified,
    OutputFormat::Mp4,
    OutputFormat::Gif,
    OutputFormat::Png,
    OutputFormat::Frames,
];

#[test]
fn what_a_format_cannot_hold_is_refused_before_anything_is_made() {
    for format in FORMATS {
        let wide = GenerateVideoRequest { width: Some(3856), height: Some(16), ..request(format) };
        let expected: &[&str] =
            if format == OutputFormat::Frames { &[] } else { &["output_format"] };
        assert_eq!(violated(wide, u64::MAX), expected, "{format:?}");
    }
}

#[test]
fn frames_and_pixels_are_bounded_however_much_memory_there_is() {
    let long = GenerateVideoRequest { num_frames: Some(1009), ..request(OutputFormat::Frames) };
    assert_eq!(violated(long, u64::MAX), ["num_frames"]);
    let large = GenerateVideoRequest {
        width: Some(4096),
        height: Some(2176),
        ..request(OutputFormat::Frames)
    };
    assert_eq!(violated(large, u64::MAX), ["width"]);
}

#[test]
fn every_format_has_a_range_of_rates() {
    for format in FORMATS {
        let max = if format == OutputFormat::Gif { 50 } else { 60 };
        for fps in [1, max] {
            let fits = GenerateVideoRequest { fps: Some(fps), ..request(format) };
            assert!(violated(fits, u64::MAX).is_empty(), "{format:?} at {fps}");
        }
        for fps in [0, max + 1, 4_000_000_000] {
            let beyond = GenerateVideoRequest { fps: Some(fps), ..request(format) };
            assert_eq!(violated(beyond, u64::MAX), ["fps"], "{format:?} at {fps}");
        }
    }
}

#[test]
fn a_rate_is_told_beside_a_size() {
    let both = GenerateVideoRequest { width: Some(65), fps: Some(0), ..request(OutputFormat::Mp4) };
    assert_eq!(violated(both, u64::MAX), ["width", "fps"]);
}

#[test]
fn too_little_memory_names_what_is_furthest_beyond_its_default() {
    // The demo model's own size is 64x64 with 17 frames.
    let sizes = [(1280, 640, 9, "width"), (64, 640, 17, "height"), (64, 128, 161, "num_frames")];
    for (width, height, num_frames, expected) in sizes {
        let large = GenerateVideoRequest {
            width: Some(width),
            height: Some(height),
            num_frames: Some(num_frames),
            ..request(OutputFormat::Mp4)
        };
        assert_eq!(violated(large, 1), [expected]);
    }
}
