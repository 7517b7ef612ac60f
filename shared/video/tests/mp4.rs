//! What a player makes of the MP4 files.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod clip;
mod mp4_file;
mod psnr;

use clip::moving_shapes;
use cogwheel_video::{FrameSize, VideoEncoder, VideoFormat};
use mp4_file::Mp4File;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use psnr::psnr;

/// What a decoded clip must keep, in decibels over RGB. Half of the loss is 4:2:0 chroma at the shapes' edges.
const MIN_PSNR: f64 = 38.0;

/// What the quantizer that is left after binary noise may cost, in decibels: 12 to 36 steps, of which a smooth clip feels few.
const COARSER_LOSS: f64 = 12.0;

/// How far a flat colour may end up, of 255: rounding to 8 bits in Y'CbCr and back, and the quantizer.
const FLAT_COLOUR_TOLERANCE: u8 = 4;

fn encode(size: FrameSize, fps: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = VideoEncoder::new(VideoFormat::Mp4, size, fps).unwrap();
    for frame in frames {
        encoder.push(frame).unwrap();
    }
    encoder.finish().unwrap()
}

/// The frames of a file as RGB, every sample through a decoder.
fn decode(file: &[u8]) -> Vec<Vec<u8>> {
    let index = Mp4File::read(file);
    let mut decoder = Decoder::new().unwrap();
    let mut frames = Vec::new();
    for sample in &index.samples {
        let picture = decoder
            .decode(&index.annex_b(file, sample))
            .unwrap()
            .expect("a frame for every sample");
        assert_eq!(picture.dimensions(), (usize::from(index.width), usize::from(index.height)));
        frames.push(to_rgb(&picture));
    }
    frames
}

/// BT.709, limited range, as a browser shows it: chroma in the middle of its four pixels, linear between.
fn to_rgb(picture: &impl YUVSource) -> Vec<u8> {
    let (width, height) = picture.dimensions();
    let (y_stride, chroma_stride, _) = picture.strides();
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let near = |at: usize, end: usize| match at % 2 {
                0 => [at / 2, (at / 2).saturating_sub(1)],
                _ => [at / 2, (at / 2 + 1).min(end / 2 - 1)],
            };
            let chroma = |plane: &[u8]| {
                let mut sum = 0.0;
                for (row, vertical) in near(y, height).into_iter().zip([0.75, 0.25]) {
                    for (column, horizontal) in near(x, width).into_iter().zip([0.75, 0.25]) {
                        sum +=
                            vertical * horizontal * f64::from(plane[row * chroma_stride + column]);
                    }
                }
                (sum - 128.0) / 224.0
            };
            let luma = (f64::from(picture.y()[y * y_stride + x]) - 16.0) / 219.0;
            let (cb, cr) = (chroma(picture.u()), chroma(picture.v()));
            let green = luma - (0.0722 * 1.8556 * cb + 0.2126 * 1.5748 * cr) / 0.7152;
            for value in [luma + 1.5748 * cr, green, luma + 1.8556 * cb] {
                rgb.push((value * 255.0).round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    rgb
}

#[test]
fn a_decoded_clip_looks_like_the_frames_that_went_in() {
    let size = FrameSize { width: 128, height: 64 };
    let frames: Vec<_> = (0..50).map(|index| moving_shapes(size, index)).collect();
    let decoded = decode(&encode(size, 8, &frames));
    assert_eq!(decoded.len(), frames.len());
    for (index, (decoded, frame)) in decoded.iter().zip(&frames).enumerate() {
        let psnr = psnr(decoded, frame);
        assert!(psnr >= MIN_PSNR, "frame {index}: {psnr:.2} dB");
    }
}

#[test]
fn flat_colours_come_back() {
    let size = FrameSize { width: 32, height: 32 };
    let colours = [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 0],
        [0, 0, 0],
        [255; 3],
        [200, 120, 40],
        [128; 3],
    ];
    let frames: Vec<_> = colours.iter().map(|colour| colour.repeat(32 * 32)).collect();
    for (decoded, frame) in decode(&encode(size, 8, &frames)).iter().zip(&frames) {
        let off = decoded.iter().zip(frame).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(off <= FLAT_COLOUR_TOLERANCE, "{:?} became {:?}", &frame[..3], &decoded[..3]);
    }
}

#[test]
fn the_file_says_which_colours_it_has() {
    let size = FrameSize { width: 64, height: 48 };
    let index = Mp4File::read(&encode(size, 8, &[moving_shapes(size, 0)]));
    assert_eq!(index.colour, [&b"nclx"[..], &[0, 1, 0, 1, 0, 1, 0]].concat());
    assert_eq!(
        sequence_set_colours(&index.sequence_set),
        Some([0, 1, 1, 1]),
        "limited range, BT.709 three times"
    );
}

/// Range flag, primaries, transfer and matrix from a baseline sequence parameter set (H.264 7.3.2.1.1 and E.1.1).
fn sequence_set_colours(unit: &[u8]) -> Option<[u32; 4]> {
    assert_eq!(&unit[..2], [0x67, 66]);
    let bytes: Vec<u8> = (0..unit.len())
        .filter(|&i| i < 2 || unit[i - 2..=i] != [0, 0, 3])
        .map(|i| unit[i])
        .collect();
    let mut bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)))
        .skip(32);
    let mut take = |count: u32| (0..count).fold(0, |value, _| value << 1 | bits.next().unwrap());
    fn golomb(take: &mut impl FnMut(u32) -> u32) -> u32 {
        let zeros = (0..).take_while(|_| take(1) == 0).count() as u32;
        (1 << zeros) - 1 + take(zeros)
    }
    let [_id, _frame_number_bits, order] = [(); 3].map(|()| golomb(&mut take));
    if order == 0 {
        golomb(&mut take);
    }
    golomb(&mut take); // reference frames
    take(1);
    golomb(&mut take); // width
    golomb(&mut take); // height
    take(2);
    if take(1) == 1 {
        let _cropping = [(); 4].map(|()| golomb(&mut take));
    }
    let (usability, aspect, overscan) = (take(1), take(1), take(1));
    assert_eq!([usability, aspect, overscan], [1, 0, 0]);
    let (present, _format, full_range, described) = (take(1), take(3), take(1), take(1));
    (present == 1 && described == 1).then(|| [full_range, take(8), take(8), take(8)])
}

