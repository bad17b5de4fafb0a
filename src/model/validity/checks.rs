//! The checks, one function each, in the order of the table in [`super`].

mod answer_checks;
mod prompt_checks;
mod shard_checks;
mod so_far;

use std::time::Duration;

use super::{
    Check, CheckName, CheckOutcome, CheckScope, Quantity, RunDiagnostics, SentLoad, ServerPartMeans,
    TimestampSource,
};
use crate::model::metrics::{Latency, Metrics};
use crate::model::record::{FailureClass, TokenSource};
use crate::model::run_spec::{Load, Spec};
use crate::model::steady_state::{Drift, LatencyTrend};
use crate::stats::Percent;
pub(crate) use so_far::ChecksSoFar;

/// The input of the checks.
pub(super) struct CheckInput<'a> {
    pub evidence: &'a RunDiagnostics,
    pub spec: &'a Spec,
    pub load: &'a SentLoad<'a>,
    pub metrics: &'a Metrics,
    /// The percentiles that the user requested.
    pub asked: &'a [Percent],
}

const CHECKS: [fn(&CheckInput<'_>) -> Check; 16] = [
    schedule_lag,
    read_delay,
    merged_reads,
    bursts,
    achieved_rate,
    client_cpu,
    failures,
    samples,
    token_source,
    prompt_checks::token_agreement,
    stationarity,
    latency_trend,
    prompt_checks::prefix_cache,
    repeated_prompts,
    wall_clock,
    descriptors,
];

/// Runs all checks.
pub(super) fn run_checks(case: &CheckInput<'_>) -> Vec<Check> {
    let always = CHECKS.iter().map(|check| check(case));
    always
        .chain(answer_checks::answer_checks(case))
        .chain(profiler(case))
        .chain(server_times(case))
        .chain(shard_checks::shard_checks(case))
        .chain(client_errors(case))
        .collect()
}

impl CheckInput<'_> {
    fn median(&self, latency: Latency) -> Duration {
        self.metrics.latencies.get(&latency).map_or(Duration::ZERO, |distribution| distribution.median)
    }

    fn mean(&self, latency: Latency) -> Duration {
        self.metrics.latencies.get(&latency).map_or(Duration::ZERO, |distribution| distribution.mean)
    }

    fn kernel_stamps(&self) -> bool {
        self.evidence.timestamp_source == Some(TimestampSource::Kernel)
    }
}

/// The bounds that a quantity is compared to; an absent bound is never exceeded.
#[derive(Default)]
struct CheckBounds {
    warning: Option<Quantity>,
    invalid: Option<Quantity>,
}

impl CheckBounds {
    fn warning(bound: Quantity) -> Self {
        Self { warning: Some(bound), invalid: None }
    }

    fn invalid(bound: Quantity) -> Self {
        Self { warning: None, invalid: Some(bound) }
    }
}

impl Check {
    /// Grades a quantity for which less is better.
    fn grade(name: CheckName, figure: Quantity, bounds: CheckBounds, advice: &str) -> Self {
        let crossed = |bound: Option<Quantity>| bound.filter(|bound| figure > *bound);
        let (outcome, bound) = match (crossed(bounds.invalid), crossed(bounds.warning)) {
            (Some(bound), _) => (CheckOutcome::Invalid, Some(bound)),
            (None, Some(bound)) => (CheckOutcome::Warning, Some(bound)),
            (None, None) => (CheckOutcome::Passed, bounds.warning.or(bounds.invalid)),
        };
        let advice = if outcome == CheckOutcome::Passed { String::new() } else { advice.to_owned() };
        Self { name, outcome, scope: CheckScope::Run, figure: Some(figure), bound, advice }
    }

    fn not_judged(name: CheckName, why: &str) -> Self {
        let outcome = CheckOutcome::NotJudged;
        Self { name, outcome, scope: CheckScope::Run, figure: None, bound: None, advice: why.to_owned() }
    }

    /// Restricts the check to these metrics.
    fn with_scope(self, scope: CheckScope) -> Self {
        Self { scope, ..self }
    }
}

fn schedule_lag(case: &CheckInput<'_>) -> Check {
    let name = CheckName::ScheduleLag;
    let load = &case.spec.load;
    let held = load.closed_loop_size().is_some() && !load.is_closed_loop();
    if held && !case.load.has_releases {
        return Check::not_judged(
            name,
            "the records lack the times at which `load.max_concurrency` released the requests",
        );
    }
    let Some(lag) = case.load.own_lag else { return Check::not_judged(name, "nothing was sent") };
    grade_schedule_lag(load, lag, case.median(Latency::Ttft))
}

