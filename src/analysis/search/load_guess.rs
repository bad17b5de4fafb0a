//! Where a search begins if a model has predicted its answer.
//!
//! A guess only chooses the first loads. Every verdict still comes from trials: the same confidence is required of the
//! bracket, and a bracket that the guess missed is searched as without one.

use serde::Serialize;

/// The first bracket reaches at least this factor below and above the guess: closer to the boundary, a trial is a coin
/// toss.
const LEAST_REACH: f64 = 1.2;

/// The first bracket reaches at most this factor below and above the guess, so that it is no wider than two steps up.
const MOST_REACH: f64 = 2.0;

/// The boundary that a model predicted, in the unit of the search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LoadGuess {
    /// The model's file.
    pub model: String,
    /// What limits the load in the prediction.
    pub limit: String,
    /// The lower end of the prediction's interval.
    pub low: f64,
    /// The prediction.
    pub load: f64,
    /// The upper end.
    #[serde(with = "crate::model::units::number_or_inf")]
    pub high: f64,
    /// What the prediction extrapolates, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extrapolations: Vec<String>,
}

impl LoadGuess {
    /// The loads of the first two trials.
    pub(super) fn bracket(&self) -> (f64, f64) {
        let low = self.low.clamp(self.load / MOST_REACH, self.load / LEAST_REACH);
        let high = self.high.clamp(self.load * LEAST_REACH, self.load * MOST_REACH);
        (low, high)
    }

    /// Whether the interval of the prediction has a load.
    pub(crate) fn contains(&self, load: f64) -> bool {
        (self.low..=self.high).contains(&load)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A guess with its interval.
    pub(in crate::analysis::search) fn guess(low: f64, load: f64, high: f64) -> LoadGuess {
        LoadGuess {
            model: "model.json".to_owned(),
            limit: "capacity".to_owned(),
            low,
            load,
            high,
            extrapolations: Vec::new(),
        }
    }

    #[test]
    fn the_bracket_is_the_interval_unless_that_is_too_narrow_or_too_wide() {
        assert_eq!(guess(8.0, 10.0, 15.0).bracket(), (8.0, 15.0));
        assert_eq!(guess(11.0, 12.0, 12.0).bracket(), (10.0, LEAST_REACH * 12.0));
        assert_eq!(guess(0.0, 12.0, f64::INFINITY).bracket(), (6.0, 24.0));
    }
}