#[test]
fn the_index_comes_first_and_times_are_exact() {
    let size = FrameSize { width: 32, height: 16 };
    for (count, fps) in [(1, 60), (2, 1), (17, 7), (49, 8), (81, 16), (200, 30)] {
        let frames: Vec<_> = (0..count).map(|index| moving_shapes(size, index)).collect();
        let file = encode(size, fps, &frames);
        let index = Mp4File::read(&file);
        assert_eq!(index.boxes, ["ftyp", "moov", "free", "mdat"]);
        assert_eq!((index.width, index.height), (32, 16));
        assert_eq!(index.samples.len(), count);
        assert!(index.samples[0].is_key);
        assert_eq!(index.samples.last().unwrap().bytes.end, file.len());
        for sample in &index.samples {
            assert_eq!(sample.ticks * fps, index.ticks_per_second);
        }
        let duration = count as u32 * index.samples[0].ticks;
        assert_eq!(index.durations, [duration; 3]);
        assert_eq!(decode(&file).len(), count);
    }
}

#[test]
fn a_player_can_start_at_every_key_frame() {
    let size = FrameSize { width: 64, height: 32 };
    let frames: Vec<_> = (0..120).map(|index| moving_shapes(size, index)).collect();
    let file = encode(size, 16, &frames);
    let index = Mp4File::read(&file);
    let keys: Vec<_> = (0..120).filter(|&sample| index.samples[sample].is_key).collect();
    assert_eq!(keys, [0, 48, 96]);
    let whole = decode(&file);
    for key in keys {
        let mut decoder = Decoder::new().unwrap();
        for (sample, expected) in index.samples[key..key + 3].iter().zip(&whole[key..]) {
            let picture = decoder.decode(&index.annex_b(&file, sample)).unwrap().unwrap();
            assert_eq!(&to_rgb(&picture), expected);
        }
    }
}

#[test]
fn the_smallest_the_largest_and_odd_shapes_are_written() {
    for (width, height, count) in
        [(16, 16, 3), (16, 3840, 1), (3840, 2160, 2), (2160, 3840, 1), (50, 34, 3)]
    {
        let size = FrameSize { width, height };
        let frames: Vec<_> = (0..count).map(|index| moving_shapes(size, index)).collect();
        let index = Mp4File::read(&encode(size, 60, &frames));
        assert_eq!((u32::from(index.width), u32::from(index.height)), (width, height));
        assert_eq!(index.samples.len(), count);
    }
}

#[test]
fn frames_off_the_block_grid_are_cropped_back() {
    let size = FrameSize { width: 50, height: 34 };
    let frame = moving_shapes(size, 5);
    let decoded = decode(&encode(size, 8, std::slice::from_ref(&frame)));
    assert!(psnr(&decoded[0], &frame) > 35.0); // few pixels, nearly all of them at an edge
}

#[test]
fn noise_loses_no_frame() {
    // OpenH264 gives up on a frame over its buffer: 128x64 pixels of noise are over it at the usual quantizer.
    let size = FrameSize { width: 128, height: 64 };
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 0 } else { 255 }
    };
    let mut frames = vec![moving_shapes(size, 0)];
    frames.extend((0..3).map(|_| (0..128 * 64 * 3).map(|_| noise()).collect::<Vec<u8>>()));
    // Grey noise is the worst: none of it is averaged away.
    frames.extend([(0..128 * 64).flat_map(|_| [noise(); 3]).collect(), moving_shapes(size, 1)]);
    let file = encode(size, 60, &frames);
    let decoded = decode(&file);
    assert_eq!(decoded.len(), frames.len());
    assert!(psnr(&decoded[0], &frames[0]) >= MIN_PSNR);
    assert!(psnr(&decoded[5], &frames[5]) >= MIN_PSNR - COARSER_LOSS);
    assert!(Mp4File::read(&file).samples[1].is_key, "a new encoder begins with a key frame");
}
