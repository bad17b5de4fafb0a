//! Runs measured in pairs: one run of each side, soon after each other, with the same requests.

use super::{
    CandidateComparison, ClaimScope, CompareConfig, Comparison, ComparisonSide, MetricComparison,
    MetricDifference, MetricSample, SideInfo, decide_all,
};
use crate::analysis::compare::server_starts::group_by_start;
use crate::model::metric_id::MetricId;

impl Comparison {
    /// Compares a candidate whose n-th run pairs with the n-th run of the baseline. Only differences within pairs
    /// count. A change from one pair to the next (a machine that slows down, a neighbor that starts to work) is
    /// therefore not taken for a difference, and its spread does not hide one. A metric that any run lacks has no row.
    pub(crate) fn from_pairs(
        base: &ComparisonSide,
        candidate: &ComparisonSide,
        figures: &[MetricId],
        settings: CompareConfig,
    ) -> Self {
        let pairs = base.runs.len().min(candidate.runs.len());
        let sample = |side: &ComparisonSide, figure: MetricId| {
            MetricSample::from_runs(&side.runs[..pairs], figure).filter(|sample| sample.runs.len() == pairs)
        };
        let row = |&figure: &MetricId| {
            let (of_base, of_candidate) = (sample(base, figure)?, sample(candidate, figure)?);
            let difference = MetricDifference::paired(&of_base, &of_candidate);
            Some(MetricComparison::undecided(figure, [of_base, of_candidate], difference, &settings))
        };
        let mut rows: Vec<MetricComparison> = figures.iter().filter_map(row).collect();
        let family = decide_all(rows.iter_mut(), settings.alpha);
        // Runs on the same start are not independent, so each pair must have its own starts.
        let apart = |side: &ComparisonSide| group_by_start(&side.runs[..pairs]).len() == pairs;
        let scope =
            if apart(base) && apart(candidate) { ClaimScope::Servers } else { ClaimScope::TheseStarts };
        let candidates = vec![CandidateComparison { party: SideInfo::from_side(candidate), scope, rows }];
        let nobody = Self::from_metrics(base, &[], &[], settings);
        Self { candidates, family, ..nobody }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::analysis::compare::DifferenceVerdict;
    use crate::model::metrics::Latency;
    use crate::model::run::Run;
    use crate::testing::sample_run;

    fn side(name: &str, means: impl IntoIterator<Item = f64>) -> ComparisonSide {
        let with = |ms: f64| {
            let mut run: Run = sample_run::run(false);
            run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(ms / 1e3);
            run
        };
        ComparisonSide { name: name.into(), runs: means.into_iter().map(with).collect() }
    }

    fn ttft() -> [MetricId; 1] {
        ["ttft.mean".parse().unwrap()]
    }

    fn paired(base: &[f64], candidate: &[f64]) -> MetricComparison {
        let (base, candidate) = (side("a", base.iter().copied()), side("b", candidate.iter().copied()));
        let comparison = Comparison::from_pairs(&base, &candidate, &ttft(), CompareConfig::default());
        comparison.rows().next().unwrap().clone()
    }

    /// 100 ms as measured in each of 8 pairs on a machine that slows down for the second half.
    const DISTURBED: [f64; 8] = [100.0, 101.0, 99.0, 100.0, 180.0, 183.0, 179.0, 181.0];

    #[test]
    fn a_machine_that_slows_down_is_no_difference_in_pairs() {
        let noise = [0.5, -0.4, 0.3, -0.6, 0.8, -0.7, 0.2, -0.3];
        let candidate: Vec<f64> = DISTURBED.iter().zip(noise).map(|(ms, noise)| ms + noise).collect();
        let row = paired(&DISTURBED, &candidate);
        assert_eq!(row.call, DifferenceVerdict::Same, "{:?}", row.difference);

        let (first, second) = (side("a", DISTURBED[..4].to_vec()), side("b", candidate[4..].to_vec()));
        let one_after_the_other =
            Comparison::from_metrics(&first, &[second], &ttft(), CompareConfig::default());
        assert_eq!(
            one_after_the_other.rows().next().unwrap().call,
            DifferenceVerdict::Worse,
            "this is what pairs are for"
        );
    }

    #[test]
    fn a_tenth_is_found_in_pairs_where_the_machine_hides_it() {
        let noise = [1.5, -1.4, 1.3, -1.6, 1.8, -1.7, 1.2, -1.3];
        let candidate: Vec<f64> = DISTURBED.iter().zip(noise).map(|(ms, noise)| 1.1 * ms + noise).collect();
        let row = paired(&DISTURBED, &candidate);
        assert_eq!(row.call, DifferenceVerdict::Worse, "{:?}", row.difference);
        assert!((row.difference.relative.unwrap() - 0.1).abs() < 0.005, "{:?}", row.difference);
        assert!((row.difference.rank_p.unwrap() - 2.0 / 256.0).abs() < 1e-9);

        let (base, candidate) = (side("a", DISTURBED), side("b", candidate));
        let unpaired = Comparison::from_metrics(&base, &[candidate], &ttft(), CompareConfig::default());
        assert!(matches!(unpaired.rows().next().unwrap().call, DifferenceVerdict::CannotTell { .. }));
    }

    #[test]
    fn one_pair_tells_nothing_and_a_figure_that_a_run_lacks_has_no_row() {
        assert_eq!(paired(&[100.0], &[200.0]).call, DifferenceVerdict::CannotTell { needs: None });
        let (base, mut candidate) = (side("a", [1.0, 2.0]), side("b", [1.0, 2.0]));
        candidate.runs[1].metrics.latencies.remove(&Latency::Ttft);
        let comparison = Comparison::from_pairs(&base, &candidate, &ttft(), CompareConfig::default());
        assert_eq!((comparison.rows().count(), comparison.family), (0, 0));
    }

    #[test]
    fn equal_servers_on_a_restless_machine_are_called_apart_in_5_percent_at_most() {
        let settings = CompareConfig { margin: 0.0001, ..CompareConfig::default() };
        let apart = |seed: u64| {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut machine = 100.0;
            let mut block = || {
                machine *= dice.random_range(0.9..1.115);
                machine * dice.random_range(0.97..1.03)
            };
            // ABBA: each side goes first equally often.
            let pairs: Vec<[f64; 2]> = (0..8)
                .map(|pair| {
                    let [first, second] = [block(), block()];
                    if pair % 2 == 0 { [first, second] } else { [second, first] }
                })
                .collect();
            let sides = [0, 1].map(|which| side("", pairs.iter().map(|pair| pair[which])));
            let comparison = Comparison::from_pairs(&sides[0], &sides[1], &ttft(), settings.clone());
            comparison
                .rows()
                .any(|row| matches!(row.call, DifferenceVerdict::Better | DifferenceVerdict::Worse))
        };
        let alarms = (0..400).filter(|&seed| apart(seed)).count();
        // 20 are expected; the bound adds three standard errors.
        assert!(alarms <= 33, "{alarms} of 400");
    }
}
