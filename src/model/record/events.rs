//! The output events of a request: their number, and the seconds in which they occurred.

use std::time::Duration;

use serde::Deserialize;

use super::gaps::OutputGaps;
use crate::model::record::timestamps::Timestamps;

/// The output events of a request, in a form whose size does not grow with the number of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Events {
    /// The number of events that carried output.
    pub count: u32,
    /// The number of events in each whole second since t0 that has any: `(second, events)`, ascending.
    pub by_second: Vec<(u32, u32)>,
    /// Every gap between output events (ITL), in order; present only if the run keeps details. A saved run stores the
    /// gaps in vLLM's `itls`.
    #[serde(skip)]
    pub gaps: Option<OutputGaps>,
}

impl Events {
    /// Counts an output event at an offset from t0. Offsets must not decrease.
    pub fn note(&mut self, at: Duration) {
        self.add(whole_second(at), 1);
    }

    /// Counts output events in a second since t0 that is not before the last counted one.
    pub fn add(&mut self, second: u32, events: u32) {
        if events == 0 {
            return;
        }
        self.count += events;
        match self.by_second.last_mut() {
            Some((last, counted)) if *last == second => *counted += events,
            _ => self.by_second.push((second, events)),
        }
    }

    /// The same events shifted by a duration, for a request with these times. Where the gaps are known, each event
    /// moves to its exact second; otherwise the events of a second are spread evenly over its streamed part.
    #[must_use]
    pub fn later(&self, times: &Timestamps, by: Duration) -> Self {
        let mut moved = Self { gaps: self.gaps.clone(), ..Self::default() };
        let (first, last) = (times.first_token(), times.last_token());
        if let (Some(gaps), Some(first)) = (&self.gaps, first)
            && gaps.len() + 1 == self.count as usize
        {
            let mut at = first + by;
            moved.note(at);
            for gap in gaps {
                at += gap;
                moved.note(at);
            }
            return moved;
        }
        for &(second, events) in &self.by_second {
            let begin = Duration::from_secs(second.into());
            let end = begin + Duration::from_secs(1);
            let begin = first.map_or(begin, |first| begin.max(first)) + by;
            let end = last.map_or(end, |last| end.min(last)) + by;
            let next = Duration::from_secs(begin.as_secs() + 1);
            let after = match (end.checked_sub(next), end.checked_sub(begin)) {
                (Some(after), Some(all)) if !all.is_zero() => after.div_duration_f64(all),
                _ => 0.0,
            };
            let after = (f64::from(events) * after).round() as u32;
            moved.add(whole_second(begin), events - after);
            moved.add(whole_second(next), after);
        }
        moved
    }
}

/// The whole second that contains an offset from t0.
pub(crate) fn whole_second(at: Duration) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::timestamps::Milestone;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn times(first: u64, last: u64) -> Timestamps {
        Timestamps::new(ms(0))
            .with_time(Milestone::FirstToken, ms(first))
            .with_time(Milestone::LastToken, ms(last))
    }

    fn noted(at: impl IntoIterator<Item = u64>) -> Events {
        let mut events = Events::default();
        at.into_iter().for_each(|at| events.note(ms(at)));
        events
    }

    #[test]
    fn events_whose_gaps_are_known_move_to_the_second_in_which_they_happened() {
        let mut events = noted([800, 900, 1700]);
        events.gaps = Some([ms(100), ms(800)].into_iter().collect());
        let moved = events.later(&times(800, 1700), ms(1_250));
        assert_eq!(moved.by_second, [(2, 3)]);
        assert_eq!((moved.count, &moved.gaps), (3, &events.gaps));
    }

    #[test]
    fn events_without_gaps_are_spread_over_the_part_of_the_second_that_was_streamed_in() {
        let events = noted((0..1000).map(|i| 2_000 + i));
        assert_eq!(events.later(&times(2_000, 3_000), ms(500)).by_second, [(2, 500), (3, 500)]);
        assert_eq!(events.later(&times(2_000, 3_000), ms(3_000)).by_second, [(5, 1000)]);
        // All came before 2.5 s: half a second later they are still in that second.
        let early = noted((0..100).map(|i| 2_000 + 4 * i));
        assert_eq!(early.later(&times(2_000, 2_396), ms(500)).by_second, [(2, 100)]);
        let one = noted([2_900]);
        assert_eq!(one.later(&times(2_900, 2_900), ms(200)).by_second, [(3, 1)]);
    }

    #[test]
    fn no_event_is_lost_on_the_way() {
        let events = noted((0..977).map(|i| 300 + 13 * i));
        for by in [1, 333, 500, 999, 1_000, 12_345] {
            let moved = events.later(&times(300, 300 + 13 * 976), ms(by));
            assert_eq!(moved.by_second.iter().map(|(_, events)| events).sum::<u32>(), 977, "{by}");
            let truth = noted((0..977).map(|i| 300 + 13 * i + by));
            for (second, events) in moved.by_second {
                let real = truth.by_second.iter().find(|(at, _)| *at == second).map_or(0, |(_, n)| *n);
                assert!(real.abs_diff(events) <= 1, "{by} ms, second {second}: {events}, not {real}");
            }
        }
    }
}
