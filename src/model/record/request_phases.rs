//! The phases of a request, from due to done.

use std::time::Duration;

use super::{Milestone, Record};

/// The server's times may exceed the client's by this without contradicting them: clocks tick, and vLLM rounds.
pub(crate) const SERVER_TIME_TOLERANCE: Duration = Duration::from_millis(1);

/// How long each phase of a request lasted, in order. A phase that did not happen, such as connecting on an open
/// connection, has no length. The lengths add up to the time from due to done.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RequestPhases {
    /// The cap on concurrency kept the request back.
    pub cap: Duration,
    /// The client sent the request later than it could.
    pub lag: Duration,
    /// Name, TCP and TLS of a new connection.
    pub connect: Duration,
    /// The request was written.
    pub write: Duration,
    /// The wait for the first output, less the server's queue and prefill.
    pub wait: Duration,
    /// The request waited in the server's queue; zero where the server reports no prefill time.
    pub queue: Duration,
    /// From the server's first step with the request to its first token; zero where it is not reported.
    pub prefill: Duration,
    /// From the first output to the last.
    pub decode: Duration,
    /// From the last output to the end of the answer.
    pub tail: Duration,
    /// Whether the server's queue and prefill are longer than the wait that the client saw. They are part of the wait
    /// then.
    pub is_contradictory: bool,
}

impl RequestPhases {
    /// Divides the time of a request. Of a failed request, the phase in which it ended is the last. An answer in one
    /// piece has no decode phase.
    pub(crate) fn from_record(record: &Record) -> Self {
        let times = &record.times;
        let mut from = times.due();
        let mut until = |end: Option<Duration>| {
            let length = end.map_or(Duration::ZERO, |end| end.saturating_sub(from));
            from = from.max(end.unwrap_or_default());
            length
        };
        let mut phases = Self {
            cap: until(times.released()),
            lag: until(times.sent()),
            connect: until(times.connected()),
            write: until(times.get(Milestone::Written)),
            wait: until(times.first_token().or(times.last_token())),
            decode: until(times.first_token().and(times.last_token())),
            ..Self::default()
        };
        let rest = until(times.done());
        *phases.last_phase(record) += rest;
        phases.divide_wait(record);
        phases
    }

    /// The phase in which a request ended.
    fn last_phase(&mut self, record: &Record) -> &mut Duration {
        let times = &record.times;
        let (first, last) = (times.first_token(), times.last_token());
        let has_answer = times.get(Milestone::Headers).is_some();
        match () {
            () if first.or(last).is_some() && record.is_success() => &mut self.tail,
            () if first.is_some() && last.is_some() => &mut self.tail,
            () if first.or(last).is_some() => &mut self.decode,
            () if has_answer || times.get(Milestone::Written).is_some() => &mut self.wait,
            () if times.connected().is_some() => &mut self.write,
            () if times.sent().is_some() => &mut self.connect,
            () if times.released().is_some() => &mut self.lag,
            () => &mut self.cap,
        }
    }

    /// Takes the server's queue and prefill out of the wait.
    fn divide_wait(&mut self, record: &Record) {
        let server = record.server_times();
        let Some(prefill) = server.prefill.get() else { return };
        let queue = server.queue.get().unwrap_or_default();
        self.is_contradictory = queue + prefill > self.wait + SERVER_TIME_TOLERANCE;
        if !self.is_contradictory {
            self.prefill = prefill.min(self.wait);
            self.queue = queue.min(self.wait - self.prefill);
            self.wait -= self.queue + self.prefill;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{FailureClass, ServerTimes};
    use crate::testing::sample_run;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn lengths_ms(record: &Record) -> [u128; 9] {
        let phases = RequestPhases::from_record(record);
        let RequestPhases { cap, lag, connect, write, wait, queue, prefill, decode, tail, .. } = phases;
        [cap, lag, connect, write, wait, queue, prefill, decode, tail].map(|length| length.as_millis())
    }

    fn answer() -> Record {
        sample_run::records().remove(0)
    }

    #[test]
    fn the_phases_of_a_request_add_up() {
        let mut answer = answer();
        assert_eq!(lengths_ms(&answer), [0, 2, 0, 0, 100, 0, 0, 100, 1]);
        let whole = answer.times.done().unwrap() - answer.times.due();
        assert_eq!(lengths_ms(&answer).iter().sum::<u128>(), whole.as_millis());
        answer.times.set(Milestone::Released, ms(11));
        answer.times.set(Milestone::Connected, ms(15));
        answer.times.set(Milestone::Written, ms(16));
        assert_eq!(lengths_ms(&answer), [1, 1, 3, 1, 96, 0, 0, 100, 1]);
    }

    /// A request that was due at 10 ms and failed at 90 ms, after these milestones.
    fn failed_after(milestones: &[(Milestone, u64)]) -> [u128; 9] {
        let mut record = sample_run::records().remove(1);
        let none = Milestone::ALL.map(|milestone| (milestone, None));
        let some = milestones.iter().map(|(milestone, at)| (*milestone, Some(ms(*at))));
        record.times.set_due(ms(10));
        none.into_iter().chain(some).for_each(|(milestone, at)| record.times.set(milestone, at));
        record.times.set(Milestone::Done, ms(90));
        assert!(record.failure().is_some_and(|failure| failure.class == FailureClass::Status(503)));
        lengths_ms(&record)
    }

    #[test]
    fn the_phase_in_which_a_request_failed_is_its_last() {
        use Milestone::{Connected, FirstToken, Headers, LastToken, Released, Sent, Written};
        let sent = [(Released, 20), (Sent, 21)];
        let after = |more: &[(Milestone, u64)]| failed_after(&[&sent, more].concat());
        assert_eq!(failed_after(&[]), [80, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(failed_after(&sent[..1]), [10, 70, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(after(&[]), [10, 1, 69, 0, 0, 0, 0, 0, 0]);
        assert_eq!(after(&[(Connected, 30)]), [10, 1, 9, 60, 0, 0, 0, 0, 0]);
        assert_eq!(after(&[(Written, 30)]), [10, 1, 0, 9, 60, 0, 0, 0, 0]);
        assert_eq!(after(&[(Headers, 40)]), [10, 1, 0, 0, 69, 0, 0, 0, 0]);
        assert_eq!(after(&[(FirstToken, 50)]), [10, 1, 0, 0, 29, 0, 0, 40, 0]);
        assert_eq!(after(&[(FirstToken, 50), (LastToken, 60)]), [10, 1, 0, 0, 29, 0, 0, 10, 30]);
    }

    #[test]
    fn the_servers_queue_and_prefill_are_taken_out_of_the_wait() {
        let with_server_times = |queue, prefill| {
            let server_times = ServerTimes::new(Some(queue), Some(prefill), None).boxed();
            Record { server_times, ..answer() }
        };
        let record = with_server_times(ms(60), ms(30));
        assert_eq!(lengths_ms(&record), [0, 2, 0, 0, 10, 60, 30, 100, 1]);
        assert!(!RequestPhases::from_record(&record).is_contradictory);
        let rounded_up = with_server_times(ms(70), ms(30) + SERVER_TIME_TOLERANCE);
        assert_eq!(lengths_ms(&rounded_up), [0, 2, 0, 0, 0, 69, 31, 100, 1]);
        let too_long = with_server_times(ms(80), ms(30));
        assert_eq!(lengths_ms(&too_long), [0, 2, 0, 0, 100, 0, 0, 100, 1]);
        assert!(RequestPhases::from_record(&too_long).is_contradictory);
    }
}
