//! Detects whether the first requests of a run all fail alike, as they do if the set-up is wrong: a port where nothing
//! listens, a rejected API key, or a path or model that the server does not have. The remaining requests would fail
//! too, so the run ends.
//!
//! Answers of an overloaded server (429, 503, timeouts, aborted streams) are a result and never end a run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StopHandle;
use crate::model::record::{Failure, FailureClass, FinishReason, Record};

/// The number of identical failures, without any other outcome, that end a run immediately.
const MIN_IDENTICAL_FAILURES: usize = 10;

/// Fewer identical failures end a run if no other request is in flight and the first failure is this old.
const FEW_FAILURES_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Why the server answered no request of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupFailure {
    /// How the first request failed.
    pub failure: Failure,
    /// The number of requests that failed like it. These are all that ended.
    pub count: usize,
}

/// The outcomes of the first requests of a run, over all workers. They end the run if all fail alike.
pub(crate) struct FirstResponses {
    stop: StopHandle,
    /// Whether some request had another outcome, so that no check is needed any more.
    is_settled: AtomicBool,
    /// The number of requests sent before the check was settled.
    sent: AtomicUsize,
    alike: Mutex<Option<IdenticalFailures>>,
    /// Whether this check ended the run.
    has_ended_run: AtomicBool,
}

struct IdenticalFailures {
    setup: SetupFailure,
    since: Instant,
}

/// What a failure shows about the set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureSign {
    /// The set-up is wrong if the other failures have the same class.
    Class,
    /// The set-up is wrong if the other failures have the same message.
    Words,
    /// Nothing: the client or the user ended the request.
    None,
    /// The set-up is right: the request reached the server, and this is the server's behavior.
    Result,
}

impl FirstResponses {
    /// Creates the check for a run that `stop` ends when its first requests fail alike. With `keep_going`, the check
    /// never ends the run.
    pub(crate) fn new(stop: &StopHandle, keep_going: bool) -> Arc<Self> {
        Arc::new(Self {
            stop: stop.clone(),
            is_settled: AtomicBool::new(keep_going),
            sent: AtomicUsize::new(0),
            alike: Mutex::new(None),
            has_ended_run: AtomicBool::new(false),
        })
    }

    /// Records the outcome of a request of any client.
    pub(crate) fn record_ended(&self, record: &Record) {
        if !self.is_settled() {
            self.record_outcome(&record.outcome.clone().map_err(|failure| *failure));
        }
    }

    /// Ends the run if all requests sent so far have failed alike, even if they are few, once they have had some time.
    pub(crate) fn check_patience(&self, sent: usize) {
        if self.is_settled() {
            return;
        }
        let alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = alike
            .as_ref()
            .is_some_and(|alike| alike.since.elapsed() >= FEW_FAILURES_TIMEOUT && alike.setup.count >= sent);
        drop(alike);
        if is_time {
            self.end_run();
        }
    }

