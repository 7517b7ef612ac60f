//! Sizes are changed as Pillow changes them.

mod inputs;

use cogwheel_video::{FrameSize, Picture};

/// A linear congruential generator's upper bytes (Numerical Recipes'), from 1, as in tools/reference/inputs.py.
fn noise(count: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |value, byte| {
        (value ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn every_resize_is_pillows_lanczos_to_the_byte() {
    let table = String::from_utf8(inputs::file("resize.txt")).unwrap();
    assert!(table.lines().count() > 150);
    for line in table.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [width, height, to_width, to_height] =
            [0, 1, 2, 3].map(|at| fields[at].parse::<u32>().unwrap());
        let picture = Picture::new(FrameSize { width, height }, noise(width * height * 3)).unwrap();
        let size = FrameSize { width: to_width, height: to_height };
        let resized = picture.resized(size);
        assert_eq!(resized.size(), size);
        assert_eq!(format!("{:016x}", fnv1a(resized.rgb())), fields[4], "{line}");
    }
}

#[test]
fn a_side_of_zero_gives_no_pixels() {
    let picture = Picture::new(FrameSize { width: 2, height: 2 }, vec![7; 12]).unwrap();
    assert!(picture.resized(FrameSize { width: 0, height: 5 }).rgb().is_empty());
    assert!(picture.resized(FrameSize { width: 5, height: 0 }).rgb().is_empty());
}

#[test]
fn a_picture_of_the_wrong_length_is_refused() {
    let error = Picture::new(FrameSize { width: 2, height: 2 }, vec![7; 11]).unwrap_err();
    assert_eq!(error.to_string(), "frame 0 has 11 bytes: expected 12 for 2x2 pixels");
}
