//! Reads what the tests need of an MP4 file, from the layout in ISO/IEC 14496-12 and 14496-15: no code in common with the writer.

use std::ops::Range;

/// What the index of a file with one H.264 track says.
#[derive(Debug)]
pub(crate) struct Mp4File {
    /// Types of the boxes at the top, in order.
    pub(crate) boxes: Vec<String>,
    pub(crate) ticks_per_second: u32,
    /// In ticks: of the movie, of the track, of its media.
    pub(crate) durations: [u32; 3],
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) sequence_set: Vec<u8>,
    pub(crate) picture_set: Vec<u8>,
    /// The file's own note of its colours.
    pub(crate) colour: Vec<u8>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) bytes: Range<usize>,
    pub(crate) ticks: u32,
    pub(crate) is_key: bool,
}

impl Mp4File {
    pub(crate) fn read(file: &[u8]) -> Self {
        let top = children(file, 0..file.len());
        let moov = find(file, &(0..file.len()), "moov");
        let mvhd = find(file, &moov, "mvhd");
        let trak = find(file, &moov, "trak");
        let tkhd = find(file, &trak, "tkhd");
        let mdia = find(file, &trak, "mdia");
        let mdhd = find(file, &mdia, "mdhd");
        let stbl = find(file, &find(file, &mdia, "minf"), "stbl");
        let entry = find(file, &skip(find(file, &stbl, "stsd"), 8), "avc1");
        let avcc = &file[find(file, &skip(entry.clone(), 78), "avcC")];
        assert_eq!(
            (avcc[0], avcc[4] & 3, avcc[5] & 31),
            (1, 3, 1),
            "version, four length bytes, one sequence set"
        );
        let (sequence_set, rest) = counted(&avcc[6..]);
        assert_eq!(rest[0], 1, "one picture set");
        let timescale = u32_at(file, mvhd.start + 12);
        assert_eq!(u32_at(file, mdhd.start + 12), timescale);
        Self {
            boxes: top.into_iter().map(|(kind, _)| kind).collect(),
            ticks_per_second: timescale,
            durations: [mvhd.start + 16, tkhd.start + 20, mdhd.start + 16]
                .map(|at| u32_at(file, at)),
            width: u32_at(file, entry.start + 22) as u16,
            height: (u32_at(file, entry.start + 24) & 0xffff) as u16,
            sequence_set: sequence_set.to_vec(),
            picture_set: counted(&rest[1..]).0.to_vec(),
            colour: file[find(file, &skip(entry, 78), "colr")].to_vec(),
            samples: samples(file, &stbl),
        }
    }

    /// One sample as a decoder takes it: each unit behind a start code, parameter sets before a key frame.
    pub(crate) fn annex_b(&self, file: &[u8], sample: &Sample) -> Vec<u8> {
        const START: [u8; 4] = [0, 0, 0, 1];
        let mut stream = Vec::new();
        if sample.is_key {
            for set in [&self.sequence_set, &self.picture_set] {
                stream.extend_from_slice(&START);
                stream.extend_from_slice(set);
            }
        }
        let mut rest = &file[sample.bytes.clone()];
        while !rest.is_empty() {
            let (unit, after) = rest[4..].split_at(u32_at(rest, 0) as usize);
            let kind = unit[0] & 31;
            assert!(kind == if sample.is_key { 5 } else { 1 }, "a unit of type {kind} in a sample");
            stream.extend_from_slice(&START);
            stream.extend_from_slice(unit);
            rest = after;
        }
        stream
    }
}

fn samples(file: &[u8], stbl: &Range<usize>) -> Vec<Sample> {
    let table = |kind: &str| find(file, stbl, kind).start + 4;
    let (sizes, times, chunks) = (table("stsz"), table("stts"), table("stco"));
    assert_eq!(u32_at(file, sizes), 0, "sizes are listed");
    assert_eq!([u32_at(file, times), u32_at(file, chunks)], [1, 1], "one duration, one chunk");
    let count = u32_at(file, sizes + 4);
    assert_eq!([u32_at(file, times + 4), u32_at(file, table("stsc") + 8)], [count, count]);
    let has_keys = children(file, stbl.clone()).iter().any(|(kind, _)| kind == "stss");
    let keys = has_keys.then(|| {
        let at = table("stss");
        (0..u32_at(file, at) as usize)
            .map(|index| u32_at(file, at + 4 + 4 * index))
            .collect::<Vec<_>>()
    });
    let mut start = u32_at(file, chunks + 4) as usize;
    (0..count)
        .map(|index| {
            let end = start + u32_at(file, sizes + 8 + 4 * index as usize) as usize;
            let is_key = keys.as_ref().is_none_or(|keys| keys.contains(&(index + 1)));
            Sample {
                bytes: std::mem::replace(&mut start, end)..end,
                ticks: u32_at(file, times + 8),
                is_key,
            }
        })
        .collect()
}

/// Types and contents of the boxes in `within`.
fn children(file: &[u8], within: Range<usize>) -> Vec<(String, Range<usize>)> {
    let mut boxes = Vec::new();
    let mut start = within.start;
    while start < within.end {
        let kind = String::from_utf8(file[start + 4..start + 8].to_vec()).unwrap();
        let (header, size) = match u32_at(file, start) as usize {
            1 => (16, u32_at(file, start + 12) as usize),
            size => (8, size),
        };
        boxes.push((kind, start + header..start + size));
        start += size;
    }
    assert_eq!(start, within.end, "the boxes fill what they are in");
    boxes
}

fn find(file: &[u8], within: &Range<usize>, kind: &str) -> Range<usize> {
    let found = children(file, within.clone()).into_iter().find(|(found, _)| found == kind);
    found.unwrap_or_else(|| panic!("no {kind} box")).1
}

fn skip(range: Range<usize>, bytes: usize) -> Range<usize> {
    range.start + bytes..range.end
}

/// A run of bytes behind its 16-bit length, and what follows.
fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[2..].split_at(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
