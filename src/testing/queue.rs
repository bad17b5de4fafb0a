//! A queue model for tests of the statistics: requests pass a queue with several servers.
//!
//! Waiting times in a queue depend on each other as the latencies of a real server do. Long simulations give their true
//! values to any precision.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp, Uniform};

use crate::model::record::{Events, Milestone, Record, Timestamps, TokenCount, TokenSource};
use crate::model::run_spec::{
    Dataset, Load, RateSchedule, RngKind, Sampling, SessionSpec, Slo, Spec, SteadyStateConfig, Target,
    WorkloadSpec,
};
use crate::model::units::Rate;
use crate::testing::scripted_server;

/// A queue with `servers` servers (M/M/c: exponential gaps and service times), first come, first served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    pub servers: usize,
    /// The mean time from the first to the last token.
    pub service: Duration,
    /// The mean time from leaving the queue to the first token. The times are uniform within 50 % of it.
    pub prefill: Duration,
    pub seed: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { servers: 10, service: Duration::from_millis(450), prefill: Duration::from_millis(50), seed: 0 }
    }
}

/// The load that [`Queue::open`] simulates.
pub(crate) fn open_load(rate: f64) -> Load {
    Load {
        request_rate: Rate::per_second(rate).unwrap(),
        pace: RateSchedule::Steady,
        burstiness: 1.0,
        normalize_arrivals: false,
        max_concurrency: None,
        max_active_sessions: None,
        duration: None,
        cycle: false,
        probes: None,
        num_warmups: 0,
        warmup: None,
        preconnect: 0,
        workers: std::num::NonZeroUsize::MIN,
    }
}

/// Creates a Spec with this load.
pub(crate) fn spec(load: Load) -> Spec {
    Spec {
        target: Target {
            base_url: "http://localhost:8000".into(),
            model: "m".into(),
            served_model_name: None,
            headers: Vec::new(),
            ..scripted_server::target("http", 8000)
        },
        workload: WorkloadSpec::new(Dataset::Sharegpt { path: None, output_len: None }, 1000),
        sampling: Sampling::default(),
        load,
        sessions: SessionSpec::default(),
        cancel: None,
        slo: Slo::default(),
        steadiness: Some(SteadyStateConfig::default()),
        max_failure_rate: 0.01,
        seed: 0,
        rng: RngKind::default(),
    }
}

/// The load that [`Queue::closed`] simulates.
pub(crate) fn closed_load(cap: usize) -> Load {
    Load { max_concurrency: NonZeroUsize::new(cap), ..open_load(f64::INFINITY) }
}

/// The time between two tokens.
const GAP: Duration = Duration::from_millis(10);

impl Queue {
    /// The arrival rate at this utilization of the servers.
    pub(crate) fn rate(&self, utilisation: f64) -> f64 {
        utilisation * self.servers as f64 / (self.service + self.prefill).as_secs_f64()
    }

    /// Simulates Poisson arrivals at a rate per second. The queue starts empty.
    pub(crate) fn open(&self, n: usize, rate: f64) -> Vec<Record> {
        let gaps = Exp::new(rate).unwrap().sample_iter(StdRng::seed_from_u64(self.seed));
        let dues = gaps.scan(0.0, |at, gap| {
            *at += gap;
            Some(Duration::from_secs_f64(*at))
        });
        let mut servers = self.servers();
        let serve = |(i, (due, job))| servers.serve(i, due, job);
        dues.zip(self.jobs()).take(n).enumerate().map(serve).collect()
    }

    /// Simulates a closed loop of `cap` users. Each sends a request when the previous one has ended.
    pub(crate) fn closed(&self, n: usize, cap: usize) -> Vec<Record> {
        let mut users: BinaryHeap<_> = (0..cap).map(|_| Reverse(Duration::ZERO)).collect();
        let mut servers = self.servers();
        let serve = |(i, job)| {
            let Reverse(due) = users.pop().unwrap();
            let record = servers.serve(i, due, job);
            users.push(Reverse(record.times.done().unwrap()));
            record
        };
        self.jobs().take(n).enumerate().map(serve).collect()
    }

    fn servers(&self) -> Servers {
        Servers { free: (0..self.servers).map(|_| Reverse(Duration::ZERO)).collect() }
    }

    fn jobs(&self) -> impl Iterator<Item = Job> {
        let decode = Exp::new(1.0 / self.service.as_secs_f64()).unwrap();
        let prefill = Uniform::new(0.5, 1.5).unwrap();
        let streams = [1, 2].map(|i| StdRng::seed_from_u64(self.seed ^ (i << 32)));
        let [decodes, prefills] = streams;
        let mean = self.prefill;
        let jobs = decode.sample_iter(decodes).zip(prefill.sample_iter(prefills));
        jobs.map(move |(decode, prefill)| Job {
            prefill: mean.mul_f64(prefill),
            decode: Duration::from_secs_f64(decode),
        })
    }
}

/// The work that a request needs from a server.
struct Job {
    prefill: Duration,
    decode: Duration,
}

/// When each server becomes free.
struct Servers {
    free: BinaryHeap<Reverse<Duration>>,
}

impl Servers {
    fn serve(&mut self, ordinal: usize, due: Duration, job: Job) -> Record {
        let Reverse(free) = self.free.pop().unwrap();
        let first = due.max(free) + job.prefill;
        let last = first + job.decode;
        self.free.push(Reverse(last));
        record(ordinal, due, first, last)
    }
}

/// Creates the Record of a request that was sent when due, with a token every 10 ms from `first` to `last`.
pub(crate) fn record(ordinal: usize, due: Duration, first: Duration, last: Duration) -> Record {
    let mut events = Events::default();
    let tokens = (last - first).as_millis() as u32 / GAP.as_millis() as u32 + 2;
    for i in 0..tokens {
        events.note(first + (last - first) * i / (tokens - 1));
    }
    let times = Timestamps::new(due)
        .with_time(Milestone::Sent, due + Duration::from_micros(50))
        .with_time(Milestone::Headers, first)
        .with_time(Milestone::FirstChunk, first)
        .with_time(Milestone::FirstToken, first)
        .with_time(Milestone::LastToken, last)
        .with_time(Milestone::Done, last);
    let counts = [100, tokens].map(|count| TokenCount { count, source: TokenSource::Usage });
    Record::answered(ordinal, None, times, counts, events)
}