fn grade_schedule_lag(load: &Load, lag: Duration, ttft: Duration) -> Check {
    let scheduled = load.is_paced() || load.is_closed_loop();
    let bounds = CheckBounds {
        warning: Some(Quantity::Time(Duration::from_millis(10).max(ttft / 20))),
        invalid: scheduled.then(|| Quantity::Time(Duration::from_millis(50).max(ttft / 4))),
    };
    let advice = "the client sent later than scheduled, so the load was not the requested one: \
                  use a less busy machine, more `load.workers`, or a lower rate";
    Check::grade(CheckName::ScheduleLag, Quantity::Time(lag), bounds, advice)
}

fn read_delay(case: &CheckInput<'_>) -> Check {
    let name = CheckName::ReadDelay;
    let delay = case.evidence.read_delay.map(Quantity::Time);
    let bound = Quantity::Time(Duration::from_millis(1).max(case.median(Latency::Itl) / 20));
    match (case.evidence.timestamp_source, delay) {
        (None, _) => Check::not_judged(name, "the source of the receive timestamps is unknown"),
        (Some(TimestampSource::Kernel), None) => {
            Check::not_judged(name, "the read delay was not measured; it does not affect kernel timestamps")
        }
        (Some(TimestampSource::Kernel), Some(delay)) => Check::grade(name, delay, CheckBounds::default(), ""),
        (Some(TimestampSource::Reader), Some(delay)) => {
            let advice = "the client read the tokens late, and without kernel timestamps TTFT and ITL include that \
                          delay: use a less busy machine or more `load.workers`";
            Check::grade(name, delay, CheckBounds::invalid(bound), advice)
        }
        (Some(TimestampSource::Reader), None) => Check {
            name,
            outcome: CheckOutcome::Warning,
            scope: CheckScope::Run,
            figure: None,
            bound: Some(bound),
            advice:
                "there were no kernel timestamps, so TTFT and ITL include an unknown delay of the client: \
                 run on Linux"
                    .into(),
        },
    }
}

fn merged_reads(case: &CheckInput<'_>) -> Check {
    let name = CheckName::MergedReads;
    let Some(share) = case.evidence.merged_reads.map(Quantity::Share) else {
        return Check::not_judged(name, "there were no output events");
    };
    let Some(delay) = case.evidence.read_delay else {
        return Check::not_judged(
            name,
            "the read delay is unknown, so it cannot be decided whether the client or the server merged the events",
        );
    };
    // The module's documentation gives the reasons. Answers that arrived whole have no gaps left; merging those takes
    // as long as they did.
    let gap = Some(case.mean(Latency::Itl)).filter(|gap| !gap.is_zero());
    let gap = gap.unwrap_or_else(|| case.mean(Latency::E2e));
    let timely = delay <= Duration::from_micros(100).max(gap / 4);
    if timely {
        return Check::grade(name, share, CheckBounds::default(), "");
    }
    let bounds = CheckBounds { warning: Some(Quantity::Share(0.01)), invalid: Some(Quantity::Share(0.1)) };
    let advice = "the client read late, so several events share one timestamp, and ITL contains zeros and long gaps \
                  that the server did not cause (unless the server itself sends several events at once): use more \
                  `load.workers` or a less busy machine";
    Check::grade(name, share, bounds, advice)
}

/// Bursts closer together than this hide no relevant delay.
const MAX_HARMLESS_BURST_GAP: Duration = Duration::from_millis(5);

fn bursts(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Bursts;
    let Some(share) = case.evidence.burst_starts.map(Quantity::Share) else {
        return Check::not_judged(name, "no answer had more than one output event");
    };
    let apart = mean_burst_gap(case);
    let bound = match case.evidence.server_times {
        Some(times) if case.mean(Latency::Tpot) < times.tpot.mul_f64(0.95) => Some(Quantity::Share(0.1)),
        Some(times) if case.mean(Latency::Ttft) < times.ttft + apart / 2 => None,
        _ => Some(Quantity::Share(0.5)),
    };
    let bounds = CheckBounds { warning: None, invalid: bound.filter(|_| apart >= MAX_HARMLESS_BURST_GAP) };
    let advice = "something between client and server buffers the stream, so the first token waits for later ones: TTFT is \
                  too long, TPOT too short and most gaps are zero; E2E and throughput are valid. Turn buffering off: nginx \
                  `proxy_buffering off` (or the response header `X-Accel-Buffering: no`), HAProxy `option http-no-delay`; \
                  or measure the server itself";
    Check::grade(name, share, bounds, advice).with_scope(CheckScope::Stream)
}