    /// Counts a request that is sent.
    pub(super) fn count_sent(&self) {
        if !self.is_settled() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records the outcome of a request.
    pub(super) fn record_outcome(&self, outcome: &Result<FinishReason, Failure>) {
        if self.is_settled() {
            return;
        }
        let sign = outcome.as_ref().map_or_else(FailureSign::from_failure, |_| FailureSign::Result);
        match (outcome, sign) {
            (_, FailureSign::None) => {}
            (Err(failure), FailureSign::Class | FailureSign::Words) => self.record_failure(failure, sign),
            _ => self.is_settled.store(true, Ordering::Relaxed),
        }
    }

    fn record_failure(&self, failure: &Failure, sign: FailureSign) {
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        let first = alike.get_or_insert_with(|| IdenticalFailures {
            setup: SetupFailure { failure: failure.clone(), count: 0 },
            since: Instant::now(),
        });
        let seen = &first.setup.failure;
        if seen.class != failure.class || (sign == FailureSign::Words && seen.detail != failure.detail) {
            self.is_settled.store(true, Ordering::Relaxed);
            return;
        }
        first.setup.count += 1;
        if first.setup.count >= MIN_IDENTICAL_FAILURES {
            self.end_run();
        }
    }

    /// Ends a run that sent fewer requests than [`MIN_IDENTICAL_FAILURES`] if all of them failed some time ago. Returns
    /// when the check is settled.
    pub(super) async fn watch_patience(&self) {
        while !self.is_settled() {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.check_patience(self.sent.load(Ordering::Relaxed));
            if self.has_ended_run.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Why the server answered no request, if all that ended failed alike; `None` if the user ended the run before that
    /// was clear.
    pub(crate) fn setup_failure(&self) -> Option<SetupFailure> {
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
            self.stop.abort();
        }
    }
}

/// Whether a failure shows that the set-up is wrong, if all requests fail like it.
pub(crate) fn is_sign_of_setup(failure: &Failure) -> bool {
    matches!(FailureSign::from_failure(failure), FailureSign::Class | FailureSign::Words)
}

impl FailureSign {
    fn from_failure(failure: &Failure) -> Self {
        match failure.class {
            FailureClass::Refused | FailureClass::Connect | FailureClass::Tls => Self::Class,
            // The prompt is too long, the body is too large, or a field is not accepted. Other requests may differ.
            FailureClass::Status(400 | 413 | 422) => Self::Words,
            // The server asks the client to wait.
            FailureClass::Status(408 | 409 | 425 | 429) => Self::Result,
            FailureClass::Status(300..=499 | 501 | 505) => Self::Class,
            // The bytes are not HTTP/1.1, as from a port that speaks only TLS or HTTP/2.
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
            | FailureClass::Aborted
            | FailureClass::ServerTimeout
            | FailureClass::ServerOverloaded
            | FailureClass::UnknownFinishReason
            | FailureClass::OverLimit
            | FailureClass::EmptyStream => Self::Result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, detail: &str) -> Result<FinishReason, Failure> {
        Err(Failure::new(class, detail))
    }

    fn first_answers(outcomes: &[Result<FinishReason, Failure>]) -> (StopHandle, Arc<FirstResponses>) {
        let stop = StopHandle::default();
        let first = FirstResponses::new(&stop, false);
        outcomes.iter().for_each(|outcome| {
            first.count_sent();
            first.record_outcome(outcome);
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
            first.record_outcome(&outcomes[9]);
            assert!(stop.is_requested(), "{class}");
            let expected = SetupFailure { failure: Failure::new(class, "0"), count: 10 };
            assert_eq!(first.setup_failure(), Some(expected));
        }
    }

    #[test]
    fn an_overload_is_a_result() {
        let classes = [429, 500, 502, 503, 504].map(FailureClass::Status);
        for class in classes.into_iter().chain([FailureClass::EmptyStream, FailureClass::ErrorEvent]) {
            let (stop, first) = first_answers(&vec![failure(class, "busy"); 50]);
            assert!(!stop.is_requested() && first.setup_failure().is_none(), "{class}");
        }
    }

    #[test]
    fn one_answer_or_one_other_failure_settles_it() {
        let refused = || failure(FailureClass::Refused, "no");
        for other in
            [Ok(FinishReason::Stop), failure(FailureClass::Status(503), ""), failure(FailureClass::Tls, "")]
        {
            let mut outcomes = vec![refused(), refused(), other];
            outcomes.resize_with(40, refused);
            let (stop, first) = first_answers(&outcomes);
            assert!(!stop.is_requested() && first.setup_failure().is_none(), "{outcomes:?}");
        }
    }

    #[test]
    fn bad_requests_must_be_bad_in_the_same_words() {
        let bad = |words: &str| failure(FailureClass::Status(400), words);
        assert!(first_answers(&vec![bad("no such field"); 10]).0.is_requested());
        let lengths: Vec<_> = (0..20).map(|at| bad(&format!("{at} tokens are too many"))).collect();
        let (stop, first) = first_answers(&lengths);
        assert!(!stop.is_requested() && first.setup_failure().is_none());
    }

    #[test]
    fn a_run_of_few_requests_that_all_failed_alike_has_no_answer_either() {
        let (stop, first) = first_answers(&vec![failure(FailureClass::Refused, "no"); 3]);
        assert!(!stop.is_requested());
        assert_eq!(first.setup_failure().map(|setup| setup.count), Some(3));
        stop.request_stop();
        assert_eq!(first.setup_failure(), None, "the user ended it");
    }

    #[test]
    fn who_keeps_going_is_not_stopped() {
        let stop = StopHandle::default();
        let first = FirstResponses::new(&stop, true);
        (0..50).for_each(|_| first.record_outcome(&failure(FailureClass::Refused, "no")));
        assert!(!stop.is_requested() && first.setup_failure().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_load_that_fails_is_ended_when_nothing_is_in_flight() {
        let (stop, first) = first_answers(&[failure(FailureClass::Refused, "no")]);
        first.alike.lock().unwrap().as_mut().unwrap().since -= FEW_FAILURES_TIMEOUT;
        first.count_sent();
        assert!(
            tokio::time::timeout(FEW_FAILURES_TIMEOUT, first.watch_patience()).await.is_err(),
            "one is in flight"
        );
        first.record_outcome(&failure(FailureClass::Refused, "no"));
        first.watch_patience().await;
        assert!(stop.is_requested());
        assert_eq!(first.setup_failure().map(|setup| setup.count), Some(2));
    }
}
