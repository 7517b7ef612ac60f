use std::num::NonZeroU32;

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{
    Co64Box, CttsBox, SampleEntry, StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox, UnknownBox,
};
use shiguredo_mp4::{BoxSize, BoxType, Decode, Either};

use super::FORMAT;
use super::boxes::{Mp4Box, find, need};
use crate::{ReadError, ReadLimits};

/// Where each sample of a track lies and how long it is shown.
pub(super) struct Samples {
    table: SampleTableAccessor<StblBox>,
}

impl Samples {
    /// From the payload of `stbl`. The table takes no more memory than a few times the file's own.
    ///
    /// All samples together must not be larger than the file of `file_bytes`: samples that share bytes would be decoded over
    /// and over.
    pub(super) fn read(
        stbl: &[u8],
        file_bytes: usize,
        limits: &ReadLimits,
    ) -> Result<Self, ReadError> {
        let offsets = match find(stbl, b"stco")? {
            Some(found) => Either::A(decode::<StcoBox>(found)?),
            None => Either::B(decode::<Co64Box>(need(stbl, b"co64")?)?),
        };
        let table = StblBox {
            stsd_box: only_entry(),
            stts_box: decode::<SttsBox>(need(stbl, b"stts")?)?,
            ctts_box: find(stbl, b"ctts")?.map(decode::<CttsBox>).transpose()?,
            cslg_box: None,
            stsc_box: decode::<StscBox>(need(stbl, b"stsc")?)?,
            stsz_box: decode::<StszBox>(need(stbl, b"stsz")?)?,
            stco_or_co64_box: offsets,
            stss_box: None,
            sdtp_box: None,
            unknown_boxes: Vec::new(),
        };
        // Before the tables are compared: their sum may be in the billions.
        let stated = table.stts_box.entries.iter().map(|entry| u64::from(entry.sample_count)).sum();
        limits.check_frames(FORMAT, stated)?;
        let table = SampleTableAccessor::new(table)
            .map_err(|error| ReadError::content(FORMAT, "an index that agrees", error))?;
        let sizes = table.samples().map(|sample| u64::from(sample.data_size()));
        let total: u64 = sizes.sum();
        if total > file_bytes as u64 {
            let found = format!("samples of {total} bytes in a file of {file_bytes}");
            return Err(ReadError::content(FORMAT, "samples that share no bytes", found));
        }
        Ok(Self { table })
    }

    pub(super) fn count(&self) -> u32 {
        self.table.sample_count()
    }

    /// Per second on average; `timescale` is the track's ticks in one.
    pub(super) fn rate(&self, timescale: u32) -> Option<f64> {
        let last = self.table.get_sample(NonZeroU32::new(self.count())?)?;
        let ticks = last.timestamp() + u64::from(last.duration());
        let rate = f64::from(self.count()) * f64::from(timescale) / ticks as f64;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }

    /// The bytes of sample `index`, from 0.
    pub(super) fn data<'a>(&self, file: &'a [u8], index: u32) -> Result<&'a [u8], ReadError> {
        let sample = self.table.get_sample(NonZeroU32::MIN.saturating_add(index));
        let (offset, size) = sample.map_or((u64::MAX, 0), |s| (s.data_offset(), s.data_size()));
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(size as usize));
        start.zip(end).and_then(|(start, end)| file.get(start..end)).ok_or_else(|| {
            let found =
                format!("sample {index} at {offset} with {size} bytes in a file of {}", file.len());
            ReadError::content(FORMAT, "samples within the file", found)
        })
    }
}

/// The entry itself is read elsewhere: the accessor wants to know that there is one.
fn only_entry() -> StsdBox {
    let entry = UnknownBox {
        box_type: BoxType::Normal(*b"avc1"),
        box_size: BoxSize::U32(8),
        payload: Vec::new(),
    };
    StsdBox { entries: vec![SampleEntry::Unknown(entry)] }
}

pub(super) fn decode<T: Decode>(found: Mp4Box<'_>) -> Result<T, ReadError> {
    let decoded = T::decode(found.whole);
    decoded.map(|(decoded, _)| decoded).map_err(|error| {
        let found = format!("a broken '{}': {}", found.kind.escape_ascii(), error.reason);
        ReadError::content(FORMAT, "whole boxes", found)
    })
}
