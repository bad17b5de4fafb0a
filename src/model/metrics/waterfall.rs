//! Where the time of the requests went: the client's timestamps around the server's own times.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::record::{Record, RequestPhases, SERVER_TIME_TOLERANCE};
use crate::seconds;
use crate::stats::{ConfidenceDistribution, RateInterval};

/// The mean time of each phase, over the answered requests whose answers have the server's own times.
///
/// The phases up to the first token add up to the client's lag and TTFT, those after it to E2E − TTFT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waterfall {
    /// Answered requests, of those that the Waterfall was computed from.
    pub answered: usize,
    /// Those of them with the server's times.
    pub requests: usize,
    /// Those whose server's times are longer than the client saw, which are left out.
    pub contradictory: usize,
    /// The number of slowest requests: one in a hundred, by TTFT.
    pub slowest: usize,
    /// The phases that happened, in order.
    pub phases: Vec<PhaseTime>,
}

/// The time of one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// Its mean length.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// Its share of lag and TTFT; `None` after the first token.
    pub share: Option<TimeShare>,
    /// The same for the slowest requests.
    pub slowest_share: Option<TimeShare>,
}

/// A share of a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct TimeShare {
    /// The share, from 0 to 1.
    pub value: f64,
    /// Its 95 % interval; `None` with fewer than ten requests.
    pub interval: Option<RateInterval>,
}

/// The phases of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// The client sent the request later than it could.
    ClientLag,
    /// Name, TCP and TLS of a new connection.
    Connect,
    /// The rest of TTFT: the way there and back, gateways, the server's front end; and its queue where it does not
    /// report that.
    Network,
    /// The request waited in the server's queue.
    Queue,
    /// From the server's first step with the request to its first token.
    Prefill,
    /// From the server's first token to its last.
    Decode,
    /// The rest of E2E: by how much the last token took longer to the client than the first.
    Delivery,
}

impl Phase {
    /// All phases, in order.
    const ALL: [Self; 7] = [
        Self::ClientLag,
        Self::Connect,
        Self::Network,
        Self::Queue,
        Self::Prefill,
        Self::Decode,
        Self::Delivery,
    ];

    /// Returns whether the phase is a part of lag and TTFT.
    pub(crate) fn is_before_first_token(self) -> bool {
        !matches!(self, Self::Decode | Self::Delivery)
    }
}

/// The phases of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AnswerPhases {
    lengths: [Duration; Phase::ALL.len()],
    /// Whether the server's times are longer than the client saw.
    is_contradictory: bool,
}

impl AnswerPhases {
    /// Divides the time of an answered request; `None` without the server's prefill time.
    fn from_record(record: &Record) -> Option<Self> {
        let server = record.server_times();
        let prefill = server.prefill.get()?;
        let after = record.e2e()?.saturating_sub(record.ttft()?);
        let phases = RequestPhases::from_record(record);
        let decode = server.decode.get().unwrap_or(after);
        // The last tokens may have no text, so that the last output event is before them.
        let whole = record.times.done()?.saturating_sub(record.times.sent()?);
        let computed = server.queue.get().unwrap_or_default() + prefill + decode;
        Some(Self {
            lengths: [
                phases.lag,
                phases.connect,
                phases.write + phases.wait,
                phases.queue,
                phases.prefill,
                decode.min(after),
                after.saturating_sub(decode),
            ],
            is_contradictory: phases.is_contradictory || computed > whole + SERVER_TIME_TOLERANCE,
        })
    }

    /// The length of a phase.
    fn length(&self, phase: Phase) -> Duration {
        self.lengths[phase as usize]
    }

    /// Lag and TTFT.
    fn until_first_token(&self) -> Duration {
        Phase::ALL
            .into_iter()
            .filter(|phase| phase.is_before_first_token())
            .map(|phase| self.length(phase))
            .sum()
    }

    fn share_pair(&self, phase: Phase) -> (f64, f64) {
        (self.length(phase).as_secs_f64(), self.until_first_token().as_secs_f64())
    }
}

impl Waterfall {
    /// Adds up the phases of Records in the order of time; `None` if no answer has the server's times.
    pub(crate) fn from_records<'a>(records: impl Iterator<Item = &'a Record>) -> Option<Self> {
        let mut answered = 0;
        let answers = records.filter(|record| record.is_success()).inspect(|_| answered += 1);
        let divided: Vec<AnswerPhases> = answers.filter_map(AnswerPhases::from_record).collect();
        let (contradictory, divided): (Vec<_>, Vec<_>) =
            divided.into_iter().partition(|phases| phases.is_contradictory);
        let requests = divided.len() + contradictory.len();
        if requests == 0 {
            return None;
        }
        let slowest = slowest_hundredth(&divided);
        let phases = Phase::ALL.into_iter().filter_map(|phase| PhaseTime::new(phase, &divided, &slowest));
        Some(Self {
            answered,
            requests,
            contradictory: contradictory.len(),
            slowest: slowest.len(),
            phases: phases.collect(),
        })
    }

    /// The time of a phase; `None` if it did not happen.
    pub(crate) fn phase(&self, phase: Phase) -> Option<&PhaseTime> {
        self.phases.iter().find(|time| time.phase == phase)
    }

    /// The phase with the largest share of the slowest requests' TTFT.
    pub(crate) fn largest_of_slowest(&self) -> Option<(Phase, TimeShare)> {
        let shares = self.phases.iter().filter_map(|time| Some((time.phase, time.slowest_share?)));
        shares.max_by(|a, b| a.1.value.total_cmp(&b.1.value))
    }
}

