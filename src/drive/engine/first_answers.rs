//! Whether the first requests of a run all fail alike, as they do where the set-up is wrong: a port where nothing listens, a key
//! that is not accepted, a path or a model that the server does not have. The others would fail too, so the run ends.
//!
//! What an overloaded server answers (429, 503, time-outs, streams that break off) is a result and never ends a run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Stop;
use crate::core::record::{Failure, FailureClass, Finish};

/// So many failures alike, and nothing else, end a run at once.
const ENOUGH: usize = 10;

/// Fewer do when nothing else is in flight and the first of them is this old.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at the time.
const LOOK: Duration = Duration::from_millis(100);

/// Why no request of a run was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetup {
    /// How the first request failed.
    pub failure: Failure,
    /// How many failed like it: all that ended.
    pub count: usize,
}

/// What the first requests of a run ended with, over all workers. It ends the run when they all fail alike.
pub struct FirstAnswers {
    stop: Stop,
    /// Whether some request ended otherwise, so that there is nothing left to find out.
    is_settled: AtomicBool,
    /// Requests sent while it is not settled.
    sent: AtomicUsize,
    alike: Mutex<Option<Alike>>,
    /// Whether the run was ended for it.
    has_ended_run: AtomicBool,
}

struct Alike {
    setup: WrongSetup,
    since: Instant,
}

/// What a failure says of the set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It is wrong, if the others fail in the same class.
    Class,
    /// It is wrong, if the others fail in the same words.
    Words,
    /// Nothing: we or the user ended the request.
    None,
    /// It is right: the server was reached, and this is what it does.
    Result,
}

impl FirstAnswers {
    /// Of a run that ends by this when its first requests fail alike; with `keep_going` it does not.
    pub fn new(stop: &Stop, keep_going: bool) -> Arc<Self> {
        Arc::new(Self {
            stop: stop.clone(),
            is_settled: AtomicBool::new(keep_going),
            sent: AtomicUsize::new(0),
            alike: Mutex::new(None),
            has_ended_run: AtomicBool::new(false),
        })
    }

    /// A request is sent.
    pub fn count_sent(&self) {
        if !self.is_settled() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request has ended.
    pub fn note(&self, outcome: &Result<Finish, Failure>) {
        if self.is_settled() {
            return;
        }
        let sign = outcome.as_ref().map_or_else(Sign::of, |_| Sign::Result);
        match (outcome, sign) {
            (_, Sign::None) => {}
            (Err(failure), Sign::Class | Sign::Words) => self.note_failure(failure, sign),
            _ => self.is_settled.store(true, Ordering::Relaxed),
        }
    }

    fn note_failure(&self, failure: &Failure, sign: Sign) {
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let first = alike.get_or_insert_with(|| Alike {
            setup: WrongSetup { failure: failure.clone(), count: 0 },
            since: Instant::now(),
        });
        let seen = &first.setup.failure;
        if seen.class != failure.class || (sign == Sign::Words && seen.detail != failure.detail) {
            self.is_settled.store(true, Ordering::Relaxed);
            return;
        }
        first.setup.count += 1;
        if first.setup.count >= ENOUGH {
            self.end_run();
        }
    }

    /// Ends a run of which fewer requests than [`ENOUGH`] were sent and all have failed for a while. Returns when there is nothing
    /// more to find out.
    pub async fn watch(&self) {
        while !self.is_settled() {
            tokio::time::sleep(LOOK).await;
            let is_time =
                self.alike.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|alike| {
                    alike.since.elapsed() >= PATIENCE
                        && alike.setup.count >= self.sent.load(Ordering::Relaxed)
                });
            if is_time && !self.is_settled() {
                return self.end_run();
            }
        }
    }

    /// Why no request was answered, if all that ended failed alike; `None` where the user ended the run before that was clear.
    pub fn wrong_setup(&self) -> Option<WrongSetup> {
        let by_user = self.stop.is_requested() && !self.has_ended_run.load(Ordering::Relaxed);
        let alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let setup = alike.as_ref().map(|alike| alike.setup.clone());
        setup.filter(|_| !self.is_settled() && !by_user)
    }

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    fn end_run(&self) {
        if !self.stop.is_requested() {
            self.has_ended_run.store(true, Ordering::Relaxed);
            self.stop.request_at_once();
        }
    }
}

