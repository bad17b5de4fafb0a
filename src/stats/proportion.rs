//! The share of events of a kind, with autocorrelation.

use super::bootstrap::RatioSeries;

/// The number of events of a kind in a series, and the variance inflation of their share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Proportion {
    /// The number of events.
    pub n: usize,
    /// The number of events of the kind.
    pub count: usize,
    /// The ratio of the share's variance to that of independent events; 1 where the series is too short to estimate it.
    pub inflation: f64,
}

impl Proportion {
    /// Computes the share from events in the order of time; `None` without events.
    pub(crate) fn from_events(events: &[bool]) -> Option<Self> {
        let n = events.len();
        let count = events.iter().filter(|&&event| event).count();
        let ratio = RatioSeries::from_pairs(events.iter().map(|&event| (f64::from(u8::from(event)), 1.0)));
        ratio.value()?;
        Some(Self { n, count, inflation: n as f64 / ratio.effective_n() })
    }

    /// The share, 0 to 1.
    pub(crate) fn value(&self) -> f64 {
        self.count as f64 / self.n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_worth_less() {
        let apart: Vec<bool> = (0..1000).map(|i| i * 7919 % 10 == 0).collect();
        let together: Vec<bool> = (0..1000).map(|i| i % 200 < 20).collect();
        let [apart, together] = [apart, together].map(|events| Proportion::from_events(&events).unwrap());
        assert_eq!((apart.count, together.count, apart.value()), (100, 100, 0.1));
        assert!(together.inflation > 5.0 * apart.inflation, "{apart:?} {together:?}");
    }

    #[test]
    fn nothing_has_no_share_and_one_kind_has_no_inflation() {
        assert_eq!(Proportion::from_events(&[]), None);
        assert_eq!(
            Proportion::from_events(&[false; 50]),
            Some(Proportion { n: 50, count: 0, inflation: 1.0 })
        );
    }
}
