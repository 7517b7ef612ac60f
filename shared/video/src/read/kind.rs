use std::fmt;

/// What a file's first bytes say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Png,
    Jpeg,
    WebP,
    Gif,
    Mp4,
    /// A known kind that is not read here.
    Other(&'static str),
    /// The first bytes, and how many there are.
    Unknown([u8; 8], usize),
}

/// Starts of files, in the order in which they are tried.
const STARTS: [(&[u8], FileKind); 15] = [
    (b"\x89PNG\r\n\x1a\n", FileKind::Png),
    (b"\xff\xd8\xff", FileKind::Jpeg),
    (b"GIF87a", FileKind::Gif),
    (b"GIF89a", FileKind::Gif),
    (b"BM", FileKind::Other("a BMP picture")),
    (b"II*\0", FileKind::Other("a TIFF picture")),
    (b"MM\0*", FileKind::Other("a TIFF picture")),
    (b"\xff\x0a", FileKind::Other("a JPEG XL picture")),
    (b"\0\0\0\x0cJXL ", FileKind::Other("a JPEG XL picture")),
    (b"\x1a\x45\xdf\xa3", FileKind::Other("a Matroska or WebM video")),
    (b"OggS", FileKind::Other("an Ogg file")),
    (b"%PDF", FileKind::Other("a PDF document")),
    (b"PK\x03\x04", FileKind::Other("a ZIP archive")),
    (b"\x1f\x8b", FileKind::Other("a gzip file")),
    (b"<", FileKind::Other("a text with markup")),
];

pub(crate) fn kind_of(bytes: &[u8]) -> FileKind {
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return *kind;
    }
    match (bytes.get(..4), bytes.get(8..12)) {
        (Some(b"RIFF"), Some(b"WEBP")) => return FileKind::WebP,
        (Some(b"RIFF"), Some(b"AVI ")) => return FileKind::Other("an AVI video"),
        _ => {}
    }
    match (bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"ftyp"), Some(b"heic" | b"heix" | b"mif1" | b"hevc")) => {
            return FileKind::Other("a HEIF picture");
        }
        (Some(b"ftyp"), Some(b"avif" | b"avis")) => return FileKind::Other("an AVIF picture"),
        // QuickTime files may begin without `ftyp`.
        (Some(b"ftyp" | b"moov" | b"mdat" | b"wide"), _) => return FileKind::Mp4,
        _ => {}
    }
    let mut first = [0; 8];
    let length = bytes.len().min(first.len());
    first[..length].copy_from_slice(&bytes[..length]);
    FileKind::Unknown(first, length)
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Png => f.write_str("a PNG picture"),
            Self::Jpeg => f.write_str("a JPEG picture"),
            Self::WebP => f.write_str("a WebP picture"),
            Self::Gif => f.write_str("a GIF"),
            Self::Mp4 => f.write_str("an MP4 video"),
            Self::Other(name) => f.write_str(name),
            Self::Unknown(_, 0) => f.write_str("an empty file"),
            Self::Unknown(first, length) => {
                f.write_str("a file that begins with the bytes")?;
                first[..*length].iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}
