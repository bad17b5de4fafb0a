//! A share of events whose neighbours are alike.

use super::bootstrap::Ratio;

/// How many of a series of events were of a kind, and what that many are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// How many events.
    pub n: usize,
    /// How many of them were of the kind.
    pub count: usize,
    /// By how much the variance of the share is above that of independent events; 1 where the series cannot tell.
    pub inflation: f64,
}

impl Share {
    /// Of events in the order of time; `None` without any.
    pub fn of(events: &[bool]) -> Option<Self> {
        let n = events.len();
        let count = events.iter().filter(|&&event| event).count();
        let ratio = Ratio::of(events.iter().map(|&event| (f64::from(u8::from(event)), 1.0)));
        ratio.value()?;
        Some(Self { n, count, inflation: n as f64 / ratio.effective_n() })
    }

    /// The share, 0 to 1.
    pub fn value(&self) -> f64 {
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
        let [apart, together] = [apart, together].map(|events| Share::of(&events).unwrap());
        assert_eq!((apart.count, together.count, apart.value()), (100, 100, 0.1));
        assert!(together.inflation > 5.0 * apart.inflation, "{apart:?} {together:?}");
    }

    #[test]
    fn nothing_has_no_share_and_one_kind_has_no_inflation() {
        assert_eq!(Share::of(&[]), None);
        assert_eq!(Share::of(&[false; 50]), Some(Share { n: 50, count: 0, inflation: 1.0 }));
    }
}
