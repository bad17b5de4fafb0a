//! Several clients together send what one client alone would send.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::client::Client;
use crate::client::protocol::Protocol;
use crate::dataset::{PreparedWorkload, bundled, prepare_keeping};
use crate::loadgen::phase_context::PhaseContext;
use crate::loadgen::shared::WorkerShared;
use crate::loadgen::worker;
use crate::loadgen::worker_loop::WorkerLoop;
use crate::model::arrival::{OffsetSink, schedule_into};
use crate::model::rng::RunRng;
use crate::model::run_spec::{
    Backend, Dataset, Load, Ramp, RampBy, RampStrategy, RateSchedule, RateStep, RngKind, Salt, SaltScope,
    UniquePrefix, WorkloadSpec,
};
use crate::model::units::Rate;
use crate::testing::datasets::{DatasetFolder, random};
use crate::testing::queue::open_load;

/// The numbers of clients to check.
const ALL_COUNTS: [usize; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/// Fewer numbers, for what takes longer.
const FEW_COUNTS: [usize; 4] = [1, 2, 5, 16];

/// What a request is: its id, when it is due, and its body. A later turn of a session has no due time before the turn
/// before it has ended.
type PlannedRequest = (String, Option<Duration>, Bytes);

/// A load as each client prepares it on its own.
struct Prepared {
    workload: PreparedWorkload,
    schedule: Schedule,
    cycle: bool,
}

impl Prepared {
    /// Prepares the load with at most `kept` requests in memory.
    fn new(kept: usize, wanted: &WorkloadSpec, rng: RngKind, load: &Load) -> Self {
        static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(bundled::tokenizer);
        let mut dice = RunRng::new(rng, 5);
        let workload = prepare_keeping(kept, wanted, &mut dice, &TOKENIZER, &|_| {}).unwrap();
        let starts = workload.requests.all().outlines().filter(|request| !request.is_later_turn).count();
        let schedule = match &workload.arrivals {
            Some(arrivals) if load.pace == RateSchedule::Trace => Schedule::Open(arrivals.clone()),
            _ => schedule_into(OffsetSink::new(kept), load, starts, &mut dice).unwrap(),
        };
        Self { workload, schedule, cycle: load.cycle }
    }

    /// A server with a protocol that takes all of the requests.
    fn target(&self) -> Target {
        let takes_all = |target: &Target| {
            let wire = Protocol::for_target(target);
            self.workload.requests.iter().all(|request| wire.unsupported_feature(&request).is_none())
        };
        let targets = Backend::ALL.iter().map(|backend| Target::at("http://127.0.0.1:8000", *backend));
        targets.into_iter().find(takes_all).expect("a protocol takes them")
    }

    /// The requests that one client sends, by ordinal. Of a load without end, it is the first `most` of each worker.
    fn share(&self, shard: Shard, workers: usize, most: usize) -> BTreeMap<usize, PlannedRequest> {
        let target = self.target();
        let salt = UniquePrefix { salt: Salt(7), scope: SaltScope::Session };
        let salter = PromptSalter::new(salt, HistoryMode::Real, &Tokenizer::Estimate).unwrap();
        let requests = self.workload.requests.all();
        let is_salted = requests.iter().all(|mut request| salter.count_into(request.to_mut()).is_ok());
        let measured =
            LoadPhase { requests, schedule: self.schedule.clone(), cycle: self.cycle, duration: None };
        let plan = LoadPlan {
            salter: is_salted.then_some(salter),
            workers: NonZeroUsize::new(workers).unwrap(),
            share: LoadShare { shard, nonce: Uuid::from_u128(3), start: None },
            ..plan(&target, None, measured)
        };
        let stop = StopHandle::default();
        let shared = WorkerShared::new(&plan, &stop);
        let mut sent = BTreeMap::new();
        for worker in 0..workers {
            let context = PhaseContext {
                phase: &plan.measured,
                due: RefCell::new(plan.measured.schedule.reader()),
                sessions: shared.sessions.measured.as_ref(),
                measured: true,
                workers,
                shard,
                clock: &RunClock::start,
            };
            let runtime = worker::runtime().unwrap();
            runtime.block_on(async {
                let client = Client::new(&target, plan.sampling, 1).unwrap();
                let traffic = WorkerLoop::new(worker, &plan, &shared, client, mpsc::channel().0);
                for number in context.numbers(worker).take(most) {
                    for (ordinal, planned) in planned(&traffic, &context, &shared, number) {
                        assert!(sent.insert(ordinal, planned).is_none(), "{ordinal} is sent twice");
                    }
                }
            });
        }
        sent
    }
}

/// What a worker sends under a number: a request, or the turns of a session.
fn planned(
    traffic: &WorkerLoop,
    context: &PhaseContext<'_>,
    shared: &WorkerShared<'_>,
    number: usize,
) -> Vec<(usize, PlannedRequest)> {
    let requests = context.phase.requests;
    let (turns, first) = match context.sessions {
        Some(sessions) => {
            let session = sessions.session(number);
            (session.turns, session.ordinal)
        }
        None => (number % requests.len()..number % requests.len() + 1, number),
    };
    let mut reader = requests.reader();
    let turn = |(ordinal, index)| {
        let request = reader.get(index);
        let body = traffic.client().body(&traffic.salted_request(&request, first, true));
        let due = if ordinal == first { context.due.borrow_mut().due(number) } else { None };
        let id = shared.request_id(ordinal, true).unwrap().to_string();
        (ordinal, (id, due, body))
    };
    (first..).zip(turns).map(turn).collect()
}

/// Checks that the shares of this number of clients are disjoint and together the load of one client, also if each client
/// prepares the load on its own and keeps another part of it in memory.
fn check(wanted: &WorkloadSpec, rng: RngKind, load: &Load, counts: &[usize]) {
    let whole = Prepared::new(usize::MAX, wanted, rng, load);
    let spooled = Prepared::new(0, wanted, rng, load);
    let laps = if load.cycle { 3 } else { 1 };
    let end = laps * whole.workload.requests.len();
    let mut expected = whole.share(Shard::WHOLE, 1, end);
    expected.retain(|ordinal, _| *ordinal < end);
    assert_eq!(expected.len(), end);
    for &count in counts {
        let mut together = BTreeMap::new();
        let count = NonZeroUsize::new(count).unwrap();
        for index in 0..count.get() {
            let prepared = if index % 2 == 0 { &whole } else { &spooled };
            let shard = Shard::new(index, count).unwrap();
            let mut share = prepared.share(shard, 1 + usize::from(index == 0), end);
            if !load.cycle {
                let shown =
                    LoadShare { shard, ..LoadShare::default() }.shown_count(prepared.workload.requests.all());
                assert_eq!(
                    shown,
                    if index == 0 { end } else { share.len() },
                    "{shard}: {:?}",
                    wanted.dataset
                );
            }
            share.retain(|ordinal, _| *ordinal < end);
            for (ordinal, request) in share {
                assert!(together.insert(ordinal, request).is_none(), "{ordinal} is sent by two of {count}");
            }
        }
        assert!(together == expected, "{count} clients: {:?}, {load:?}", wanted.dataset);
    }
}

#[test]
fn shards_together_send_the_single_run_under_every_arrival_process() {
    let steady = |rate: Rate, burstiness| Load { request_rate: rate, burstiness, ..open_load(1.0) };
    let rate = Rate::per_second(50.0).unwrap();
    let ramp = |by| {
        let ramp = Ramp { strategy: RampStrategy::Exponential, start: 5.0, end: 40.0, by };
        Load { pace: RateSchedule::Ramp(ramp), ..open_load(5.0) }
    };
    let stage = |rate| RateStep { rate, length: Duration::from_secs(1) };
    let stages = RateSchedule::Stages { stages: vec![stage(10.0), stage(40.0)] };
    let closed = Load { max_concurrency: NonZeroUsize::new(4), ..steady(Rate::INFINITE, 1.0) };
    let loads = [
        steady(Rate::INFINITE, 1.0),
        steady(rate, f64::INFINITY),
        steady(rate, 1.0),
        steady(rate, 0.3),
        Load { normalize_arrivals: true, ..steady(rate, 1.0) },
        ramp(RampBy::Time),
        ramp(RampBy::Index),
        Load { pace: stages, ..open_load(10.0) },
        closed.clone(),
        Load { cycle: true, ..closed },
    ];
    let wanted = WorkloadSpec::new(Dataset::Random(random(4, 2)), 33);
    for load in &loads {
        check(&wanted, RngKind::Native, load, &ALL_COUNTS);
        check(&wanted, RngKind::Python, load, &FEW_COUNTS);
    }
}

#[test]
fn shards_together_send_the_single_run_of_every_dataset_with_whole_sessions() {
    let folder = DatasetFolder::new();
    let poisson = open_load(20.0);
    let trace = Load { pace: RateSchedule::Trace, ..poisson.clone() };
    for dataset in folder.datasets() {
        let load = if matches!(dataset, Dataset::Trace(_)) { &trace } else { &poisson };
        check(&WorkloadSpec::new(dataset, 19), RngKind::Native, load, &FEW_COUNTS);
    }
}
