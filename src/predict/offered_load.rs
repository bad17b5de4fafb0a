//! The load of a what-if: requests of known shape, and when they come.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataset::shapes::{RequestShape, TurnShape};
use crate::model::arrival::{self, Schedule};
use crate::model::rng::RunRng;
use crate::model::run_spec::Load;
use crate::model::spool::SpoolError;

/// Requests, and when they come. The turns of a session are consecutive, and a session comes as one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OfferedLoad {
    /// The requests in the order of the schedule.
    pub requests: Vec<RequestShape>,
    /// When sessions begin; a request without a session is a session of one turn.
    pub pace: Pace,
}

/// When sessions begin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pace {
    /// At these times since the start, ascending, one for each session.
    Open(Vec<Duration>),
    /// When one of this number of users is free.
    Closed(NonZeroUsize),
}

impl OfferedLoad {
    /// The number of sessions.
    pub(crate) fn session_count(&self) -> usize {
        self.requests.iter().filter(|request| begins_session(request)).count()
    }

    /// Sessions per second of an open loop, over the time from the first to one mean gap after the last; `None` in a
    /// closed loop, or if all sessions come at once.
    pub(crate) fn rate(&self) -> Option<f64> {
        let Pace::Open(due) = &self.pace else { return None };
        let period = period(due)?.as_secs_f64();
        Some(due.len() as f64 / period)
    }

    /// The same load `factor` times.
    ///
    /// In an open loop, it is the superposition of whole copies, each shifted around the period of the load by a random
    /// time, and of a random part of a last copy. That keeps the bursts of the arrivals. The same requests are in the
    /// part of a smaller factor and in that of a larger one. Copies share no blocks with the originals, because their
    /// users are others. In a closed loop, there are `factor` times as many users.
    pub(crate) fn times(&self, factor: f64, seed: u64) -> Self {
        let due = match &self.pace {
            Pace::Open(due) => due,
            Pace::Closed(users) => {
                let users = (users.get() as f64 * factor).round().max(1.0) as usize;
                let users = NonZeroUsize::new(users).unwrap_or(NonZeroUsize::MIN);
                return Self { pace: Pace::Closed(users), ..self.clone() };
            }
        };
        let period = period(due).unwrap_or_default();
        let begin = due.first().copied().unwrap_or_default();
        let sessions: Vec<&[RequestShape]> = self.sessions().collect();
        let mut copies: Vec<(Duration, u64, usize)> = Vec::new();
        for copy in 0..factor.ceil() as u64 {
            let share = (factor - copy as f64).min(1.0);
            let mut rng = StdRng::seed_from_u64(seed ^ COPY_STREAM.wrapping_mul(copy + 1));
            let shift = if copy == 0 { Duration::ZERO } else { period.mul_f64(rng.random()) };
            for (session, at) in due.iter().enumerate() {
                // Every session has its lot, so that a larger factor adds sessions and removes none.
                if rng.random::<f64>() < share {
                    copies.push((begin + shifted(at.saturating_sub(begin), shift, period), copy, session));
                }
            }
        }
        copies.sort_unstable();
        let mut requests = Vec::with_capacity((self.requests.len() as f64 * factor) as usize);
        for (number, (_, copy, session)) in copies.iter().enumerate() {
            requests.extend(sessions[*session].iter().map(|request| copied(request, *copy, number as u64)));
        }
        Self { requests, pace: Pace::Open(copies.into_iter().map(|(at, ..)| at).collect()) }
    }

    /// The same sessions in the same order, with arrivals drawn for this load as a run draws them. Sessions that would
    /// begin after the end of the load are left out.
    ///
    /// # Errors
    /// When the due times fit neither into memory nor into a temporary file.
    pub(crate) fn with_arrivals(&self, load: &Load, seed: u64) -> Result<Self, SpoolError> {
        if let (Some(users), false) = (load.closed_loop_size(), load.is_paced()) {
            return Ok(Self { requests: self.requests.clone(), pace: Pace::Closed(users) });
        }
        let count = self.session_count();
        let mut due = match arrival::schedule(load, count, &mut RunRng::native(seed))? {
            Schedule::Open(offsets) => offsets.iter().collect(),
            Schedule::Closed | Schedule::Every(_) => vec![Duration::ZERO; count],
        };
        due.retain(|at| load.duration.is_none_or(|end| *at < end));
        let requests = self.sessions().take(due.len()).flatten().cloned().collect();
        Ok(Self { requests, pace: Pace::Open(due) })
    }

    /// The load with every session due at once, repeated until there are `least` requests: it shows what the servers can
    /// sustain.
    pub(crate) fn saturating(&self, least: usize) -> Self {
        let sessions: Vec<&[RequestShape]> = self.sessions().collect();
        let (mut requests, mut count) = (Vec::with_capacity(least.max(self.requests.len())), 0);
        let mut copy = 0;
        while requests.len() < least.max(self.requests.len()) && !sessions.is_empty() {
            for session in &sessions {
                requests.extend(session.iter().map(|request| copied(request, copy, count)));
                count += 1;
            }
            copy += 1;
        }
        Self { requests, pace: Pace::Open(vec![Duration::ZERO; count as usize]) }
    }

    /// The requests of one session after the other.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &[RequestShape]> {
        self.requests.chunk_by(|_, next| !begins_session(next))
    }
}

