//! A measurement in a few lines: [`Benchmark`].

use std::sync::Arc;
use std::time::Duration;

use crate::model::metrics::Latency;
use crate::model::run::{ReportSelection, Run, RunLabels};
use crate::model::run_records::MANY_REQUESTS;
use crate::model::run_spec::{
    BackendTask, Dataset, Load, RngKind, Sampling, SessionSpec, Slo, Spec, SteadyStateConfig, Target,
    WorkloadSpec,
};
use crate::runner::{
    Contact, Error, Event, Invocation, Observer, RecordDetail, RunOptions, Runner, ServerMetrics, Session,
    SessionOptions, StopHandle, TokenizerChoice,
};
use crate::stats::Percent;

/// The default number of requests, if neither the benchmark nor the load's duration determines it.
const REQUESTS: usize = 1000;

/// The share of failed requests above which a run is INVALID.
const MAX_FAILURE_RATE: f64 = 0.01;

/// The time between two readings of the server's metrics.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// A benchmark run: the target, the requests, and when they are sent.
///
/// [`Benchmark::run`] blocks the calling thread until the last request has ended, and owns the threads that send. In
/// async code, call it on a blocking thread.
#[must_use = "nothing is sent before `run`"]
pub struct Benchmark {
    target: Target,
    dataset: Dataset,
    load: Load,
    requests: Option<usize>,
    sampling: Sampling,
    slo: Slo,
    seed: u64,
    tokenizer: Option<String>,
    percentiles: Vec<Percent>,
    keeps_records: bool,
    ready_timeout: Duration,
    stop: StopHandle,
}

