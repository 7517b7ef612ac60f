use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::FORMAT;
use super::colour::Converter;
use super::index::Config;
use super::parameter_set::SequenceSet;
use crate::{FrameSize, Picture, ReadError, ReadLimits};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Types of units (ITU-T H.264, table 7-1).
const SLICE: u8 = 1;
const KEY_SLICE: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;

/// The samples of a track through OpenH264.
///
/// The decoder gets slices and parameter sets alone, and a sequence's only after its size was checked: every frame has
/// the first one's size. What it outputs is in the order of presentation.
pub(super) struct Stream {
    decoder: Decoder,
    converter: Converter,
    size: FrameSize,
    length_size: usize,
    limits: ReadLimits,
    /// The sample that is decoded, each unit behind a start code. At first the parameter sets, which come before it.
    annex_b: Vec<u8>,
}

impl Stream {
    /// `first` is the first sample: it may have the parameter sets.
    pub(super) fn open(
        config: &Config,
        first: &[u8],
        limits: &ReadLimits,
    ) -> Result<Self, ReadError> {
        let in_sample = Units { rest: first, length_size: config.length_size };
        let sets = config.sets.iter().map(|unit| Ok(unit.as_slice()));
        let mut sequence = None;
        for unit in sets.chain(in_sample) {
            let unit = unit?;
            if kind(unit) == SEQUENCE_SET {
                sequence = Some(SequenceSet::read(unit, limits)?);
                break;
            }
        }
        let sequence = sequence.ok_or_else(|| {
            ReadError::content(FORMAT, "a sequence parameter set", "none before the first frame")
        })?;
        let converter = Converter::new(sequence.colours.or(config.colours), sequence.size)?;
        let options = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), options)
            .map_err(|error| ReadError::content(FORMAT, "a decoder", error))?;
        let mut stream = Self {
            decoder,
            converter,
            size: sequence.size,
            length_size: config.length_size,
            limits: *limits,
            annex_b: Vec::new(),
        };
        for unit in &config.sets {
            stream.push(0, unit)?;
        }
        Ok(stream)
    }

    pub(super) fn size(&self) -> FrameSize {
        self.size
    }

    /// Takes sample `index`; gives the next frame to be shown, if it is known by now.
    pub(super) fn decode(
        &mut self,
        index: u32,
        sample: &[u8],
    ) -> Result<Option<Picture>, ReadError> {
        for unit in (Units { rest: sample, length_size: self.length_size }) {
            self.push(index, unit?)?;
        }
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        let decoded = self.decoder.decode_with_options(&self.annex_b, options);
        let decoded = decoded.map_err(|error| broken(index, &error))?;
        let picture = decoded.map(|decoded| picture(&self.converter, self.size, &decoded));
        self.annex_b.clear();
        picture.transpose()
    }

    /// After the last sample: the next of the frames that are left.
    pub(super) fn rest(&mut self) -> Result<Option<Picture>, ReadError> {
        let options = DecodeOptions::new().flush_after_decode(Flush::Flush);
        let decoded = self.decoder.decode_with_options(&[], options);
        let decoded = decoded
            .map_err(|error| ReadError::content(FORMAT, "frames that can be decoded", error))?;
        decoded.map(|decoded| picture(&self.converter, self.size, &decoded)).transpose()
    }

    fn push(&mut self, index: u32, unit: &[u8]) -> Result<(), ReadError> {
        match kind(unit) {
            SEQUENCE_SET => {
                let found = SequenceSet::read(unit, &self.limits)?.size;
                if found != self.size {
                    let frame = index.into();
                    return Err(ReadError::FrameSize { frame, expected: self.size, found });
                }
            }
            SLICE | KEY_SLICE | PICTURE_SET => {}
            _ => return Ok(()),
        }
        // A unit never holds one (ISO/IEC 14496-10, 7.4.1): what stood behind it would be a unit that nobody has looked at.
        if unit.windows(UNIT_START.len()).any(|bytes| bytes == UNIT_START) {
            let found = format!("a start code within one, in sample {index}");
            return Err(ReadError::content(FORMAT, "whole units", found));
        }
        self.annex_b.extend_from_slice(&START_CODE);
        self.annex_b.extend_from_slice(unit);
        Ok(())
    }
}

fn picture(
    converter: &Converter,
    size: FrameSize,
    decoded: &DecodedYUV<'_>,
) -> Result<Picture, ReadError> {
    let (width, height) = decoded.dimensions();
    if (width, height) != (size.width as usize, size.height as usize) {
        let found = format!("{width}x{height} instead of {size}");
        return Err(ReadError::content(FORMAT, "frames as the stream's header has them", found));
    }
    Ok(Picture::read(size, converter.rgb(decoded, size), Vec::new()))
}

/// 0, which is no type, for a unit without a byte.
fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 31)
}

fn broken(index: u32, error: &openh264::Error) -> ReadError {
    let found = format!("sample {index}, for which OpenH264 has code {}", error.native_code());
    ReadError::content(FORMAT, "frames that can be decoded", found)
}

/// The units of a sample, each behind its length (ISO/IEC 14496-15, 4.3.3).
struct Units<'a> {
    rest: &'a [u8],
    length_size: usize,
}

/// What tells units apart where they have no lengths.
const UNIT_START: [u8; 3] = [0, 0, 1];

impl<'a> Iterator for Units<'a> {
    type Item = Result<&'a [u8], ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let unit = self.rest.split_at_checked(self.length_size).and_then(|(length, rest)| {
            let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest.split_at_checked(length)
        });
        let Some((unit, rest)) = unit else {
            self.rest = &[];
            let found = "a unit that is longer than its sample";
            return Some(Err(ReadError::content(FORMAT, "whole units", found)));
        };
        self.rest = rest;
        Some(Ok(unit))
    }
}
