use shiguredo_mp4::boxes::AvccBox;

use super::FORMAT;
use super::boxes::{Mp4Box, boxes, find, need, u32_at};
use super::colour::Colours;
use super::samples::{Samples, decode};
use crate::picture::Orientation;
use crate::{ReadError, ReadLimits};

/// What `moov` says of the first video track.
pub(super) struct Index {
    pub(super) samples: Samples,
    /// Ticks in a second.
    pub(super) timescale: u32,
    pub(super) orientation: Orientation,
    pub(super) config: Config,
}

/// What a decoder of H.264 must know before the first sample.
pub(super) struct Config {
    /// Bytes of the length before each unit.
    pub(super) length_size: usize,
    /// Sequence parameter sets, then picture parameter sets; they may stand in the samples instead.
    pub(super) sets: Vec<Vec<u8>>,
    /// The container's word on colours, which the stream's own goes before.
    pub(super) colours: Colours,
}

impl Index {
    pub(super) fn read(file: &[u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        let mut moov = None;
        let mut fragmented = false;
        for found in boxes(file) {
            let found = found?;
            match &found.kind {
                b"moov" if moov.is_none() => moov = Some(found),
                b"moof" => fragmented = true,
                _ => {}
            }
        }
        let moov = moov.ok_or_else(|| ReadError::content(FORMAT, "an index", "no box 'moov'"))?;
        fragmented |= find(moov.payload, b"mvex")?.is_some();
        let mut handlers = Vec::new();
        for trak in boxes(moov.payload) {
            let trak = trak?;
            if trak.kind != *b"trak" {
                continue;
            }
            let mdia = need(trak.payload, b"mdia")?;
            let handler = need(mdia.payload, b"hdlr")?.payload.get(8..12).unwrap_or_default();
            if handler == b"vide" {
                return Self::track(trak, mdia, (fragmented, file.len()), limits);
            }
            handlers.push(handler.escape_ascii().to_string());
        }
        let found = if handlers.is_empty() {
            "no track".into()
        } else {
            "tracks of ".to_owned() + &handlers.join(", ")
        };
        Err(ReadError::content(FORMAT, "a video track", found))
    }

    fn track(
        trak: Mp4Box<'_>,
        mdia: Mp4Box<'_>,
        (fragmented, file_bytes): (bool, usize),
        limits: &ReadLimits,
    ) -> Result<Self, ReadError> {
        let stbl = need(need(mdia.payload, b"minf")?.payload, b"stbl")?;
        let config = config(need(stbl.payload, b"stsd")?)?;
        let mdhd = need(mdia.payload, b"mdhd")?.payload;
        let timescale = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })?;
        let orientation = orientation(need(trak.payload, b"tkhd")?.payload)?;
        match Samples::read(stbl.payload, file_bytes, limits) {
            Err(ReadError::Frames { found: 0, .. }) if fragmented => {
                Err(ReadError::content(FORMAT, "all samples in one index", "a file of fragments"))
            }
            samples => Ok(Self { samples: samples?, timescale, orientation, config }),
        }
    }
}

/// From `stsd` (ISO/IEC 14496-12, 8.5.2, and 14496-15, 5.3).
fn config(stsd: Mp4Box<'_>) -> Result<Config, ReadError> {
    /// Fields of every visual entry, after its size and type.
    const VISUAL: usize = 78;
    let entries = stsd.payload.get(8..).unwrap_or_default();
    let entry = boxes(entries).next().transpose()?;
    let entry = entry.ok_or_else(|| ReadError::content(FORMAT, "H.264 video", "no codec"))?;
    if !matches!(&entry.kind, b"avc1" | b"avc3") {
        return Err(ReadError::content(FORMAT, "H.264 video", codec(entry.kind)));
    }
    let children = entry.payload.get(VISUAL..).unwrap_or_default();
    let avcc: AvccBox = decode(need(children, b"avcC")?)?;
    let colours = find(children, b"colr")?;
    Ok(Config {
        length_size: usize::from(avcc.length_size_minus_one.get()) + 1,
        sets: avcc.sps_list.into_iter().chain(avcc.pps_list).collect(),
        colours: colours.map_or(Colours::default(), |colr| Colours::of_colr(colr.payload)),
    })
}

fn codec(kind: [u8; 4]) -> String {
    let name = match &kind {
        b"hvc1" | b"hev1" => "HEVC (H.265)",
        b"dvh1" | b"dvhe" => "Dolby Vision",
        b"vvc1" | b"vvi1" => "VVC (H.266)",
        b"av01" => "AV1",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"mp4v" => "MPEG-4 part 2",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes",
        b"jpeg" | b"mjpa" | b"mjpb" => "Motion JPEG",
        b"encv" => "encrypted video",
        _ => "an unknown codec",
    };
    format!("{name} ('{}')", kind.escape_ascii())
}

/// From the matrix in `tkhd`: the signs of its four corners, where they are a turn or a mirror.
fn orientation(tkhd: &[u8]) -> Result<Orientation, ReadError> {
    let matrix = if tkhd.first() == Some(&1) { 52 } else { 40 };
    let sign = |index: usize| u32_at(tkhd, matrix + 4 * index).map(|v| (v as i32).signum());
    // A column at (x, y) is shown at (a x + c y, b x + d y).
    Ok(match [sign(0)?, sign(1)?, sign(3)?, sign(4)?] {
        [-1, 0, 0, 1] => Orientation::MirrorHorizontally,
        [-1, 0, 0, -1] => Orientation::HalfTurn,
        [1, 0, 0, -1] => Orientation::MirrorVertically,
        [0, 1, 1, 0] => Orientation::Transpose,
        [0, 1, -1, 0] => Orientation::TurnRight,
        [0, -1, -1, 0] => Orientation::Transverse,
        [0, -1, 1, 0] => Orientation::TurnLeft,
        _ => Orientation::AsIs,
    })
}
