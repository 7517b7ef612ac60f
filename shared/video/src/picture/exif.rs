use super::Orientation;

const ORIENTATION: u16 = 0x0112;
/// Types of a value: one or more 16-bit or 32-bit integers.
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The orientation in a block of EXIF data, with or without the six bytes that JPEG puts before it; as it is where there is
/// none (TIFF 6.0, section 2, and JEITA CP-3451).
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Orientation::from_exif(value(tiff).unwrap_or(1))
}

fn value(tiff: &[u8]) -> Option<u32> {
    let is_big = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    for index in 0..usize::from(u16_at(directory)?) {
        let entry = directory.checked_add(2 + 12 * index)?;
        if u16_at(entry)? == ORIENTATION {
            return match u16_at(entry + 2)? {
                SHORT => u16_at(entry + 8).map(u32::from),
                LONG => u32_at(entry + 8),
                _ => None,
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn little(kind: u16, value: u32) -> Vec<u8> {
        let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01".to_vec();
        tiff.extend(kind.to_le_bytes());
        tiff.extend(1u32.to_le_bytes());
        tiff.extend(value.to_le_bytes());
        tiff
    }

    #[test]
    fn both_byte_orders_both_types_and_jpegs_prefix_are_read() {
        assert_eq!(orientation(&little(3, 6)), Orientation::TurnRight);
        assert_eq!(orientation(&little(4, 8)), Orientation::TurnLeft);
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0";
        assert_eq!(orientation(big), Orientation::HalfTurn);
        assert_eq!(orientation(&[b"Exif\0\0", &big[..]].concat()), Orientation::HalfTurn);
    }

    #[test]
    fn what_is_no_orientation_turns_nothing() {
        for value in [0, 1, 9, 65535] {
            assert_eq!(orientation(&little(3, value)), Orientation::AsIs);
        }
        assert_eq!(orientation(&little(2, 6)), Orientation::AsIs);
        let whole = little(3, 6);
        for length in 0..whole.len() - 2 {
            assert_eq!(orientation(&whole[..length]), Orientation::AsIs, "{length}");
        }
    }
}
