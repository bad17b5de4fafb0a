//! Runs that were measured in pairs: one of each side, soon after each other, with the same requests.

use super::starts::groups;
use super::{Candidate, Comparison, Difference, Party, Row, Sample, Scope, Settings, Side, decide};
use crate::core::figure::Figure;

impl Comparison {
    /// Of a candidate whose runs make pairs with the baseline's, the first with the first. Only differences within pairs
    /// count, so that whatever changes from one pair to the next (a machine that slows down, a neighbour that comes) is taken
    /// for no difference, and its spread hides none. A figure that any run lacks has no row.
    pub fn of_pairs(base: &Side, candidate: &Side, figures: &[Figure], settings: Settings) -> Self {
        let pairs = base.runs.len().min(candidate.runs.len());
        let sample = |side: &Side, figure: Figure| {
            Sample::of(&side.runs[..pairs], figure).filter(|sample| sample.runs.len() == pairs)
        };
        let row = |&figure: &Figure| {
            let (of_base, of_candidate) = (sample(base, figure)?, sample(candidate, figure)?);
            let difference = Difference::paired(&of_base, &of_candidate);
            Some(Row::with(figure, [of_base, of_candidate], difference, &settings))
        };
        let mut rows: Vec<Row> = figures.iter().filter_map(row).collect();
        let family = decide(rows.iter_mut(), settings.alpha);
        // What shares a start is not independent: each pair must have starts of its own.
        let apart = |side: &Side| groups(&side.runs[..pairs]).len() == pairs;
        let scope = if apart(base) && apart(candidate) { Scope::Servers } else { Scope::TheseStarts };
        let candidates = vec![Candidate { party: Party::of(candidate), scope, rows }];
        let nobody = Self::of_figures(base, &[], &[], settings);
        Self { candidates, family, ..nobody }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::core::metrics::Latency;
    use crate::core::run::{Run, sample};
    use crate::judge::compare::Call;

    fn side(name: &str, means: impl IntoIterator<Item = f64>) -> Side {
        let with = |ms: f64| {
            let mut run: Run = sample::run(false);
            run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(ms / 1e3);
            run
        };
        Side { name: name.into(), runs: means.into_iter().map(with).collect() }
    }

    fn ttft() -> [Figure; 1] {
        ["ttft.mean".parse().unwrap()]
    }

    fn paired(base: &[f64], candidate: &[f64]) -> Row {
        let (base, candidate) = (side("a", base.iter().copied()), side("b", candidate.iter().copied()));
        let comparison = Comparison::of_pairs(&base, &candidate, &ttft(), Settings::default());
        comparison.rows().next().unwrap().clone()
    }

    /// What the machine makes of 100 ms in each of 8 pairs: it slows down for the second half.
    const DISTURBED: [f64; 8] = [100.0, 101.0, 99.0, 100.0, 180.0, 183.0, 179.0, 181.0];

    #[test]
    fn a_machine_that_slows_down_is_no_difference_in_pairs() {
        let noise = [0.5, -0.4, 0.3, -0.6, 0.8, -0.7, 0.2, -0.3];
        let candidate: Vec<f64> = DISTURBED.iter().zip(noise).map(|(ms, noise)| ms + noise).collect();
        let row = paired(&DISTURBED, &candidate);
        assert_eq!(row.call, Call::Same, "{:?}", row.difference);

        let (first, second) = (side("a", DISTURBED[..4].to_vec()), side("b", candidate[4..].to_vec()));
        let one_after_the_other = Comparison::of_figures(&first, &[second], &ttft(), Settings::default());
        assert_eq!(
            one_after_the_other.rows().next().unwrap().call,
            Call::Worse,
            "this is what pairs are for"
        );
    }

    #[test]
    fn a_tenth_is_found_in_pairs_where_the_machine_hides_it() {
        let noise = [1.5, -1.4, 1.3, -1.6, 1.8, -1.7, 1.2, -1.3];
        let candidate: Vec<f64> = DISTURBED.iter().zip(noise).map(|(ms, noise)| 1.1 * ms + noise).collect();
        let row = paired(&DISTURBED, &candidate);
        assert_eq!(row.call, Call::Worse, "{:?}", row.difference);
        assert!((row.difference.relative.unwrap() - 0.1).abs() < 0.005, "{:?}", row.difference);
        assert!((row.difference.rank_p.unwrap() - 2.0 / 256.0).abs() < 1e-9);

        let (base, candidate) = (side("a", DISTURBED), side("b", candidate));
        let unpaired = Comparison::of_figures(&base, &[candidate], &ttft(), Settings::default());
        assert!(matches!(unpaired.rows().next().unwrap().call, Call::CannotTell { .. }));
    }

    #[test]
    fn one_pair_tells_nothing_and_a_figure_that_a_run_lacks_has_no_row() {
        assert_eq!(paired(&[100.0], &[200.0]).call, Call::CannotTell { needs: None });
        let (base, mut candidate) = (side("a", [1.0, 2.0]), side("b", [1.0, 2.0]));
        candidate.runs[1].metrics.latencies.remove(&Latency::Ttft);
        let comparison = Comparison::of_pairs(&base, &candidate, &ttft(), Settings::default());
        assert_eq!((comparison.rows().count(), comparison.family), (0, 0));
    }

    #[test]
    fn equal_servers_on_a_restless_machine_are_called_apart_in_5_percent_at_most() {
        let settings = Settings { margin: 0.0001, ..Settings::default() };
        let apart = |seed: u64| {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut machine = 100.0;
            let mut block = || {
                machine *= dice.random_range(0.9..1.115);
                machine * dice.random_range(0.97..1.03)
            };
            // ABBA: each goes first as often as the other.
            let pairs: Vec<[f64; 2]> = (0..8)
                .map(|pair| {
                    let [first, second] = [block(), block()];
                    if pair % 2 == 0 { [first, second] } else { [second, first] }
                })
                .collect();
            let sides = [0, 1].map(|which| side("", pairs.iter().map(|pair| pair[which])));
            let comparison = Comparison::of_pairs(&sides[0], &sides[1], &ttft(), settings.clone());
            comparison.rows().any(|row| matches!(row.call, Call::Better | Call::Worse))
        };
        let alarms = (0..400).filter(|&seed| apart(seed)).count();
        // 20 are allowed, and three standard errors more.
        assert!(alarms <= 33, "{alarms} of 400");
    }
}
