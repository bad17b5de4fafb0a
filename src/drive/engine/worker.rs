//! A worker: one thread with its own runtime, client and histograms.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use super::shared::{Shared, message};
use super::traffic::{Report, Traffic};
use super::{DriveError, Effort, Plan, WarmupCount};
use crate::core::validity::Stamps;
use crate::drive::client::Client;
use crate::drive::client::stopwatch::Meters;
use crate::drive::clock::Clock;
use crate::drive::priority::{self, thread_cpu};

/// What a worker leaves behind.
pub struct End {
    /// What its measured requests were measured into together.
    pub meters: Meters,
    /// Who said when bytes arrived.
    pub stamps: Stamps,
    /// The largest step of the wall clock.
    pub clock_step: Duration,
    /// Its unmeasured requests.
    pub warmup: WarmupCount,
    /// What it cost.
    pub effort: Effort,
}

/// The workers of a run, ready and waiting for the word.
pub struct Crew<'scope> {
    workers: Vec<Worker<'scope>>,
}

struct Worker<'scope> {
    go: Sender<Clock>,
    thread: ScopedJoinHandle<'scope, Option<End>>,
}

impl<'scope> Crew<'scope> {
    /// Starts the threads; each makes its client and waits. If one cannot, none sends anything.
    pub fn muster<'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: &'env Plan<'env>,
        shared: &'env Shared<'env>,
        reports: &Sender<Report>,
    ) -> Result<Self, DriveError> {
        let (tell, told) = channel();
        let hire = |index| {
            let (go, begin) = channel();
            let orders = Orders { index, ready: tell.clone(), begin, reports: reports.clone() };
            let work = move || run(orders, plan, shared);
            let thread = std::thread::Builder::new().name(format!("traffic-{index}"));
            io::Result::Ok(Worker { go, thread: thread.spawn_scoped(scope, work)? })
        };
        let workers = (0..plan.workers.get()).map(hire).collect::<io::Result<Vec<_>>>()?;
        drop(tell);
        told.into_iter().collect::<Result<(), DriveError>>()?;
        Ok(Self { workers })
    }

    /// Gives the word: the traffic begins with this clock's t0.
    pub fn go(&self, begun: Clock) {
        for worker in &self.workers {
            worker.go.send(begun).expect("a worker that is ready waits for the word");
        }
    }

    /// Waits for all of them. One that panicked leaves nothing behind but the failure.
    pub fn join(self, shared: &Shared<'_>) -> Vec<End> {
        let join = |worker: Worker<'_>| {
            worker.thread.join().unwrap_or_else(|panic| {
                shared.fail(format_args!("a worker panicked: {}", message(&*panic)));
                None
            })
        };
        self.workers.into_iter().filter_map(join).collect()
    }
}

/// What a worker is told at its start.
struct Orders {
    index: usize,
    /// Says whether the worker can send.
    ready: Sender<Result<(), DriveError>>,
    /// The word to begin; none comes if another worker cannot send.
    begin: Receiver<Clock>,
    reports: Sender<Report>,
}

fn run(orders: Orders, plan: &Plan<'_>, shared: &Shared<'_>) -> Option<End> {
    let Orders { index, ready, begin, reports } = orders;
    let priority = priority::raise_this_thread();
    let (stage, can) = match set_stage(plan) {
        Ok(stage) => (Some(stage), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody hears it if another worker has failed already; the word does not come then.
    let _ = ready.send(can);
    drop(ready);
    let (Some((runtime, client)), Ok(begun)) = (stage, begin.recv()) else { return None };
    let (cpu, wall) = (thread_cpu(), Instant::now());
    let traffic = Traffic::new(index, plan, shared, client, reports);
    let warmup = runtime.block_on(async {
        tokio::select! {
            sent = traffic.run(plan, shared, begun) => sent,
            never = priority::leave_room(priority) => match never {},
        }
    });
    let effort = Effort { cpu: thread_cpu().saturating_sub(cpu), wall: wall.elapsed() };
    let (stamps, clock_step) = (traffic.client().stamps(), traffic.client().clock_step());
    Some(End { meters: traffic.meters(), stamps, clock_step, warmup, effort })
}

/// How many sockets are read before the next look at who is due.
///
/// tokio would take up to 1,024 ready sockets from the system at once, and whoever is due then comes behind all of them: at
/// 64,000 events a second on one core, requests left 10 to 40 ms late (p99). So what piles up stays with the system, and is
/// taken by the few.
const BATCH: u32 = 16;

/// What a worker's requests run on.
pub fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(BATCH)
        .global_queue_interval(BATCH)
        .max_io_events_per_tick(BATCH as usize)
        .build_local(LocalOptions::default())
}

fn set_stage(plan: &Plan<'_>) -> Result<(LocalRuntime, Client), DriveError> {
    let runtime = runtime()?;
    let client = {
        let _inside = runtime.enter();
        Client::new(plan.target, plan.sampling, plan.idle_connections())?
    };
    let share = plan.preconnect.div_ceil(plan.workers.get());
    runtime.block_on(client.preconnect(share)).map_err(DriveError::Preconnect)?;
    Ok((runtime, client))
}
