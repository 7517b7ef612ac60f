use std::num::NonZeroU32;

use shiguredo_mp4::bitstream::h264::{
    H264NalUnitType, H264SampleEntryConfig, LengthSize, build_avc1_box, parse_annexb_nal_units,
};
use shiguredo_mp4::boxes::{Avc1Box, SampleEntry, UnknownBox};
use shiguredo_mp4::mux::{
    Mp4FileMuxer, Mp4FileMuxerOptions, Sample, estimate_maximum_moov_box_size,
};
use shiguredo_mp4::{BoxSize, BoxType, TrackKind};

use super::h264::Picture;
use crate::VideoError;

/// Ticks of the file's clock in one frame. Any number makes every duration exact; some players dislike a slow clock.
const TICKS_PER_FRAME: u32 = 1000;

/// The compressed pictures of a clip, until all are there and the index that comes before them can be written.
pub(super) struct Container {
    timescale: NonZeroU32,
    parameter_sets: Option<ParameterSets>,
    /// Access units one after another, each NAL unit behind its length.
    data: Vec<u8>,
    samples: Vec<SampleInfo>,
}

/// The header of the stream. In an MP4 file it stands once in the index, not in the pictures.
#[derive(Clone, PartialEq)]
struct ParameterSets {
    sequence: Vec<Vec<u8>>,
    picture: Vec<Vec<u8>>,
}

struct SampleInfo {
    bytes: usize,
    is_key: bool,
}

impl Container {
    /// `fps` is at least 1.
    pub(super) fn new(fps: u32) -> Self {
        let timescale =
            NonZeroU32::new(fps.saturating_mul(TICKS_PER_FRAME)).unwrap_or(NonZeroU32::MIN);
        Self { timescale, parameter_sets: None, data: Vec::new(), samples: Vec::new() }
    }

    pub(super) fn push(&mut self, frame: usize, picture: Picture<'_>) -> Result<(), VideoError> {
        let start = self.data.len();
        let mut sets = ParameterSets { sequence: Vec::new(), picture: Vec::new() };
        for unit in parse_annexb_nal_units(picture.annex_b)? {
            match unit.nal_unit_type {
                H264NalUnitType::Sps => sets.sequence.push(unit.data.to_vec()),
                H264NalUnitType::Pps => sets.picture.push(unit.data.to_vec()),
                _ => {
                    let length = u32::try_from(unit.data.len()).map_err(|_| {
                        VideoError::Mp4(format!("a unit of {} bytes", unit.data.len()))
                    })?;
                    self.data.extend_from_slice(&length.to_be_bytes());
                    self.data.extend_from_slice(unit.data);
                }
            }
        }
        if picture.is_key && *self.parameter_sets.get_or_insert_with(|| sets.clone()) != sets {
            return Err(VideoError::H264Stream {
                frame,
                expected: "the first frame's parameter sets",
                found: "others",
            });
        }
        self.samples.push(SampleInfo { bytes: self.data.len() - start, is_key: picture.is_key });
        Ok(())
    }

    /// `ftyp`, `moov`, `mdat`: the index first, so that a player can start before it has the whole file.
    pub(super) fn finish(self) -> Result<Vec<u8>, VideoError> {
        let entry = SampleEntry::Avc1(self.sample_entry()?);
        let mut muxer = Mp4FileMuxer::with_options(Mp4FileMuxerOptions {
            reserved_moov_box_size: estimate_maximum_moov_box_size(&[self.samples.len()]),
            ..Mp4FileMuxerOptions::default()
        })?;
        let mut file = muxer.initial_boxes_bytes().to_vec();
        let mut data_offset = file.len() as u64;
        for sample in &self.samples {
            muxer.append_sample(&Sample {
                track_kind: TrackKind::Video,
                sample_entry: (data_offset == file.len() as u64).then(|| entry.clone()),
                keyframe: sample.is_key,
                timescale: self.timescale,
                duration: TICKS_PER_FRAME,
                composition_time_offset: None,
                data_offset,
                data_size: sample.bytes,
            })?;
            data_offset += sample.bytes as u64;
        }
        let boxes = muxer.finalize()?;
        if !boxes.is_faststart_enabled() {
            return Err(VideoError::Mp4(format!(
                "an index of {} bytes is over its estimate",
                boxes.moov_box_size()
            )));
        }
        file.extend_from_slice(&self.data);
        for (offset, bytes) in boxes.offset_and_bytes_pairs() {
            let start = offset as usize; // within `file`: both boxes lie before the pictures
            file[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(file)
    }

    fn sample_entry(&self) -> Result<Avc1Box, VideoError> {
        let Some(sets) = &self.parameter_sets else { return Err(VideoError::NoFrames) };
        let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
        let mut entry = build_avc1_box(&sets.sequence, &sets.picture, &config)?;
        entry.unknown_boxes.push(colour_box());
        Ok(entry)
    }
}

/// `colr`: the colours of the stream's own header once more, where QuickTime looks for them.
fn colour_box() -> UnknownBox {
    const BT709: [u8; 2] = [0, 1];
    const LIMITED_RANGE: u8 = 0;
    let mut payload = b"nclx".to_vec();
    for _ in ["primaries", "transfer", "matrix"] {
        payload.extend_from_slice(&BT709);
    }
    payload.push(LIMITED_RANGE);
    UnknownBox {
        box_type: BoxType::Normal(*b"colr"),
        box_size: BoxSize::U32(8 + payload.len() as u32),
        payload,
    }
}
