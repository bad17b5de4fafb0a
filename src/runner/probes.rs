//! Probes: a second, small load beside the measured one.

use std::num::NonZeroUsize;
use std::sync::mpsc::Receiver;

use crate::client::protocol::Protocol;
use crate::loadgen::{self, LoadError, LoadPhase, LoadPlan, StopHandle};
use crate::model::arrival::Schedule;
use crate::model::probes::ProbeSummary;
use crate::model::request::Request;
use crate::model::run_spec::Target;
use crate::model::units::Rate;
use crate::tokenizer::Tokenizer;

/// The request that each probe sends: the smallest of the protocol.
pub(super) fn request(target: &Target) -> Request {
    let wire = Protocol::for_target(target);
    let small = Request::text("Hi", 1, 1);
    if wire.unsupported_feature(&small).is_none() { small } else { wire.probe_request() }
}

/// The load of the probes: one request after the other at this rate.
pub(super) fn phase(request: &Request, rate: Rate) -> LoadPhase<'_> {
    let requests = std::slice::from_ref(request).into();
    LoadPhase { requests, schedule: Schedule::Every(rate), cycle: true, duration: None }
}

/// Runs `work` while the probes of a plan are sent, and returns the results of both. The probes begin when the sender
/// of `begin` is dropped.
///
/// The probes have their own load generator: connections, thread and clock. Their tokens are not counted.
pub(super) fn run_alongside<T>(
    plan: LoadPlan<'_>,
    rate: Rate,
    begin: Receiver<()>,
    work: impl FnOnce() -> T,
) -> (T, Result<ProbeSummary, LoadError>) {
    let plan = LoadPlan {
        cap: None,
        preconnect: 1,
        workers: NonZeroUsize::MIN,
        // The measured load detects a wrong set-up.
        keep_going: true,
        salter: None,
        ..plan
    };
    let (plan, stop) = (&plan, &StopHandle::default());
    std::thread::scope(|scope| {
        let probing = scope.spawn(move || {
            // The sender never sends a value: it is dropped when the probes may begin.
            let _ = begin.recv();
            loadgen::run_load(plan, &Tokenizer::Estimate, stop, &mut |_| {})
        });
        let done = {
            let _stop_on_drop = StopOnDrop(stop);
            work()
        };
        let probed = probing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, probed.map(|outcome| ProbeSummary::from_records(rate, &outcome.records)))
    })
}

/// Stops the probes when the work ends, even if the work panics.
struct StopOnDrop<'a>(&'a StopHandle);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.request_stop();
    }
}
