//! Parsers of shares, percentages and memory sizes.

/// Reads `30%` or `0.3`, from 0 to below 1.
pub(crate) fn below_one(text: &str) -> Result<f64, String> {
    let share = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse(),
    };
    match share {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("write it as 30% or 0.3, from 0 to below 1".into()),
    }
}

/// Reads a share above 0 and at most 1.
pub(crate) fn utilization(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write it as 0.9, above 0 and at most 1".into()),
    }
}

/// Reads a percentage between 0 and 100.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err("a percentage here is above 0 and below 100".into()),
    }
}

const BYTE_UNITS: [(&str, f64); 9] = [
    ("TIB", 1024.0 * GIB),
    ("GIB", GIB),
    ("MIB", 1024.0 * 1024.0),
    ("KIB", 1024.0),
    ("TB", 1e12),
    ("GB", 1e9),
    ("MB", 1e6),
    ("KB", 1e3),
    ("B", 1.0),
];
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// The largest size, a thousand terabytes: more than any machine has.
const MAX_BYTES: f64 = 1e15;

/// Reads `80GB`, `80GiB`, or a bare number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_uppercase();
    let unit = BYTE_UNITS.iter().find_map(|(name, size)| Some((upper.strip_suffix(name)?, *size)));
    let (number, size) = unit.unwrap_or((&upper, 1.0));
    match number.trim().parse::<f64>() {
        Ok(number) if (0.0..=MAX_BYTES).contains(&(number * size)) => Ok((number * size) as u64),
        _ => Err("write it as 80GB, 80GiB or a number of bytes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_its_unit() {
        assert_eq!(bytes("80GB"), Ok(80_000_000_000));
        assert_eq!(bytes("1.5 gib"), Ok(1_610_612_736));
        assert_eq!(bytes("0"), Ok(0));
        for text in ["", "GB", "-1GB", "80XB", "nan", "inf", "1e30"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_percentages_have_bounds() {
        assert_eq!((below_one("30%"), below_one("0.25"), below_one("0")), (Ok(0.3), Ok(0.25), Ok(0.0)));
        assert!(["100%", "1", "-1", "nan", "x"].into_iter().all(|text| below_one(text).is_err()));
        assert!(["0", "1.1", "nan"].into_iter().all(|text| utilization(text).is_err()));
        assert!(["0", "100", "nan"].into_iter().all(|text| percent(text).is_err()));
    }
}