/// The mean time between reads that brought output; for answers that arrived whole, their duration.
fn mean_burst_gap(case: &CheckInput<'_>) -> Duration {
    let alone = 1.0 - case.evidence.merged_reads.unwrap_or_default();
    let apart = Duration::try_from_secs_f64(case.mean(Latency::Itl).as_secs_f64() / alone);
    apart.ok().filter(|apart| !apart.is_zero()).unwrap_or_else(|| case.mean(Latency::E2e))
}

fn achieved_rate(case: &CheckInput<'_>) -> Check {
    let name = CheckName::AchievedRate;
    let load = &case.spec.load;
    let rates = case.metrics.offered_rate.zip(case.metrics.achieved_rate);
    let Some((offered, achieved)) = rates.filter(|_| load.is_paced()) else {
        return Check::not_judged(name, "no rate was requested");
    };
    let bound = Quantity::Share((case.load.sent.max(1) as f64).sqrt().recip().max(0.01));
    let gap = Quantity::Share((achieved / offered - 1.0).abs());
    if load.closed_loop_size().is_some() {
        let advice = "`load.max_concurrency` held requests back, so the server received less than the requested rate: \
                      raise it, or use the latencies from due";
        return Check::grade(name, gap, CheckBounds::warning(bound), advice);
    }
    let advice = "the client did not keep up with the arrivals: use more `load.workers`, a faster machine, or a lower rate";
    Check::grade(name, gap, CheckBounds::invalid(bound), advice)
}

fn client_cpu(case: &CheckInput<'_>) -> Check {
    let name = CheckName::ClientCpu;
    let Some(busiest) = case.evidence.worker_cpu.iter().copied().reduce(f64::max) else {
        return Check::not_judged(name, "the CPU time of the workers was not measured");
    };
    let bounds = CheckBounds {
        warning: Some(Quantity::Share(0.8)),
        invalid: (!case.kernel_stamps()).then_some(Quantity::Share(0.95)),
    };
    let advice =
        "the client is close to its own limit: use more `load.workers` or split the load across machines";
    Check::grade(name, Quantity::Share(busiest), bounds, advice)
}

fn failures(case: &CheckInput<'_>) -> Check {
    let cancelled = case.metrics.failures.iter().filter(|failure| failure.class == FailureClass::Cancelled);
    let cancelled: usize = cancelled.map(|failure| failure.count).sum();
    let failed = case.metrics.failed - cancelled;
    grade_failures(failed, case.metrics.completed + failed, case.spec.max_failure_rate)
}

fn grade_failures(failed: usize, ended: usize, limit: f64) -> Check {
    let name = CheckName::Failures;
    if ended == 0 {
        let advice = "no request finished: there is nothing to report".into();
        let (outcome, scope) = (CheckOutcome::Invalid, CheckScope::Run);
        return Check { name, outcome, scope, figure: None, bound: None, advice };
    }
    let share = failed as f64 / ended as f64;
    let advice = "latencies cover successful requests only: see the failures by class; \
                  `spec.max_failure_rate` sets the limit";
    Check::grade(name, Quantity::Share(share), CheckBounds::invalid(Quantity::Share(limit)), advice)
}

fn samples(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Samples;
    // ITL has as many samples as tokens; its intervals show what they are worth. Lag is the client's own.
    let own = |latency: &Latency| Latency::SELECTABLE.contains(latency) && *latency != Latency::Itl;
    let latencies = case.metrics.latencies.iter().filter(|(latency, _)| own(latency));
    let percentiles = latencies.flat_map(|(_, distribution)| &distribution.percentiles);
    let asked = percentiles.filter(|percentile| case.asked.contains(&percentile.p));
    let asked = asked.filter_map(|percentile| Some((percentile.effective_n, percentile.needs?)));
    // The percentile that is furthest from the needed sample size.
    let Some((n, needs)) = asked.max_by(|a, b| (a.1 * b.0.max(1)).cmp(&(b.1 * a.0.max(1)))) else {
        return Check::not_judged(name, "no percentile was requested, or no latency was measured");
    };
    let (outcome, advice) = match n >= needs {
        true => (CheckOutcome::Passed, ""),
        false => (
            CheckOutcome::Warning,
            "the highest percentile is close to the maximum, since the latencies of answers that waited in one queue are \
             correlated: send more requests or request a lower percentile",
        ),
    };
    let (figure, bound) = (Some(Quantity::Count(n)), Some(Quantity::Count(needs)));
    Check { name, outcome, scope: CheckScope::Run, figure, bound, advice: advice.into() }
}