/// Separates the random numbers of the copies.
const COPY_STREAM: u64 = 0xD1B5_4A32_D192_ED03;

fn begins_session(request: &RequestShape) -> bool {
    request.turn.is_none_or(|turn| turn.index == 0)
}

/// The time from the first arrival to one mean gap after the last; `None` if all come at once.
fn period(due: &[Duration]) -> Option<Duration> {
    let span = due.last()?.saturating_sub(*due.first()?);
    let gaps = due.len() - 1;
    (!span.is_zero()).then(|| span.mul_f64((gaps + 1) as f64 / gaps as f64))
}

/// A time moved around a period.
fn shifted(at: Duration, by: Duration, period: Duration) -> Duration {
    let at = at + by;
    if at >= period && !period.is_zero() { at - period } else { at }
}

/// A request of a copy of the load. `session` is the new number of its session.
fn copied(request: &RequestShape, copy: u64, session: u64) -> RequestShape {
    let contents: Arc<[u64]> = match copy {
        0 => Arc::clone(&request.contents),
        _ => request.contents.iter().map(|content| content ^ COPY_STREAM.wrapping_mul(copy)).collect(),
    };
    let turn = request.turn.map(|turn| TurnShape { session, ..turn });
    RequestShape { contents, turn, ..*request }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_spec::Load;

    fn request(prompt: u32, turn: Option<(u64, u32)>) -> RequestShape {
        let turn = turn.map(|(session, index)| TurnShape { session, index, think: Duration::ZERO });
        RequestShape { prompt, output: 10, contents: [u64::from(prompt)].into(), turn }
    }

    fn open(count: u32) -> OfferedLoad {
        let due = (0..count).map(|at| Duration::from_millis(u64::from(at) * 100)).collect();
        OfferedLoad { requests: (0..count).map(|at| request(at + 1, None)).collect(), pace: Pace::Open(due) }
    }

    fn due(load: &OfferedLoad) -> &[Duration] {
        match &load.pace {
            Pace::Open(due) => due,
            Pace::Closed(_) => panic!("an open loop"),
        }
    }

    #[test]
    fn twice_the_load_has_each_request_twice_within_the_same_period() {
        let load = open(100);
        let twice = load.times(2.0, 7);
        assert_eq!((twice.requests.len(), due(&twice).len()), (200, 200));
        assert!(due(&twice).is_sorted() && *due(&twice).last().unwrap() < Duration::from_secs(10));
        assert!((load.rate().unwrap() - 10.0).abs() < 1e-9);
        assert!((twice.rate().unwrap() / 20.0 - 1.0).abs() < 0.05, "{:?}", twice.rate());
        let ours = twice.requests.iter().filter(|request| request.prompt == 50).collect::<Vec<_>>();
        assert_eq!(ours.len(), 2);
        assert_ne!(ours[0].contents, ours[1].contents, "other users send other prompts");
        assert_eq!(load.times(1.0, 7), load);
    }

    #[test]
    fn a_larger_load_keeps_the_sessions_of_a_smaller_one() {
        let load = open(1000);
        let kept = |factor| -> Vec<u32> {
            load.times(factor, 3).requests.iter().map(|request| request.prompt).collect()
        };
        let (half, most) = (kept(0.5), kept(0.8));
        assert!((450..550).contains(&half.len()) && (750..850).contains(&most.len()));
        assert!(half.iter().all(|prompt| most.contains(prompt)));
    }

    #[test]
    fn turns_stay_together_and_closed_loops_get_users() {
        let requests = vec![request(5, Some((1, 0))), request(9, Some((1, 1))), request(7, None)];
        let load = OfferedLoad { requests, pace: Pace::Open(vec![Duration::ZERO, Duration::from_secs(1)]) };
        assert_eq!(load.session_count(), 2);
        let twice = load.times(2.0, 1);
        let places: Vec<_> = twice
            .requests
            .iter()
            .map(|request| (request.prompt, request.turn.map(|turn| turn.index)))
            .collect();
        let pairs = places.windows(2).filter(|pair| pair[0] == (5, Some(0)) && pair[1] == (9, Some(1)));
        assert_eq!(pairs.count(), 2, "{places:?}");
        let closed = OfferedLoad { pace: Pace::Closed(NonZeroUsize::new(8).unwrap()), ..load };
        assert_eq!(closed.times(1.5, 1).pace, Pace::Closed(NonZeroUsize::new(12).unwrap()));
        assert_eq!(closed.rate(), None);
    }

    #[test]
    fn drawn_arrivals_have_the_rate_and_a_saturating_load_has_enough_requests() {
        let drawn = open(200).with_arrivals(&Load::poisson(4.0), 9).unwrap();
        assert_eq!(due(&drawn).last().unwrap().as_secs_f64().round(), 50.0);
        let cut = Load::poisson(4.0).duration(Duration::from_secs(10));
        let cut = open(200).with_arrivals(&cut, 9).unwrap();
        assert!(cut.requests.len() < 80 && cut.requests.len() == due(&cut).len());
        let closed = open(200).with_arrivals(&Load::closed(16), 9).unwrap();
        assert_eq!(closed.pace, Pace::Closed(NonZeroUsize::new(16).unwrap()));
        let busy = open(200).saturating(500);
        assert_eq!((busy.requests.len(), busy.session_count()), (600, 600));
        assert!(due(&busy).iter().all(Duration::is_zero));
    }
}
