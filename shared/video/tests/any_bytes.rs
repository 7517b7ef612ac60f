//! Whatever the bytes, readers give a picture or an error, and take no more memory than the limits allow.

mod inputs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::LazyLock;

use cogwheel_video::{ReadLimits, VideoReader, read_picture};
use proptest::prelude::*;

const LIMITS: ReadLimits = ReadLimits { max_bytes: 1 << 20, max_pixels: 1 << 16, max_frames: 1000 };
/// What [`ReadLimits::max_pixels`] promises; a part of a lossy WebP, which is read into memory of the size that it states in
/// 24 bits; codecs' tables, which do not grow with a picture. (OpenH264's own memory is not counted here.)
const MAX_MEMORY: usize = 16 * (1 << 16) + (1 << 24) + (2 << 20);

/// Counts what this thread holds, and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; the counters are plain cells without destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().wrapping_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(at, layout) }
    }
}

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = [inputs::names("pictures"), inputs::names("videos")].concat();
    names.iter().map(|name| inputs::file(name)).collect()
});

/// Reads all that can be read, and again after an error; the most memory that took.
fn peak(bytes: &[u8]) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    if let Ok(picture) = read_picture(bytes, &LIMITS) {
        assert!(!picture.rgb().is_empty());
    }
    if let Ok(mut video) = VideoReader::open(bytes, &LIMITS) {
        let size = video.frame_size();
        let mut failures = 0;
        while failures < 2 {
            match video.next_frame() {
                Ok(Some(frame)) => assert_eq!(frame.size(), size),
                Ok(None) => break,
                Err(_) => failures += 1,
            }
        }
    }
    PEAK.get() - before
}

#[test]
fn whole_files_stay_within_the_limits() {
    for bytes in FILES.iter() {
        let peak = peak(bytes);
        assert!(peak > 0 && peak <= MAX_MEMORY, "{peak}");
    }
}

#[test]
fn small_frames_on_a_large_screen_of_a_gif_take_little_more_than_the_screen() {
    const SIDE: u16 = 2048;
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, SIDE, SIDE, &[255, 0, 0, 0, 0, 255]).unwrap();
    for dispose in
        [gif::DisposalMethod::Previous, gif::DisposalMethod::Background, gif::DisposalMethod::Keep]
    {
        let frame = gif::Frame { dispose, ..gif::Frame::from_indexed_pixels(2, 2, [1; 4], None) };
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    let limits = ReadLimits { max_pixels: 1 << 22, ..LIMITS };
    let before = HELD.get();
    PEAK.set(before);
    let mut video = VideoReader::open(file, &limits).unwrap();
    let mut frames = 0;
    while let Some(frame) = video.next_frame().unwrap() {
        assert_eq!(frame.rgb()[..3], [0, 0, 255]);
        frames += 1;
    }
    assert_eq!(frames, 3);
    // The screen in four bytes a pixel and one frame in three.
    let peak = PEAK.get() - before;
    assert!(peak < (7 << 22) + (1 << 20), "{peak}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn damaged_files_are_read_or_refused(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        kept in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = file.get(&FILES).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(kept) = kept {
            bytes.truncate(kept.index(bytes.len()));
        }
        let peak = peak(&bytes);
        prop_assert!(peak <= MAX_MEMORY, "{peak}");
    }

    #[test]
    fn bytes_behind_any_start_are_read_or_refused(
        file in any::<prop::sample::Index>(),
        start in 0..64usize,
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = file.get(&FILES).clone();
        bytes.truncate(start);
        bytes.extend(rest);
        let peak = peak(&bytes);
        prop_assert!(peak <= MAX_MEMORY, "{peak}");
    }

    #[test]
    fn headers_that_state_any_size_take_no_memory_for_it(
        file in any::<prop::sample::Index>(),
        at in 0..200usize,
        value in prop::sample::select(vec![u32::MAX, 0x7fff_ffff, 0xffff_0000, 0x0000_ffff, 0x4000_0000, 0x0100_0000]),
    ) {
        let mut bytes = file.get(&FILES).clone();
        let at = at.min(bytes.len() - 4);
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let peak = peak(&bytes);
        prop_assert!(peak <= MAX_MEMORY, "{peak}");
    }
}