fn token_source(case: &CheckInput<'_>) -> Check {
    let guesses = |sources: &[TokenSource], tokens: &crate::model::metrics::TokenTotal| {
        sources.iter().filter_map(|source| tokens.requests_by_source.get(source)).sum::<usize>()
    };
    let output = guesses(&[TokenSource::Events, TokenSource::Estimate], &case.metrics.output_tokens);
    let input = guesses(&[TokenSource::Estimate], &case.metrics.input_tokens);
    grade_token_source(output.max(input))
}

fn grade_token_source(guessed: usize) -> Check {
    let advice = "rates in tokens and TPOT are not comparable: give `workload.tokenizer`, or make the server send usage";
    let figure = Quantity::Count(guessed as u64);
    Check::grade(CheckName::TokenSource, figure, CheckBounds::warning(Quantity::Count(0)), advice)
}

fn stationarity(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Stationarity;
    let load = &case.spec.load;
    let drift = match Drift::try_measure(load, case.load.kept) {
        Ok(drift) => drift,
        Err(why) => return Check::not_judged(name, &why.to_string()),
    };
    let bound = Quantity::Share(drift.bound());
    let (bounds, scope, advice) = match drift {
        Drift::PileUp { .. } if Drift::is_cap_limited(load, case.load.kept) => (
            CheckBounds::invalid(bound),
            CheckScope::FromDue,
            "this share of the arrivals piled up in front of the cap: the offered load is above the server's capacity at that \
             concurrency, and everything that is measured from due depends on the length of the run; lower \
             `load.request_rate`, raise `load.max_concurrency`, or omit `load.request_rate` to measure the server under the cap",
        ),
        Drift::PileUp { .. } => (
            CheckBounds::invalid(bound),
            CheckScope::Run,
            "this share of the arrivals piled up: the offered load is above the server's capacity, and every latency \
             depends on the length of the run; lower `load.request_rate`",
        ),
        Drift::Slowdown { .. } => (
            CheckBounds::warning(bound),
            CheckScope::Run,
            "TTFT grew by this share while the cap was full: the server was not in a steady state; run longer, or \
             check its caches and GPU clocks",
        ),
    };
    // A rise that may be chance does not count, however large.
    let share = if drift.is_significant() { drift.share() } else { drift.share().clamp(0.0, drift.bound()) };
    Check::grade(name, Quantity::Share(share), bounds, advice).with_scope(scope)
}

fn latency_trend(case: &CheckInput<'_>) -> Check {
    let name = CheckName::LatencyTrend;
    let load = &case.spec.load;
    let Some(trend) = LatencyTrend::measure(load, case.load.kept) else {
        return Check::not_judged(name, "fewer than 100 requests were answered under a steady load");
    };
    let bound = Quantity::Share(LatencyTrend::MAX_CHANGE);
    let way = if trend.change > 0.0 { "rose" } else { "fell" };
    let advice = format!(
        "{} {way} from the start of the run to its end, so its mean describes no single state of the server: warm up or run \
         longer, and check the caches, GPU clocks and temperature",
        trend.latency.symbol()
    );
    // A change that may be chance does not count, and a pile-up of work has its own check.
    let piles_up = Drift::measure(load, case.load.kept).is_some_and(|drift| drift.is_significant());
    let change = trend.change.abs();
    let share =
        if trend.is_significant() && !piles_up { change } else { change.min(LatencyTrend::MAX_CHANGE) };
    Check::grade(name, Quantity::Share(share), CheckBounds::warning(bound), &advice)
}

fn repeated_prompts(case: &CheckInput<'_>) -> Check {
    let advice = match case.spec.workload.dataset.shared_prefix() {
        Some(_) => {
            "these share their first block with an earlier prompt, as they do in vLLM's own sequence, and the server may \
             take it from its prefix cache: `workload.rng` native generates prompts that all differ"
        }
        None => {
            "the server may take them from its prefix cache: use `workload.unique`, a larger dataset, or fewer requests"
        }
    };
    let figure = Quantity::Count(case.evidence.repeated_prompts as u64);
    Check::grade(CheckName::RepeatedPrompts, figure, CheckBounds::warning(Quantity::Count(0)), advice)
}

