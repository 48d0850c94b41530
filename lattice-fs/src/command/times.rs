//! Lengths of time as people type them.

/// `90s`, `30m`, `24h`, `7d` in seconds: at least one, at most a year and a day.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 24h or 7d");
    let unit = match text.chars().last().ok_or_else(wrong)? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|s| (1..=366 * 86400).contains(s)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86400));
        assert_eq!(seconds("7d"), Ok(7 * 86400));
        for bad in ["", "h", "24", "0s", "1y", "-1h", "99999999d", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
