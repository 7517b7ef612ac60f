//! Tables of colours in GIF files: of the whole file, of a frame, too short, or none.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use cogwheel_video::{PictureNote, ReadError, ReadLimits, VideoReader};

const RED_AND_BLUE: [u8; 6] = [255, 0, 0, 0, 0, 255];
const GREEN_AND_BLACK: [u8; 6] = [0, 255, 0, 0, 0, 0];

/// A GIF of one pixel, with frames of an entry of its table of colours and a table of their own.
fn gif(colours: Option<[u8; 6]>, frames: &[(u8, Option<[u8; 6]>)]) -> Vec<u8> {
    let flags = |table: Option<[u8; 6]>| if table.is_some() { 0x80 } else { 0 };
    let mut file = b"GIF89a\x01\0\x01\0".to_vec();
    file.extend([flags(colours), 0, 0]);
    file.extend(colours.iter().flatten());
    for &(entry, table) in frames {
        file.extend(b",\0\0\0\0\x01\0\x01\0");
        file.push(flags(table));
        file.extend(table.iter().flatten());
        // Codes of 3 bits: start, the entry, end.
        let codes = 4 | u16::from(entry) << 3 | 5 << 6;
        file.extend([2, 2]);
        file.extend(codes.to_le_bytes());
        file.push(0);
    }
    file.push(b';');
    file
}

/// The pixel of each frame, and whether it was put on white.
fn pixels(file: Vec<u8>) -> Result<Vec<(Vec<u8>, bool)>, ReadError> {
    let mut reader = VideoReader::open(file, &ReadLimits::default())?;
    let mut pixels = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        let on_white = frame.notes().contains(&PictureNote::PutOnWhite);
        pixels.push((frame.into_rgb(), on_white));
    }
    Ok(pixels)
}

#[test]
fn a_frames_own_table_goes_before_the_files() {
    let own = Some(GREEN_AND_BLACK);
    let all = gif(Some(RED_AND_BLUE), &[(1, None), (0, own), (0, None)]);
    let expected = [vec![0, 0, 255], vec![0, 255, 0], vec![255, 0, 0]].map(|rgb| (rgb, false));
    assert_eq!(pixels(all).unwrap(), expected);
    assert_eq!(pixels(gif(None, &[(0, own)])).unwrap(), [(vec![0, 255, 0], false)]);
}

#[test]
fn a_frame_without_any_table_is_named_when_the_file_is_opened() {
    let refused = |file| VideoReader::open(file, &ReadLimits::default()).err().unwrap().to_string();
    let expected = "gif: expected a table of colours, found none for frame ";
    assert_eq!(refused(gif(None, &[(0, None)])), format!("{expected}0"));
    let last = gif(None, &[(0, Some(RED_AND_BLUE)), (0, None)]);
    assert_eq!(refused(last), format!("{expected}1"));
}

#[test]
fn an_entry_beyond_the_table_is_transparent_as_in_browsers() {
    assert_eq!(pixels(gif(Some(RED_AND_BLUE), &[(3, None)])).unwrap(), [(vec![255; 3], true)]);
}
