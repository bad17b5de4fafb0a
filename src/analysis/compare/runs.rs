//! Compares two runs.

use thiserror::Error;

use super::{CompareConfig, Comparison, ComparisonSide, SpecDifference, headline_metrics};
use crate::model::run::Run;

/// Why two runs are not compared.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NotComparable {
    /// The runs used different configurations.
    #[error("the runs have different configurations: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Different(Vec<SpecDifference>),
    /// A run is INVALID.
    #[error("the {run} is INVALID: {reason}")]
    Invalid {
        /// The INVALID run: `baseline` or `candidate`.
        run: &'static str,
        /// The reason.
        reason: String,
    },
}

/// Compares a candidate with a baseline: each metric is better, worse, the same, or undecided. Metrics that are INVALID
/// in one of the runs are left out.
///
/// # Errors
///
/// If the runs used different configurations, or one of them is INVALID as a whole.
pub fn compare(baseline: &Run, candidate: &Run) -> Result<Comparison, NotComparable> {
    let different = SpecDifference::between(baseline, candidate);
    if !different.is_empty() {
        return Err(NotComparable::Different(different));
    }
    let [base, candidate] = [("baseline", baseline), ("candidate", candidate)].map(|(name, run)| {
        match run.validity.run_invalid_reason() {
            Some(reason) => Err(NotComparable::Invalid { run: name, reason }),
            None => {
                let mut run = run.clone();
                run.remove_invalid_metrics();
                Ok(ComparisonSide { name: name.to_owned(), runs: vec![run] })
            }
        }
    });
    let (base, candidate) = (base?, candidate?);
    let wanted = headline_metrics(&[&base.runs, &candidate.runs]);
    Ok(Comparison::from_known_metrics(&base, &[candidate], &wanted, CompareConfig::default()))
}
