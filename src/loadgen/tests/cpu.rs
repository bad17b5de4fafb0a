//! The CPU usage of a worker, on which the validity of a run depends.

use std::time::Instant;

use super::*;
use crate::client::Client;
use crate::loadgen::pacer::Pacer;
use crate::loadgen::priority::thread_cpu;
use crate::loadgen::shared::WorkerShared;
use crate::loadgen::worker;
use crate::loadgen::worker_loop::WorkerLoop;

/// The waits are shorter than the time for which the pacer spins, so a worker does little else here.
#[test]
fn time_that_a_worker_spins_is_no_usage() {
    let server = server();
    let target = server.target();
    let plan = plan(
        &target,
        None,
        LoadPhase { requests: (&[]).into(), schedule: Schedule::Closed, cycle: false, duration: None },
    );
    let stop = StopHandle::default();
    let shared = WorkerShared::new(&plan, &stop);
    let (reports, _unread) = mpsc::channel();
    let (share, most) = worker::runtime().unwrap().block_on(async {
        let client = Client::new(&target, plan.sampling, 1).unwrap();
        let traffic = WorkerLoop::new(0, &plan, &shared, client, reports);
        let mut pacer = Pacer::new(traffic.deadline()).unwrap();
        let cpu = thread_cpu();
        traffic.record_cpu();
        let start = Instant::now();
        while traffic.deadline().spun() < Duration::from_millis(20) {
            pacer.sleep_until(Instant::now() + Duration::from_micros(50)).await.unwrap();
        }
        let span = start.elapsed();
        traffic.record_cpu();
        // All of the thread's time but the spinning, over a span that is shorter than the one between the readings.
        let rest = (thread_cpu() - cpu).saturating_sub(traffic.deadline().spun());
        (traffic.peak_cpu_share(), rest.as_secs_f64() / span.as_secs_f64())
    });
    assert!(share <= most, "{share} of a core, and without the spinning {most}");
}