/// The slowest hundredth by TTFT, in the order of time.
fn slowest_hundredth(all: &[AnswerPhases]) -> Vec<AnswerPhases> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(all[*at].until_first_token()));
    order.truncate(all.len().div_ceil(100));
    order.sort_unstable();
    order.into_iter().map(|at| all[at]).collect()
}

impl PhaseTime {
    fn new(phase: Phase, all: &[AnswerPhases], slowest: &[AnswerPhases]) -> Option<Self> {
        let sum: Duration = all.iter().map(|phases| phases.length(phase)).sum();
        let share = |some: &[AnswerPhases]| {
            let pairs = some.iter().map(|phases| phases.share_pair(phase));
            phase.is_before_first_token().then(|| TimeShare::from_pairs(pairs)).flatten()
        };
        (!sum.is_zero()).then(|| Self {
            phase,
            mean: sum.div_f64(all.len() as f64),
            share: share(all),
            slowest_share: share(slowest),
        })
    }
}

impl TimeShare {
    /// The share from pairs (length of the phase, whole time), in the order of time.
    fn from_pairs(pairs: impl ExactSizeIterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        let (part, whole) = pairs.clone().fold((0.0, 0.0), |sums, pair| (sums.0 + pair.0, sums.1 + pair.1));
        let interval = ConfidenceDistribution::from_ratio(pairs).map(|share| share.interval(0.05));
        let interval =
            interval.map(|RateInterval { low, high, .. }| RateInterval { low, high: high.min(1.0) });
        (whole > 0.0).then(|| Self { value: part / whole, interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Milestone, ServerTimes};
    use crate::testing::sample_run;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// An answer that was due at 10 ms and sent at 12 ms, with a TTFT of 100 ms and an E2E of 200 ms, by a server that
    /// reports these times in milliseconds.
    fn record(queue: u64, prefill: u64, decode: u64) -> Record {
        let server_times = ServerTimes::new(Some(ms(queue)), Some(ms(prefill)), Some(ms(decode))).boxed();
        Record { server_times, ..sample_run::records().remove(0) }
    }

    fn lengths_ms(record: &Record) -> [u128; 7] {
        AnswerPhases::from_record(record).unwrap().lengths.map(|length| length.as_millis())
    }

    #[test]
    fn the_phases_add_up_to_lag_and_e2e() {
        let mut record = record(60, 30, 95);
        assert_eq!(lengths_ms(&record), [2, 0, 10, 60, 30, 95, 5]);
        record.times.set(Milestone::Connected, ms(15));
        assert_eq!(lengths_ms(&record), [2, 3, 7, 60, 30, 95, 5]);
        let sum: Duration = AnswerPhases::from_record(&record).unwrap().lengths.iter().sum();
        assert_eq!(sum, record.own_lag().unwrap() + record.e2e().unwrap());
    }

    #[test]
    fn tokens_without_text_after_the_last_output_are_no_contradiction() {
        let mut record = record(60, 30, 120);
        record.times.set(Milestone::Done, ms(225));
        let waterfall = Waterfall::from_records([record].iter()).unwrap();
        assert_eq!((waterfall.requests, waterfall.contradictory), (1, 0));
        assert_eq!(waterfall.phase(Phase::Decode).unwrap().mean, ms(100), "up to the last output");
    }

    #[test]
    fn a_queue_that_is_not_reported_is_in_the_rest() {
        let mut record = record(0, 30, 95);
        record.server_times = ServerTimes::new(None, Some(ms(30)), Some(ms(95))).boxed();
        assert_eq!(lengths_ms(&record), [2, 0, 70, 0, 30, 95, 5]);
        let waterfall = Waterfall::from_records([record].iter()).unwrap();
        assert!(waterfall.phase(Phase::Queue).is_none());
    }

    #[test]
    fn times_longer_than_the_client_saw_are_counted_and_left_out() {
        let records = [record(60, 30, 95), record(80, 30, 95), record(60, 30, 195), record(60, 30, 96)];
        let waterfall = Waterfall::from_records(records.iter()).unwrap();
        assert_eq!((waterfall.answered, waterfall.requests, waterfall.contradictory), (4, 4, 2));
        assert_eq!(waterfall.phase(Phase::Queue).unwrap().mean, ms(60));
    }

    #[test]
    fn answers_without_times_have_no_waterfall() {
        assert_eq!(Waterfall::from_records(sample_run::records().iter()), None);
        let mixed = [sample_run::records().remove(0), record(60, 30, 95)];
        let waterfall = Waterfall::from_records(mixed.iter()).unwrap();
        assert_eq!((waterfall.answered, waterfall.requests), (2, 1));
    }

    #[test]
    fn the_slowest_hundredth_has_its_own_shares() {
        // A hundred answers with short queues, and one that waits for 900 of 1,000 ms.
        let mut slow = record(900, 30, 95);
        for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
            slow.times.set(milestone, slow.times.get(milestone).map(|at| at + ms(898)));
        }
        let mut records = vec![record(10, 30, 95); 99];
        records.push(slow);
        let waterfall = Waterfall::from_records(records.iter()).unwrap();
        assert_eq!(waterfall.slowest, 1);
        let (phase, share) = waterfall.largest_of_slowest().unwrap();
        assert_eq!((phase, share), (Phase::Queue, TimeShare { value: 0.9, interval: None }));
        let queue = waterfall.phase(Phase::Queue).unwrap().share.unwrap();
        let expected = (99.0 * 10.0 + 900.0) / (99.0 * 102.0 + 1000.0);
        assert!((queue.value - expected).abs() < 1e-12);
        let interval = queue.interval.unwrap();
        assert!(interval.low < expected && expected < interval.high && interval.high <= 1.0);
    }
}