impl Benchmark {
    /// Creates a benchmark of this server. By default it sends 1,000 of the bundled conversations, all at once.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            dataset: Dataset::sharegpt_bundled(),
            load: Load::default(),
            requests: None,
            sampling: Sampling::default(),
            slo: Slo::default(),
            seed: 0,
            tokenizer: None,
            percentiles: vec![99.0],
            keeps_records: false,
            ready_timeout: Duration::ZERO,
            stop: StopHandle::default(),
        }
    }

    /// Sets the dataset of the prompts.
    pub fn dataset(self, dataset: Dataset) -> Self {
        Self { dataset, ..self }
    }

    /// Sets the load: when the requests are sent.
    pub fn load(self, load: Load) -> Self {
        Self { load, ..self }
    }

    /// Sets the number of measured requests; those of the warm-up are extra. By default the load's rate and duration
    /// determine it, and without a duration it is 1,000.
    pub fn requests(self, requests: usize) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Sets the sampling parameters. Answers to random prompts always have the requested length.
    pub fn sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Sets the SLO: requests that meet its limits count toward goodput.
    pub fn slo(self, slo: Slo) -> Self {
        Self { slo, ..self }
    }

    /// Sets the seed of the prompts and arrivals. They are those of vLLM's Python client for the same seed.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the tokenizer that counts tokens: a `tokenizer.json`, a folder that has one, or a hub id. By default it is
    /// the model's, else the server's.
    pub fn tokenizer(self, tokenizer: impl Into<String>) -> Self {
        Self { tokenizer: Some(tokenizer.into()), ..self }
    }

    /// Sets the percentiles that are reported of every latency, from 0 to 100.
    pub fn percentiles(self, percentiles: impl Into<Vec<Percent>>) -> Self {
        Self { percentiles: percentiles.into(), ..self }
    }

    /// Keeps every request with the Run, with its text and the gaps between its output events.
    pub fn keep_records(self) -> Self {
        Self { keeps_records: true, ..self }
    }

    /// Sets how long to wait for a server that is still starting.
    pub fn wait_for_server(self, timeout: Duration) -> Self {
        Self { ready_timeout: timeout, ..self }
    }

    /// Returns a handle that ends the run early, from any thread. The Run then holds what was measured until then.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Runs the benchmark.
    ///
    /// # Errors
    /// If the server does not answer, the dataset cannot be used, or no request was answered.
    pub fn run(self) -> Result<Run, Error> {
        self.run_with(|_| {})
    }

    /// Runs the benchmark and reports its events to `observe`, which is called from several threads and must return
    /// quickly.
    ///
    /// # Errors
    /// The same as for [`Benchmark::run`].
    pub fn run_with(self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Result<Run, Error> {
        let (mut spec, observer) = (self.spec(), Arc::new(observe) as Observer);
        let tokenizer = self.tokenizer.clone().map_or(TokenizerChoice::Model, TokenizerChoice::Named);
        let options = SessionOptions { ready_timeout: self.ready_timeout, reads_metrics: true, tokenizer };
        let session = Session::connect(&mut spec, &options, Contact::Required, observer, self.stop.clone())?;
        let options = self.options();
        let (mut run, records) = Runner::new(&session, &options).run(spec, &Invocation::default())?;
        run.records = if self.keeps_records { records.into_whole() } else { None };
        Ok(run)
    }

    /// The Spec of the run. The model's name may still be unknown.
    fn spec(&self) -> Spec {
        let Self { target, dataset, load, requests, sampling, slo, seed, tokenizer, .. } = self;
        let due = load.duration.and_then(|duration| load.requests_within(duration));
        let num_prompts = dataset.requests_for(requests.or(due).unwrap_or(REQUESTS));
        let cycle = load.is_closed_loop() && load.duration.is_some() && requests.is_none();
        let generates = target.backend.task() == BackendTask::Generation;
        Spec {
            workload: WorkloadSpec {
                form: dataset.usual_form(target.backend),
                tokenizer: tokenizer.clone(),
                ..WorkloadSpec::new(dataset.clone(), num_prompts)
            },
            sampling: Sampling {
                ignore_eos: sampling.ignore_eos || (generates && dataset.is_random()),
                ..sampling.clone()
            },
            load: Load { cycle, ..load.clone() },
            target: target.clone(),
            sessions: SessionSpec::default(),
            cancel: None,
            slo: slo.clone(),
            steadiness: Some(SteadyStateConfig::default()),
            max_failure_rate: MAX_FAILURE_RATE,
            seed: *seed,
            rng: RngKind::Python,
        }
    }

    fn options(&self) -> RunOptions {
        let generates = self.target.backend.task() == BackendTask::Generation && !self.sampling.whole;
        let latencies = [Latency::Ttft, Latency::Tpot, Latency::Itl, Latency::E2e];
        let applies =
            |latency: &Latency| latencies.contains(latency) && (generates || !latency.is_stream_only());
        RunOptions {
            ready_timeout: self.ready_timeout,
            reset_prefix_cache: false,
            keep_going: false,
            server_metrics: Some(ServerMetrics { interval: METRICS_INTERVAL, urls: Vec::new() }),
            profiler: None,
            detail: if self.keeps_records { RecordDetail::ALL } else { RecordDetail::NONE },
            most_records: Some(MANY_REQUESTS),
            selection: ReportSelection {
                latencies: Latency::ALL.into_iter().filter(applies).collect(),
                percents: self.percentiles.clone(),
            },
            notes: RunLabels::default(),
            setting_names: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(load: Load) -> Spec {
        Benchmark::new(Target::openai("http://h:1/v1")).dataset(Dataset::random(8, 4)).load(load).spec()
    }

    #[test]
    fn the_number_of_requests_follows_from_rate_and_duration_unless_it_is_given() {
        assert_eq!(spec(Load::poisson(20.0)).workload.num_prompts, 1000);
        let lasting = Load::poisson(20.0).duration(Duration::from_secs(10));
        assert_eq!(spec(lasting.clone()).workload.num_prompts, 200);
        let benchmark = Benchmark::new(Target::openai("http://h:1")).load(lasting).requests(7);
        assert_eq!(benchmark.spec().workload.num_prompts, 7);
    }

    #[test]
    fn a_closed_loop_with_a_duration_starts_over_when_its_prompts_are_used_up() {
        let lasting = Load::closed(4).duration(Duration::from_secs(10));
        assert!(spec(lasting.clone()).load.cycle);
        assert!(!spec(Load::closed(4)).load.cycle);
        let benchmark = Benchmark::new(Target::openai("http://h:1")).load(lasting).requests(7);
        assert!(!benchmark.spec().load.cycle);
    }

    #[test]
    fn the_target_is_the_server_of_the_url() {
        let target = spec(Load::default()).target;
        assert_eq!((&*target.base_url, &*target.endpoint), ("http://h:1", "/v1/completions"));
        assert!(spec(Load::default()).sampling.ignore_eos, "random prompts");
    }
}
