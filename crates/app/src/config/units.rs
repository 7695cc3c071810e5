//! Durations and sizes as people write them: `"200ms"`, `"8MiB"`.

use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const A_DURATION: &str =
    "a duration is a number and a unit, such as \"200ms\", \"1s\", \"5m\", \"1h\" or \"1d\"";
/// What a size looks like, for messages.
pub(super) const A_SIZE: &str =
    "a size is a number of bytes, or a number and a unit, such as \"100B\", \"512KiB\", \"8MiB\" or \"1GiB\"";

/// The duration that `text` says.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// The number of bytes that `text` says.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" | "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [("0ms", 0), ("200ms", 200), ("1s", 1000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "ms", "-1s", "1.5s", " 1s", "1 s", "1S", "5 parsecs", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration("18446744073709551615d"), None);
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("100B", 100), ("100", 100), ("512KiB", 512 << 10), ("8MiB", 8 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "8MB", "8M", "-1B", "1.5MiB", "18446744073709551615GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
