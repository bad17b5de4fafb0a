//! Searches with runs that the caller measures.

use std::num::NonZeroUsize;
use std::time::Duration;

use thiserror::Error;

use super::trial::{Trial, TrialEnd, TrialPlan};
use super::{LoadAxis, Search, SearchAnswer, SearchConfig, SearchStep};
use crate::model::run::Run;
use crate::model::run_spec::Load;
use crate::model::units::Rate;

/// Why a search has no answer; `E` is the error of a measurement.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SearchError<E> {
    /// A trial could not be measured.
    #[error(transparent)]
    Trial(E),
    /// The run of a trial has no records, which show the requests that were cut off.
    #[error("the run of a trial has no records: keep them")]
    NoRecords,
    /// No answer has the metric of a rule, so that any load would meet it.
    #[error("no response has the metric of `{0}`: TPOT and ITL need two output tokens, TTFT a stream")]
    NoMetric(String),
}

/// Searches for the highest load at which the server meets all rules. `measure` sends each load, with the seed of its
/// prompts, and returns the Run with its records.
///
/// The search ends when the boundary is known precisely enough or the time is up, or with a run that was interrupted.
///
/// # Errors
///
/// If a run cannot be measured, or does not show whether the rules are met.
pub fn search<E>(
    config: SearchConfig,
    mut measure: impl FnMut(Load, u64) -> Result<Run, E>,
) -> Result<SearchAnswer, SearchError<E>> {
    let mut search = Search::new(config);
    while let SearchStep::Trial(next) = search.next_step() {
        let run = measure(load(search.config().over, next), next.seed).map_err(SearchError::Trial)?;
        if run.interrupted {
            search.interrupt();
            break;
        }
        let records = run.records.as_deref().ok_or(SearchError::NoRecords)?;
        let mut trial = Trial::from_run(search.config(), next, TrialEnd::Whole, (&run, records));
        trial.spent += next.warmup;
        if next.number == 1
            && let Some(criterion) = trial.unmeasured(search.config(), &run)
        {
            return Err(SearchError::NoMetric(criterion.label()));
        }
        search.add_trial(trial);
    }
    Ok(search.answer())
}

/// The load of a trial.
fn load(over: LoadAxis, next: TrialPlan) -> Load {
    let load = match over {
        LoadAxis::Rate => {
            Load { request_rate: Rate::per_second(next.load).unwrap_or(Rate::INFINITE), ..Load::default() }
        }
        LoadAxis::Concurrency => {
            Load { max_concurrency: NonZeroUsize::new(next.load as usize), ..Load::default() }
        }
    };
    let warmup = Some(next.warmup).filter(|time| *time > Duration::ZERO);
    Load { duration: Some(next.length), warmup, ..load }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::analysis::search::SearchFinding;
    use crate::testing::queue::{self, Queue};
    use crate::testing::sample_run;

    fn config(rule: &str) -> SearchConfig {
        let config = SearchConfig::new(LoadAxis::Rate, [rule.parse().unwrap()]).unwrap();
        SearchConfig { start: 4.0, max: 64.0, ..config }
    }

    /// A run on a server that answers five requests at a time, each in half a second.
    fn queued(load: Load, seed: u64) -> Run {
        let rate = load.request_rate.get();
        let requests = (rate * load.duration.unwrap().as_secs_f64()) as usize;
        let records = Queue { servers: 5, seed, ..Queue::default() }.open(requests, rate);
        sample_run::of_records(queue::spec(load), records, vec![95.0], true)
    }

    #[test]
    fn the_boundary_of_a_server_that_answers_ten_requests_a_second_is_found() {
        let measure = |load, seed| Ok::<_, Infallible>(queued(load, seed));
        let answer = search(config("ttft.p95 < 500ms"), measure).unwrap();
        let (low, high) = answer.finding.interval();
        assert!(low > Some(5.0) && high < Some(12.0), "{:?}", answer.finding);
    }

    #[test]
    fn a_trial_without_records_or_without_the_metric_is_an_error() {
        let of = |run: Run| search(config("tpot.p95 < 9ms"), |_, _| Ok::<_, Infallible>(run.clone()));
        assert!(matches!(of(sample_run::run(false)), Err(SearchError::NoRecords)));
        let mut run = sample_run::run(true);
        run.records.iter_mut().flatten().for_each(|record| record.events.count = 1);
        assert!(matches!(of(run), Err(SearchError::NoMetric(rule)) if rule == "tpot.p95 < 9ms"));
    }

    #[test]
    fn an_interrupted_trial_ends_the_search_and_the_error_of_a_measurement_is_passed_on() {
        let run = Run { interrupted: true, ..sample_run::run(true) };
        let measure = |_, _| Ok::<_, Infallible>(run.clone());
        assert_eq!(search(config("ttft.p95 < 1s"), measure).unwrap().finding, SearchFinding::Nothing);
        let refused = search(config("ttft.p95 < 1s"), |_, _| Err("refused"));
        assert!(matches!(refused, Err(SearchError::Trial("refused"))));
    }
}