fn wall_clock(case: &CheckInput<'_>) -> Check {
    let name = CheckName::WallClock;
    let Some(step) = case.evidence.clock_step else {
        return Check::not_judged(name, "the wall clock was not monitored");
    };
    let bounds = match case.kernel_stamps() {
        true => CheckBounds::invalid(Quantity::Time(Duration::from_millis(1))),
        false => CheckBounds::default(),
    };
    let advice = "the wall clock was set during the run, and kernel timestamps use that clock: run again";
    Check::grade(name, Quantity::Time(step), bounds, advice)
}

/// Present only where the profiler was on.
fn profiler(case: &CheckInput<'_>) -> Option<Check> {
    let name = CheckName::Profiler;
    let profiled = case.evidence.profiler_effect?;
    let bound = Quantity::Time(Duration::from_secs(2));
    let on = profiled.on.as_secs_f64();
    let advice = format!(
        "the profiler was on for {on:.1} s of the run, and the latencies include its overhead: measure without it, and \
         profile in a separate run"
    );
    let check = Check::grade(name, Quantity::Time(profiled.standstill), CheckBounds::invalid(bound), &advice);
    Some(match check.outcome {
        CheckOutcome::Passed => Check { outcome: CheckOutcome::Warning, advice, ..check },
        _ => check,
    })
}

/// Present only where the answers and the histograms report the same times.
fn server_times(case: &CheckInput<'_>) -> Option<Check> {
    let ServerPartMeans { queue, prefill, decode } = case.evidence.server_parts?;
    let differences =
        Latency::BY_SERVER.into_iter().zip([queue, prefill, decode]).filter_map(|(part, mean)| {
            let by_answers = case.metrics.latencies.get(&part)?;
            let is_of_all = by_answers.n * 100 >= case.metrics.completed as u64 * 99;
            let bound = Duration::from_millis(1).max(mean? / 20);
            is_of_all.then_some((by_answers.mean.abs_diff(mean?), bound))
        });
    // The part that is furthest from its bound, or beyond it.
    let (difference, bound) = differences
        .max_by(|a, b| (a.0.as_nanos() * b.1.as_nanos()).cmp(&(b.0.as_nanos() * a.1.as_nanos())))?;
    let advice = "the server reports other queue, prefill or decode times with its answers than in its histograms, so one \
                  of them is wrong: do not trust where the time went";
    let bounds = CheckBounds::warning(Quantity::Time(bound));
    Some(Check::grade(CheckName::ServerTimes, Quantity::Time(difference), bounds, advice))
}

fn descriptors(case: &CheckInput<'_>) -> Check {
    let name = CheckName::Descriptors;
    let peak = case.metrics.peak_in_flight as u64;
    let nearly = case.evidence.descriptor_limit.map(|limit| limit - limit / 10).filter(|bound| peak > *bound);
    if let (0, Some(bound)) = (case.evidence.starved, nearly) {
        return Check {
            name,
            outcome: CheckOutcome::Warning,
            scope: CheckScope::Run,
            figure: Some(Quantity::Count(peak)),
            bound: Some(Quantity::Count(bound)),
            advice:
                "the requests in flight nearly used up the descriptors of this process: raise `ulimit -n`"
                    .into(),
        };
    }
    grade_starved(case.evidence.starved)
}

fn grade_starved(starved: usize) -> Check {
    let advice = "this machine had no descriptor or port left for them, so the load stopped at the client's limit: \
                  raise `ulimit -n`, widen net.ipv4.ip_local_port_range, or use more machines";
    let starved = Quantity::Count(starved as u64);
    Check::grade(CheckName::Descriptors, starved, CheckBounds::invalid(Quantity::Count(0)), advice)
}

/// Present only where errors occurred: no run is expected to have any.
fn client_errors(case: &CheckInput<'_>) -> Option<Check> {
    let errors = &case.evidence.client_errors;
    let first = errors.first()?;
    let advice = format!(
        "a client failed or was lost, and not all of its requests are recorded. First error: {first}"
    );
    let figure = Quantity::Count(errors.len() as u64);
    Some(Check::grade(CheckName::ClientErrors, figure, CheckBounds::invalid(Quantity::Count(0)), &advice))
}
