//! The checks that a run's Records decide while the run goes on.

use super::{grade_failures, grade_schedule_lag, grade_starved, grade_token_source};
use crate::model::record::{FailureClass, Record, TokenSource};
use crate::model::run_spec::Spec;
use crate::model::validity::Check;
use crate::stats::DurationSketch;

/// Judges a run that is not over, in constant memory: what its verdict would say of failures, schedule lag,
/// descriptors and token source if the run ended now. The other checks need the whole run.
#[derive(Debug, Default)]
pub(crate) struct ChecksSoFar {
    lag: DurationSketch,
    ttft: DurationSketch,
    ended: usize,
    failed: usize,
    starved: usize,
    guessed_input: usize,
    guessed_output: usize,
}

impl ChecksSoFar {
    /// Adds a request that ended.
    pub(crate) fn add_record(&mut self, record: &Record) {
        record.own_lag().into_iter().for_each(|lag| self.lag.record(lag));
        match record.failure().map(|failure| &failure.class) {
            None => {
                self.ended += 1;
                record.ttft().into_iter().for_each(|ttft| self.ttft.record(ttft));
                let is_guess =
                    matches!(record.output_tokens.source, TokenSource::Events | TokenSource::Estimate);
                self.guessed_output += usize::from(is_guess);
                self.guessed_input += usize::from(record.prompt_tokens.source == TokenSource::Estimate);
            }
            Some(FailureClass::Cancelled | FailureClass::Abandoned) => {}
            Some(class) => {
                self.ended += 1;
                self.failed += 1;
                self.starved += usize::from(matches!(class, FailureClass::Descriptors | FailureClass::Ports));
            }
        }
    }

    /// The checks as they stand; none before a request has ended.
    pub(crate) fn judge(&self, spec: &Spec) -> Vec<Check> {
        if self.ended == 0 {
            return Vec::new();
        }
        let ttft = self.ttft.percentile(50.0).unwrap_or_default();
        let lag = self.lag.percentile(99.0).map(|lag| grade_schedule_lag(&spec.load, lag, ttft));
        let failures = grade_failures(self.failed, self.ended, spec.max_failure_rate);
        let tokens = grade_token_source(self.guessed_input.max(self.guessed_output));
        lag.into_iter().chain([failures, tokens, grade_starved(self.starved)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::Failure;
    use crate::model::validity::{CheckName, CheckOutcome};
    use crate::testing::queue::{Queue, open_load, spec};

    #[test]
    fn the_checks_so_far_are_those_of_the_verdict() {
        let queue = Queue::default();
        let mut records = queue.open(200, queue.rate(0.7));
        let spec = spec(open_load(queue.rate(0.7)));
        let mut checks = ChecksSoFar::default();
        assert!(checks.judge(&spec).is_empty(), "nothing has ended");
        records.iter().for_each(|record| checks.add_record(record));
        let names: Vec<CheckName> = checks.judge(&spec).iter().map(|check| check.name).collect();
        let expected =
            [CheckName::ScheduleLag, CheckName::Failures, CheckName::TokenSource, CheckName::Descriptors];
        assert_eq!(names, expected);
        assert!(checks.judge(&spec).iter().all(|check| check.outcome != CheckOutcome::Invalid));
        for record in &mut records {
            record.outcome = Err(Box::new(Failure::new(FailureClass::Ports, "no port is left")));
            checks.add_record(record);
        }
        let judged = checks.judge(&spec);
        let invalid = judged.iter().filter(|check| check.outcome == CheckOutcome::Invalid);
        let findings: Vec<String> = invalid.map(Check::finding).collect();
        let (failures, starved) = (&findings[0], &findings[1]);
        assert!(failures.starts_with("failed requests: 50.0 % (limit "), "{failures}");
        assert_eq!(starved, "requests at the client's descriptor or port limit: 200");
    }
}
