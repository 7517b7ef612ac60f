use std::str::FromStr;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// In bytes.
    pub bytes: u64,
}

/// Why a text is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of bytes, such as 8000000000, 8GB or 7.5GiB, found '{0}'")]
pub struct MemorySizeError(String);

/// `8G` is left out: half of all programs mean 10^9 by it and half 2^30.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000 * 1000),
    ("GB", 1000 * 1000 * 1000),
    ("TB", 1000 * 1000 * 1000 * 1000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Digits after the point that are read; more cannot change a byte count by much.
const MAX_DECIMALS: usize = 9;

impl MemorySize {
    /// As `from_str`, of what may also be nothing at all: 0.
    ///
    /// # Errors
    /// A text that is no amount of memory.
    pub fn parse_or_none(text: &str) -> Result<Self, MemorySizeError> {
        match read(text.trim()) {
            Some(0) => Ok(Self { bytes: 0 }),
            _ => text.parse(),
        }
    }
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    /// More than nothing: a number, possibly with a decimal point, and a unit in either case, possibly after spaces.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match read(text.trim()) {
            Some(bytes) if bytes > 0 => Ok(Self { bytes }),
            _ => Err(MemorySizeError(text.to_owned())),
        }
    }
}

fn read(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.is_empty() || decimals.len() > MAX_DECIMALS {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let decimals_scale = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let decimals: u64 = decimals.parse().ok()?;
    let scaled = u128::from(whole) * decimals_scale + u128::from(decimals);
    u64::try_from(scaled.checked_mul(u128::from(*factor))? / decimals_scale).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: u64) {
        assert_eq!(text.parse(), Ok(MemorySize { bytes: expected }), "{text:?}");
    }

    #[test]
    fn bytes_and_units_are_read() {
        check("1", 1);
        check("8000000000", 8_000_000_000);
        check("8GB", 8_000_000_000);
        check("8 gb", 8_000_000_000);
        check("8GiB", 8 << 30);
        check("7.5GiB", 15 << 29);
        check("512MiB", 512 << 20);
        check("0.5kB", 500);
        check("18446744073709551615", u64::MAX);
    }

    #[test]
    fn what_is_no_amount_or_nothing_or_ambiguous_is_refused() {
        for text in [
            "",
            "0",
            "0GB",
            "-1",
            "+1",
            "GB",
            "8G",
            "8 G B",
            "1.GB",
            ".5GB",
            "1.2.3GB",
            "1e9",
            "18446744073709551616",
            "99999999999TiB",
            "NaN",
            "1.0000000001GB",
            "½GB",
        ] {
            assert_eq!(text.parse::<MemorySize>(), Err(MemorySizeError(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<MemorySize>();
        }

        #[test]
        fn a_plain_number_is_itself(bytes in 1u64..) {
            prop_assert_eq!(bytes.to_string().parse(), Ok(MemorySize { bytes }));
        }

        #[test]
        fn a_unit_multiplies(count in 1u64..1 << 20, index in 0usize..10) {
            let (unit, factor) = UNITS[index];
            let text = format!("{count}{unit}");
            prop_assert_eq!(text.parse(), Ok(MemorySize { bytes: count * factor }));
        }
    }
}
