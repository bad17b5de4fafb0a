//! Probes: a second, small traffic beside the load.

use std::num::NonZeroUsize;
use std::sync::mpsc::Receiver;

use super::measure::Measurement;
use crate::core::arrival::Schedule;
use crate::core::probes::Probes;
use crate::core::units::Rate;
use crate::drive::client::stopwatch::KeepText;
use crate::drive::client::wire::Wire;
use crate::drive::engine::{self, DriveError, Phase, Plan, Stop};
use crate::drive::workload::Request;

/// Does the work while probes are sent, and tells what became of them. They begin when the other end of `begin` is dropped.
///
/// They have an engine of their own: connections, thread and clock.
pub fn beside<T>(
    measurement: &Measurement<'_>,
    rate: Rate,
    begin: Receiver<()>,
    work: impl FnOnce() -> T,
) -> (T, Result<Probes, DriveError>) {
    let wire = Wire::of(measurement.spec.target.backend);
    let small = Request::text("Hi", 1, 1);
    let request = if wire.cannot_say(&small).is_none() { small } else { wire.question() };
    let schedule = Schedule::Every(rate);
    let phase = Phase { requests: std::slice::from_ref(&request), schedule, cycle: true, duration: None };
    let plan = Plan {
        cap: None,
        preconnect: 1,
        workers: NonZeroUsize::MIN,
        // The load beside it finds out.
        keep_going: true,
        salter: None,
        ..measurement.plan(None, phase, KeepText::UntilUsage)
    };
    let tokenizer = measurement.stage.tokenizer();
    let (plan, stop) = (&plan, &Stop::default());
    std::thread::scope(|scope| {
        let probing = scope.spawn(move || {
            // Nothing is ever sent: the other end is dropped when it is time.
            let _ = begin.recv();
            engine::drive(plan, tokenizer, stop, &mut |_| {})
        });
        let done = {
            let _ending = Ending(stop);
            work()
        };
        let probed = probing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, probed.map(|outcome| Probes::of(rate, &outcome.records)))
    })
}

/// Ends the probes with the work, also if it panics.
struct Ending<'a>(&'a Stop);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.request();
    }
}
