//! Sparklines: the last values of a quantity as bars of eight heights.

/// Draws the last `len` values relative to `whole` or, without it, to the highest value shown. An unknown value is a
/// blank.
pub(crate) fn sparkline(
    history: impl DoubleEndedIterator<Item = Option<f64>> + Clone,
    len: usize,
    whole: Option<f64>,
) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let latest = || history.clone().rev().take(len);
    let highest = latest().flatten().fold(whole.unwrap_or_default(), f64::max);
    let bar = |value: Option<f64>| match value {
        None => ' ',
        Some(_) if highest <= 0.0 => BARS[0],
        // The nearest of eight steps. A value far above the rest leaves the rest at the lowest step.
        Some(value) => BARS[((value / highest * 7.0).round().max(0.0) as usize).min(7)],
    };
    let mut bars: Vec<char> = latest().map(bar).collect();
    bars.reverse();
    bars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f64], whole: Option<f64>) -> String {
        sparkline(values.iter().map(|value| (!value.is_nan()).then_some(*value)), 24, whole)
    }

    #[test]
    fn sparks_are_of_the_highest_or_of_the_whole() {
        assert_eq!(drawn(&[0.0, 1.0, 2.0, f64::NAN, 7.0], None), "▁▂▃ █");
        assert_eq!(drawn(&[0.5, 0.1], Some(1.0)), "▅▂");
        assert_eq!(drawn(&[0.0, 0.0], None), "▁▁");
        assert_eq!(drawn(&[3.0; 99], None).chars().count(), 24);
        assert_eq!(drawn(&[], None), "");
        assert_eq!(sparkline([8.0, 1.0, 7.0].into_iter().map(Some), 2, None), "▂█", "the last two");
    }
}
