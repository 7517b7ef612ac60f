/// Seconds as people say them: `0.4 s`, `12 s`, `3 min 20 s`, `1 h 05 min`.
pub(super) fn duration(seconds: f64) -> String {
    // The cast saturates, and takes NaN for 0.
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{:.1} s", seconds.max(0.0)),
        ..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, expected) in [
            (0.0, "0.0 s"),
            (0.44, "0.4 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (200.0, "3 min 20 s"),
            (3900.0, "1 h 05 min"),
            (-1.0, "0.0 s"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
        duration(f64::NAN);
        duration(f64::INFINITY);
    }
}
