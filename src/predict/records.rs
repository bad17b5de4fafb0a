//! Simulated answers as Records, so that the code of measured runs computes their metrics.

use std::time::Duration;

use crate::dataset::shapes::RequestShape;
use crate::model::record::{
    Events, Milestone, Record, RequestLabels, Timestamps, TokenCount, TokenSource, whole_second,
};

/// When a simulated request was sent and answered, since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerTimes {
    /// When it was sent, which is also when it was due.
    pub sent: Duration,
    /// When its first token arrived.
    pub first_token: Duration,
    /// When its last token arrived.
    pub last_token: Duration,
}

/// The Record of a simulated answer. Its tokens are spread evenly from the first to the last.
pub(crate) fn record(ordinal: usize, request: &RequestShape, times: AnswerTimes, cached: u32) -> Record {
    let AnswerTimes { sent, first_token, last_token } = times;
    let count = |count| TokenCount { count, source: TokenSource::Usage };
    let stamps = Timestamps::new(sent)
        .with_time(Milestone::Sent, sent)
        .with_time(Milestone::FirstToken, first_token)
        .with_time(Milestone::LastToken, last_token)
        .with_time(Milestone::Done, last_token);
    let events = spread(request.output, first_token, last_token);
    let mut record =
        Record::answered(ordinal, None, stamps, [count(request.prompt), count(request.output)], events);
    record.cached_tokens = Some(cached);
    record.facets = request.turn.map(|turn| {
        let session = u32::try_from(turn.session).ok();
        Box::new(RequestLabels { session, turn: Some(turn.index), ..RequestLabels::default() })
    });
    record
}

/// The events of an answer by second.
fn spread(tokens: u32, first: Duration, last: Duration) -> Events {
    let mut events = Events::default();
    let span = last.saturating_sub(first).as_nanos();
    let mut done = 0;
    for second in whole_second(first)..=whole_second(last) {
        let end = Duration::from_secs(u64::from(second) + 1).saturating_sub(first).as_nanos();
        // The tokens before the end of this second.
        let by_then = match second < whole_second(last) {
            true => (end * u128::from(tokens.saturating_sub(1))).div_ceil(span.max(1)),
            false => u128::from(tokens),
        };
        let by_then = u32::try_from(by_then).unwrap_or(tokens).min(tokens);
        events.add(second, by_then.saturating_sub(done));
        done = done.max(by_then);
    }
    events
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn answer(output: u32, [sent, first, last]: [u64; 3]) -> Record {
        let request = RequestShape { prompt: 100, output, contents: Arc::default(), turn: None };
        let ms = Duration::from_millis;
        let times = AnswerTimes { sent: ms(sent), first_token: ms(first), last_token: ms(last) };
        record(3, &request, times, 32)
    }

    #[test]
    fn the_latencies_are_those_of_the_simulation() {
        let record = answer(11, [500, 700, 1700]);
        let ms = |value: Option<Duration>| value.unwrap().as_millis();
        assert_eq!((ms(record.ttft()), ms(record.tpot()), ms(record.e2e())), (200, 100, 1200));
        assert_eq!((record.prompt_tokens.count, record.cached_tokens), (100, Some(32)));
        assert_eq!(record.lag(), Some(Duration::ZERO));
    }

    #[test]
    fn tokens_are_spread_over_the_seconds_of_the_answer() {
        assert_eq!(answer(11, [500, 700, 1700]).events.by_second, [(0, 3), (1, 8)]);
        assert_eq!(answer(1, [0, 2500, 2500]).events.by_second, [(2, 1)]);
        let long = answer(1000, [0, 100, 10_090]);
        assert_eq!(long.events.count, 1000);
        assert_eq!(long.events.by_second.iter().map(|(_, events)| events).sum::<u32>(), 1000);
        assert_eq!(long.events.by_second.len(), 11);
    }
}