impl Sign {
    fn of(failure: &Failure) -> Self {
        match failure.class {
            FailureClass::Refused | FailureClass::Connect | FailureClass::Tls => Self::Class,
            // Too long, too large, or a field that is not taken: the other requests may be different.
            FailureClass::Status(400 | 413 | 422) => Self::Words,
            // The server asks for patience.
            FailureClass::Status(408 | 409 | 425 | 429) => Self::Result,
            FailureClass::Status(300..=499 | 501 | 505) => Self::Class,
            // Bytes that are no HTTP/1.1, as from a port that speaks TLS or HTTP/2 alone.
            FailureClass::BrokenStream if failure.detail.starts_with("not an HTTP/1.1 response") => {
                Self::Words
            }
            FailureClass::Cancelled | FailureClass::Abandoned => Self::None,
            FailureClass::Status(_)
            | FailureClass::BrokenStream
            | FailureClass::Descriptors
            | FailureClass::Ports
            | FailureClass::Timeout(_)
            | FailureClass::ErrorEvent
            | FailureClass::EmptyStream => Self::Result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, detail: &str) -> Result<Finish, Failure> {
        Err(Failure::new(class, detail))
    }

    fn first_answers(outcomes: &[Result<Finish, Failure>]) -> (Stop, Arc<FirstAnswers>) {
        let stop = Stop::default();
        let first = FirstAnswers::new(&stop, false);
        outcomes.iter().for_each(|outcome| {
            first.count_sent();
            first.note(outcome);
        });
        (stop, first)
    }

    #[test]
    fn ten_failures_alike_end_the_run_and_name_the_first() {
        for class in
            [FailureClass::Refused, FailureClass::Tls, FailureClass::Status(401), FailureClass::Status(404)]
        {
            let outcomes: Vec<_> = (0..10).map(|at| failure(class, &at.to_string())).collect();
            let (stop, first) = first_answers(&outcomes[..9]);
            assert!(!stop.is_requested(), "{class}");
            first.note(&outcomes[9]);
            assert!(stop.is_requested(), "{class}");
            let expected = WrongSetup { failure: Failure::new(class, "0"), count: 10 };
            assert_eq!(first.wrong_setup(), Some(expected));
        }
    }

    #[test]
    fn an_overload_is_a_result() {
        let classes = [429, 500, 502, 503, 504].map(FailureClass::Status);
        for class in classes.into_iter().chain([FailureClass::EmptyStream, FailureClass::ErrorEvent]) {
            let (stop, first) = first_answers(&vec![failure(class, "busy"); 50]);
            assert!(!stop.is_requested() && first.wrong_setup().is_none(), "{class}");
        }
    }

    #[test]
    fn one_answer_or_one_other_failure_settles_it() {
        let refused = || failure(FailureClass::Refused, "no");
        for other in
            [Ok(Finish::Stop), failure(FailureClass::Status(503), ""), failure(FailureClass::Tls, "")]
        {
            let mut outcomes = vec![refused(), refused(), other];
            outcomes.resize_with(40, refused);
            let (stop, first) = first_answers(&outcomes);
            assert!(!stop.is_requested() && first.wrong_setup().is_none(), "{outcomes:?}");
        }
    }

    #[test]
    fn bad_requests_must_be_bad_in_the_same_words() {
        let bad = |words: &str| failure(FailureClass::Status(400), words);
        assert!(first_answers(&vec![bad("no such field"); 10]).0.is_requested());
        let lengths: Vec<_> = (0..20).map(|at| bad(&format!("{at} tokens are too many"))).collect();
        let (stop, first) = first_answers(&lengths);
        assert!(!stop.is_requested() && first.wrong_setup().is_none());
    }

    #[test]
    fn a_run_of_few_requests_that_all_failed_alike_has_no_answer_either() {
        let (stop, first) = first_answers(&vec![failure(FailureClass::Refused, "no"); 3]);
        assert!(!stop.is_requested());
        assert_eq!(first.wrong_setup().map(|setup| setup.count), Some(3));
        stop.request();
        assert_eq!(first.wrong_setup(), None, "the user ended it");
    }

    #[test]
    fn who_keeps_going_is_not_stopped() {
        let stop = Stop::default();
        let first = FirstAnswers::new(&stop, true);
        (0..50).for_each(|_| first.note(&failure(FailureClass::Refused, "no")));
        assert!(!stop.is_requested() && first.wrong_setup().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_load_that_fails_is_ended_when_nothing_is_in_flight() {
        let (stop, first) = first_answers(&[failure(FailureClass::Refused, "no")]);
        first.alike.lock().unwrap().as_mut().unwrap().since -= PATIENCE;
        first.count_sent();
        assert!(tokio::time::timeout(PATIENCE, first.watch()).await.is_err(), "one is in flight");
        first.note(&failure(FailureClass::Refused, "no"));
        first.watch().await;
        assert!(stop.is_requested());
        assert_eq!(first.wrong_setup().map(|setup| setup.count), Some(2));
    }
}
