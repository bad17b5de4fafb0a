//! Runs whole searches in virtual time, against a server that is a function from a load to Records.

use std::time::Duration;

use crate::analysis::search::early_stop::{EarlyStop, TrialCommand, TrialProgress};
use crate::analysis::search::evidence::{Criterion, CriterionEvidence};
use crate::analysis::search::trial::{
    MeasuredTrial, Trial, TrialEnd, TrialMetrics, TrialPlan, time_in_flight,
};
use crate::analysis::search::{LoadAxis, Search, SearchConfig, SearchStep};
use crate::model::record::{Failure, FailureClass, Milestone, Record};
use crate::model::run_spec::Slo;
use crate::testing::queue::open_load;

/// Creates a trial at this load with this evidence.
pub(crate) fn trial(load: f64, evidence: Vec<Option<CriterionEvidence>>) -> Trial {
    Trial {
        number: 1,
        load,
        length: Duration::from_secs(10),
        spent: Duration::from_secs(12),
        seed: 0,
        ending: TrialEnd::Whole,
        evidence,
        service: TrialMetrics { requests: 100, peak_in_flight: 10, ..TrialMetrics::default() },
        doubt: None,
    }
}

/// Configures a search for the highest rate up to 200 req/s that meets these rules and keeps up.
pub(crate) fn question(rules: &[&str]) -> SearchConfig {
    let rule = |rule: &&str| Criterion::from_rule(rule.parse().unwrap()).unwrap();
    let criteria = rules.iter().map(rule).chain([Criterion::KeepsUp]).collect();
    SearchConfig {
        criteria,
        over: LoadAxis::Rate,
        start: 1.0,
        max: 200.0,
        time: Duration::from_secs(1200),
        trial: Duration::from_secs(30),
        precision: 0.05,
        headroom: 0.3,
        seed: 0,
    }
}

/// A server: returns the Records of a load for a duration, from a seed.
type Server<'a> = &'a dyn Fn(f64, Duration, u64) -> Vec<Record>;

/// Runs a search to its end. Each trial may end early, as in a real search.
pub(crate) fn search(question: SearchConfig, server: Server<'_>) -> Search {
    search_from(Search::new(question), server)
}

/// Runs a search that was begun to its end.
pub(crate) fn search_from(mut search: Search, server: Server<'_>) -> Search {
    while let SearchStep::Trial(next) = search.next_step() {
        let trial = measure(search.config(), next, server);
        search.add_trial(trial);
    }
    search
}

/// Runs one trial on the Records that the server returns for it.
fn measure(question: &SearchConfig, next: TrialPlan, server: Server<'_>) -> Trial {
    let all = server(next.load, next.warmup + next.length, next.seed);
    let mut records: Vec<Record> =
        all.into_iter().filter(|record| record.times.due() >= next.warmup).collect();
    records.iter_mut().for_each(|record| shift(record, next.warmup));
    let Watched { ending, sent_until, end } = watched(question, next, &records);
    records.retain(|record| record.times.due() <= sent_until);
    records.iter_mut().for_each(|record| cut_off(record, end));
    let slo = Slo::default();
    let measured = MeasuredTrial { ending, load: &open_load(next.load), slo: &slo, records: &records };
    let evidence = measured.evidence(question, |_| None);
    let spent = next.warmup + end + Duration::from_secs(1);
    let service = TrialMetrics {
        requests: records.len(),
        in_flight_p99_ms: time_in_flight(&records, 99.0),
        peak_in_flight: in_flight(&records, end / 2).max(1),
        ..TrialMetrics::default()
    };
    Trial {
        number: next.number,
        ending,
        length: end,
        spent,
        service,
        seed: next.seed,
        ..trial(next.load, evidence)
    }
}

fn shift(record: &mut Record, by: Duration) {
    let times = &mut record.times;
    times.set_due(times.due() - by);
    for milestone in [Milestone::Sent, Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
        times.map_time(milestone, |at| at.saturating_sub(by));
    }
}

fn cut_off(record: &mut Record, end: Duration) {
    let times = &mut record.times;
    if times.done().is_some_and(|done| done > end) {
        times.set(Milestone::FirstToken, times.first_token().filter(|first| *first <= end));
        times.set(Milestone::LastToken, None);
        times.set(Milestone::Done, end);
        record.outcome = Err(Failure::new(FailureClass::Cancelled, "").into());
    }
}

fn in_flight(records: &[Record], at: Duration) -> usize {
    let during = |record: &&Record| record.times.sent().unwrap() <= at && record.times.done().unwrap() > at;
    records.iter().filter(during).count()
}

/// The course of a trial that may end early.
struct Watched {
    ending: TrialEnd,
    sent_until: Duration,
    end: Duration,
}

/// Replays the records to the early stop, with an update every 200 ms.
fn watched(question: &SearchConfig, next: TrialPlan, records: &[Record]) -> Watched {
    let slo = Slo::default();
    let mut watch = EarlyStop::new(&question.criteria, &slo, question.over, next);
    let mut by_end: Vec<&Record> = records.iter().collect();
    by_end.sort_by_key(|record| record.times.done());
    let mut by_end = by_end.into_iter().peekable();
    let (mut elapsed, mut sent, mut ended, mut sent_until) = (Duration::ZERO, 0, 0, None);
    loop {
        elapsed += Duration::from_millis(200);
        let is_sent = |record: &&Record| sent_until.is_none_or(|until| record.times.due() <= until);
        let sent_by = |record: &&Record| record.times.sent().unwrap() <= elapsed;
        sent += records[sent..].iter().take_while(|record| is_sent(record) && sent_by(record)).count();
        while let Some(record) = by_end.next_if(|record| record.times.done().unwrap() <= elapsed) {
            if is_sent(&record) {
                watch.add_record(record);
                ended += 1;
            }
        }
        let order = watch.update(TrialProgress { elapsed, sent, in_flight: sent - ended });
        if order == Some(TrialCommand::SendNoMore) {
            sent_until = Some(elapsed);
        }
        let is_over = elapsed >= sent_until.unwrap_or(next.length) && sent == ended;
        if order == Some(TrialCommand::End) || is_over {
            return Watched {
                ending: watch.ending(),
                sent_until: sent_until.unwrap_or(elapsed),
                end: elapsed,
            };
        }
    }
}
