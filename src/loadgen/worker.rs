//! A worker: one thread with its own runtime, client and histograms.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tracing::{debug, debug_span};

use super::shared::{WorkerShared, panic_message};
use super::{LoadError, LoadPlan, WarmupCount};
use crate::client::Client;
use crate::client::clock::RunClock;
use crate::client::request_timer::StreamStats;
use crate::loadgen::priority;
use crate::loadgen::worker_loop::{WorkerLoop, WorkerReport};
use crate::model::validity::TimestampSource;

/// The result of one worker.
pub(super) struct WorkerResult {
    /// The combined stream statistics of its measured requests.
    pub stream_stats: StreamStats,
    /// The source of the arrival times of bytes.
    pub timestamp_source: TimestampSource,
    /// The largest step of the wall clock.
    pub clock_step: Duration,
    /// The counts of its unmeasured requests.
    pub warmup: WarmupCount,
    /// The share of a core that the worker used in its busiest seconds.
    pub cpu: f64,
}

/// The workers of a run. They wait for [`WorkerPool::start`].
pub(super) struct WorkerPool<'scope> {
    workers: Vec<WorkerThread<'scope>>,
}

struct WorkerThread<'scope> {
    start_signal: Sender<RunClock>,
    thread: ScopedJoinHandle<'scope, Option<WorkerResult>>,
}

impl<'scope> WorkerPool<'scope> {
    /// Starts the threads. Each creates its client and waits. If one fails to, none sends anything.
    pub(super) fn spawn<'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: &'env LoadPlan<'env>,
        shared: &'env WorkerShared<'env>,
        reports: &Sender<WorkerReport>,
    ) -> Result<Self, LoadError> {
        let (tell, told) = channel();
        let spawn = |index| {
            let (go, begin) = channel();
            let orders = WorkerConfig { index, ready: tell.clone(), begin, reports: reports.clone() };
            let work = move || run(orders, plan, shared);
            let thread = std::thread::Builder::new().name(format!("traffic-{index}"));
            io::Result::Ok(WorkerThread { start_signal: go, thread: thread.spawn_scoped(scope, work)? })
        };
        let workers = (0..plan.workers.get()).map(spawn).collect::<io::Result<Vec<_>>>()?;
        drop(tell);
        told.into_iter().collect::<Result<(), LoadError>>()?;
        Ok(Self { workers })
    }

    /// Starts sending on all workers, with `begun` as the clock.
    pub(super) fn start(&self, begun: RunClock) {
        for worker in &self.workers {
            worker.start_signal.send(begun).expect("a worker that is ready waits for the word");
        }
    }

    /// Waits for all workers. A worker that panicked has no result; only its failure is recorded.
    pub(super) fn join(self, shared: &WorkerShared<'_>) -> Vec<WorkerResult> {
        let join = |worker: WorkerThread<'_>| {
            worker.thread.join().unwrap_or_else(|panic| {
                shared.fail(format_args!("a worker panicked: {}", panic_message(&*panic)));
                None
            })
        };
        self.workers.into_iter().filter_map(join).collect()
    }
}

/// What a worker needs at its start.
struct WorkerConfig {
    index: usize,
    /// Reports whether the worker can send.
    ready: Sender<Result<(), LoadError>>,
    /// Receives the clock when sending begins. It receives nothing if another worker cannot send.
    begin: Receiver<RunClock>,
    reports: Sender<WorkerReport>,
}

fn run(orders: WorkerConfig, plan: &LoadPlan<'_>, shared: &WorkerShared<'_>) -> Option<WorkerResult> {
    let WorkerConfig { index, ready, begin, reports } = orders;
    let _span = debug_span!("worker", index).entered();
    let priority = priority::raise_this_thread();
    let (stage, can) = match prepare_worker(plan) {
        Ok(stage) => (Some(stage), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // No one receives this if another worker has already failed, and then the clock does not arrive either.
    let _ = ready.send(can);
    drop(ready);
    let (Some((runtime, client)), Ok(begun)) = (stage, begin.recv()) else { return None };
    debug!(stamps = ?client.timestamp_source(), "the worker begins to send");
    let traffic = WorkerLoop::new(index, plan, shared, client, reports);
    let warmup = runtime.block_on(async {
        tokio::select! {
            sent = traffic.run(plan, shared, begun) => sent,
            never = priority::yield_cpu_share(priority) => match never {},
        }
    });
    let (stamps, clock_step) = (traffic.client().timestamp_source(), traffic.client().clock_step());
    Some(WorkerResult {
        stream_stats: traffic.stream_stats(),
        timestamp_source: stamps,
        clock_step,
        warmup,
        cpu: traffic.peak_cpu_share(),
    })
}

/// The number of ready sockets that a worker reads before it checks the due time again.
///
/// tokio would take up to 1,024 ready sockets from the system at once, and a request that becomes due then waits behind
/// all of them. At 64,000 events a second on one core, requests left 10 to 40 ms late (p99). With this limit, the
/// remaining ready sockets stay with the system. All tasks that this batch of sockets wakes are polled before the next
/// batch, together with any other ready tasks. If tokio polled only as many tasks as it takes sockets, the other ready
/// tasks would queue up, and a due request would wait behind them.
const SOCKETS_PER_CHECK: u32 = 16;

/// Creates the runtime of one worker.
pub(super) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(4 * SOCKETS_PER_CHECK)
        .global_queue_interval(SOCKETS_PER_CHECK)
        .max_io_events_per_tick(SOCKETS_PER_CHECK as usize)
        .build_local(LocalOptions::default())
}

fn prepare_worker(plan: &LoadPlan<'_>) -> Result<(LocalRuntime, Client), LoadError> {
    let runtime = runtime()?;
    let client = {
        let _inside = runtime.enter();
        Client::new(plan.target, plan.sampling, plan.idle_connections())?
    };
    let share = plan.preconnect.div_ceil(plan.workers.get());
    runtime.block_on(client.preconnect(share)).map_err(LoadError::Preconnect)?;
    Ok((runtime, client))
}
