//! Runs that never happened, for tests of the statistics: requests through a queue with several servers.
//!
//! Waiting times in a queue depend on each other as latencies of a real server do, and the truth about them can be had
//! to any precision by simulating long enough.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp, Uniform};

use super::record::{Events, Finish, Input, Record, Times, TokenCount, TokenSource};
use super::spec::{
    Backend, Connection, Dataset, Load, Pace, Rng, Sampling, Sessions, Slo, Spec, Steadiness, Target,
    Workload,
};
use super::units::Rate;

/// A queue before `servers` servers (M/M/c: exponential gaps and services), first come, first served.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    pub servers: usize,
    /// Mean time from the first to the last token.
    pub service: Duration,
    /// Mean time from leaving the queue to the first token; uniform within half of it to either side.
    pub prefill: Duration,
    pub seed: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { servers: 10, service: Duration::from_millis(450), prefill: Duration::from_millis(50), seed: 0 }
    }
}

/// The load of [`Queue::open`].
pub fn open_load(rate: f64) -> Load {
    Load {
        request_rate: Rate::per_second(rate).unwrap(),
        pace: Pace::Steady,
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

/// A spec with this load.
pub fn spec(load: Load) -> Spec {
    Spec {
        target: Target {
            backend: Backend::Openai,
            base_url: "http://localhost:8000".into(),
            endpoint: "/v1/completions".into(),
            model: "m".into(),
            served_model_name: None,
            headers: Vec::new(),
            request_id_prefix: None,
            insecure: false,
            connection: Connection::default(),
            timeout: Duration::from_secs(600),
        },
        workload: Workload::new(Dataset::Sharegpt { path: None, output_len: None }, 1000),
        sampling: Sampling::default(),
        load,
        sessions: Sessions::default(),
        cancel: None,
        slo: Slo::default(),
        steadiness: Some(Steadiness::default()),
        max_failure_rate: 0.01,
        seed: 0,
        rng: Rng::default(),
    }
}

/// The load of [`Queue::closed`].
pub fn closed_load(cap: usize) -> Load {
    Load { max_concurrency: NonZeroUsize::new(cap), ..open_load(f64::INFINITY) }
}

/// Between tokens.
const GAP: Duration = Duration::from_millis(10);

impl Queue {
    /// The arrival rate that keeps the servers busy for this share of the time.
    pub fn rate(&self, utilisation: f64) -> f64 {
        utilisation * self.servers as f64 / (self.service + self.prefill).as_secs_f64()
    }

    /// Poisson arrivals at a rate per second; the queue starts empty.
    pub fn open(&self, n: usize, rate: f64) -> Vec<Record> {
        let gaps = Exp::new(rate).unwrap().sample_iter(StdRng::seed_from_u64(self.seed));
        let dues = gaps.scan(0.0, |at, gap| {
            *at += gap;
            Some(Duration::from_secs_f64(*at))
        });
        let mut servers = self.servers();
        let serve = |(i, (due, job))| servers.serve(i, due, job);
        dues.zip(self.jobs()).take(n).enumerate().map(serve).collect()
    }

    /// A closed loop of `cap` users, each sending when its last request has ended.
    pub fn closed(&self, n: usize, cap: usize) -> Vec<Record> {
        let mut users: BinaryHeap<_> = (0..cap).map(|_| Reverse(Duration::ZERO)).collect();
        let mut servers = self.servers();
        let serve = |(i, job)| {
            let Reverse(due) = users.pop().unwrap();
            let record = servers.serve(i, due, job);
            users.push(Reverse(record.times.done.unwrap()));
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

/// What a request asks of a server.
struct Job {
    prefill: Duration,
    decode: Duration,
}

/// When each server is free again.
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

/// A request sent when due, with a token every 10 ms from `first` to `last`.
pub fn record(ordinal: usize, due: Duration, first: Duration, last: Duration) -> Record {
    let mut events = Events::default();
    let tokens = (last - first).as_millis() as u32 / GAP.as_millis() as u32 + 2;
    for i in 0..tokens {
        events.note(first + (last - first) * i / (tokens - 1));
    }
    let sent = due + Duration::from_micros(50);
    Record {
        ordinal,
        id: String::new(),
        times: Times {
            due,
            sent: Some(sent),
            headers: Some(first),
            first_chunk: Some(first),
            first_token: Some(first),
            last_token: Some(last),
            done: Some(last),
            ..Times::default()
        },
        prompt_tokens: TokenCount { count: 100, source: TokenSource::Usage },
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        leaves_after: None,
        output_tokens: TokenCount { count: tokens, source: TokenSource::Usage },
        events,
        outcome: Ok(Finish::Length),
        input: Input::default(),
        facets: None,
        text: None,
    }
}
