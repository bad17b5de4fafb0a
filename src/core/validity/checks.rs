//! The checks, one function each, in the order of the table in [`super`].

use std::time::Duration;

use super::{Check, CheckName, EstimatedPrompts, Evidence, Figure, Outcome, Scope, Stamps};
use crate::core::metrics::{Latency, Metrics};
use crate::core::record::{FailureClass, Record, TokenSource};
use crate::core::spec::Spec;
use crate::core::stats::percentile;
use crate::core::steady::{Drift, LatencyTrend};

/// What is judged.
pub struct Case<'a> {
    pub evidence: &'a Evidence,
    pub spec: &'a Spec,
    pub records: &'a [Record],
    pub metrics: &'a Metrics,
}

const CHECKS: [fn(&Case<'_>) -> Check; 16] = [
    schedule_lag,
    read_delay,
    merged_reads,
    bursts,
    achieved_rate,
    client_cpu,
    failures,
    samples,
    token_source,
    token_agreement,
    stationarity,
    latency_trend,
    prefix_cache,
    repeated_prompts,
    wall_clock,
    descriptors,
];

/// All of them.
pub fn all(case: &Case<'_>) -> Vec<Check> {
    let always = CHECKS.iter().map(|check| check(case));
    always.chain(profiler(case)).chain(client_errors(case)).collect()
}

impl Case<'_> {
    fn median(&self, latency: Latency) -> Duration {
        self.metrics.latencies.get(&latency).map_or(Duration::ZERO, |distribution| distribution.median)
    }

    fn mean(&self, latency: Latency) -> Duration {
        self.metrics.latencies.get(&latency).map_or(Duration::ZERO, |distribution| distribution.mean)
    }

    fn kernel_stamps(&self) -> bool {
        self.evidence.stamps == Some(Stamps::Kernel)
    }
}

/// What a figure is held against; an absent bound is never crossed.
#[derive(Default)]
struct Bounds {
    warning: Option<Figure>,
    invalid: Option<Figure>,
}

impl Bounds {
    fn warning(bound: Figure) -> Self {
        Self { warning: Some(bound), invalid: None }
    }

    fn invalid(bound: Figure) -> Self {
        Self { warning: None, invalid: Some(bound) }
    }
}

impl Check {
    /// Grades a figure of which less is better.
    fn graded(name: CheckName, figure: Figure, bounds: Bounds, advice: &str) -> Self {
        let crossed = |bound: Option<Figure>| bound.filter(|bound| figure > *bound);
        let (outcome, bound) = match (crossed(bounds.invalid), crossed(bounds.warning)) {
            (Some(bound), _) => (Outcome::Invalid, Some(bound)),
            (None, Some(bound)) => (Outcome::Warning, Some(bound)),
            (None, None) => (Outcome::Passed, bounds.warning.or(bounds.invalid)),
        };
        let advice = if outcome == Outcome::Passed { String::new() } else { advice.to_owned() };
        Self { name, outcome, scope: Scope::Run, figure: Some(figure), bound, advice }
    }

    fn not_judged(name: CheckName, why: &str) -> Self {
        let outcome = Outcome::NotJudged;
        Self { name, outcome, scope: Scope::Run, figure: None, bound: None, advice: why.to_owned() }
    }

    /// The same about these metrics alone.
    fn about(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
}

fn schedule_lag(case: &Case<'_>) -> Check {
    let name = CheckName::ScheduleLag;
    let load = &case.spec.load;
    let held = load.slots().is_some() && !load.is_closed_loop();
    if held && case.records.iter().all(|record| record.times.released.is_none()) {
        return Check::not_judged(name, "nobody noted when the cap let requests go");
    }
    let mut lags: Vec<Duration> = case.records.iter().filter_map(Record::own_lag).collect();
    lags.sort_unstable();
    let Some(lag) = percentile(&lags, 99.0) else { return Check::not_judged(name, "nothing was sent") };
    let ttft = case.median(Latency::Ttft);
    let scheduled = load.is_paced() || load.is_closed_loop();
    let bounds = Bounds {
        warning: Some(Figure::Time(Duration::from_millis(10).max(ttft / 20))),
        invalid: scheduled.then(|| Figure::Time(Duration::from_millis(50).max(ttft / 4))),
    };
    let advice = "the client sent later than the schedule said, so the load was not the one asked for: \
                  use a machine with less to do, more --workers, or a lower rate";
    Check::graded(name, Figure::Time(lag), bounds, advice)
}

fn read_delay(case: &Case<'_>) -> Check {
    let name = CheckName::ReadDelay;
    let delay = case.evidence.read_delay.map(Figure::Time);
    let bound = Figure::Time(Duration::from_millis(1).max(case.median(Latency::Itl) / 20));
    match (case.evidence.stamps, delay) {
        (None, _) => Check::not_judged(name, "nobody says who stamped the reads"),
        (Some(Stamps::Kernel), None) => {
            Check::not_judged(name, "it was not measured; kernel stamps need it not")
        }
        (Some(Stamps::Kernel), Some(delay)) => Check::graded(name, delay, Bounds::default(), ""),
        (Some(Stamps::Reader), Some(delay)) => {
            let advice = "tokens were stamped late, so TTFT and ITL include the client's own delay: \
                          kernel timestamps would not; use a machine with less to do or more --workers";
            Check::graded(name, delay, Bounds::invalid(bound), advice)
        }
        (Some(Stamps::Reader), None) => Check {
            name,
            outcome: Outcome::Warning,
            scope: Scope::Run,
            figure: None,
            bound: Some(bound),
            advice:
                "there were no kernel timestamps: TTFT and ITL include a delay of the client that is not \
                     known; run on Linux"
                    .into(),
        },
    }
}

fn merged_reads(case: &Case<'_>) -> Check {
    let name = CheckName::MergedReads;
    let Some(share) = case.evidence.merged_reads.map(Figure::Share) else {
        return Check::not_judged(name, "there were no output events");
    };
    let Some(delay) = case.evidence.read_delay else {
        return Check::not_judged(
            name,
            "the read delay is not known, so whether the server sent them together is not either",
        );
    };
    // The module's docs say why so. Of answers that came whole no gap is left; to merge those takes as long as they did.
    let gap = Some(case.mean(Latency::Itl)).filter(|gap| !gap.is_zero());
    let gap = gap.unwrap_or_else(|| case.mean(Latency::E2e));
    let timely = delay <= Duration::from_micros(100).max(gap / 4);
    if timely {
        return Check::graded(name, share, Bounds::default(), "");
    }
    let bounds = Bounds { warning: Some(Figure::Share(0.01)), invalid: Some(Figure::Share(0.1)) };
    let advice = "the client came late and found several events with one time, so ITL has zeros and long gaps that are \
                  not the server's (unless the server itself sends several events at once): use more --workers, or a \
                  machine with less to do";
    Check::graded(name, share, bounds, advice)
}

/// Lumps that are less apart hide nothing that matters.
const FINE: Duration = Duration::from_millis(5);

fn bursts(case: &Case<'_>) -> Check {
    let name = CheckName::Bursts;
    let Some(share) = case.evidence.burst_starts.map(Figure::Share) else {
        return Check::not_judged(name, "no answer came in several events");
    };
    let apart = between_lumps(case);
    let bound = match case.evidence.server_times {
        Some(times) if case.mean(Latency::Tpot) < times.tpot.mul_f64(0.95) => Some(Figure::Share(0.1)),
        Some(times) if case.mean(Latency::Ttft) < times.ttft + apart / 2 => None,
        _ => Some(Figure::Share(0.5)),
    };
    let bounds = Bounds { warning: None, invalid: bound.filter(|_| apart >= FINE) };
    let advice = "something between client and server buffers the stream, so the first token waits for later ones: TTFT is \
                  too long, TPOT too short and most gaps are zero; E2E and throughput hold. Turn buffering off: nginx \
                  `proxy_buffering off` (or the response header `X-Accel-Buffering: no`), HAProxy `option http-no-delay`; \
                  or measure the server itself";
    Check::graded(name, share, bounds, advice).about(Scope::Stream)
}

/// The mean time between reads that brought output; of answers that came whole, how long they took.
fn between_lumps(case: &Case<'_>) -> Duration {
    let alone = 1.0 - case.evidence.merged_reads.unwrap_or_default();
    let apart = Duration::try_from_secs_f64(case.mean(Latency::Itl).as_secs_f64() / alone);
    apart.ok().filter(|apart| !apart.is_zero()).unwrap_or_else(|| case.mean(Latency::E2e))
}

fn achieved_rate(case: &Case<'_>) -> Check {
    let name = CheckName::AchievedRate;
    let load = &case.spec.load;
    let rates = case.metrics.offered_rate.zip(case.metrics.achieved_rate);
    let Some((offered, achieved)) = rates.filter(|_| load.is_paced()) else {
        return Check::not_judged(name, "no rate was asked for");
    };
    let sent = case.records.iter().filter(|record| record.times.sent.is_some()).count();
    let bound = Figure::Share((sent.max(1) as f64).sqrt().recip().max(0.01));
    let gap = Figure::Share((achieved / offered - 1.0).abs());
    if load.slots().is_some() {
        let advice = "--max-concurrency held requests back, so the server saw less load than the rate says: \
                      raise it, or read the from-due latencies";
        return Check::graded(name, gap, Bounds::warning(bound), advice);
    }
    let advice =
        "the client did not keep up with the arrivals: use more --workers, a faster machine, or a lower rate";
    Check::graded(name, gap, Bounds::invalid(bound), advice)
}

fn client_cpu(case: &Case<'_>) -> Check {
    let name = CheckName::ClientCpu;
    let Some(busiest) = case.evidence.worker_cpu.iter().copied().reduce(f64::max) else {
        return Check::not_judged(name, "it was not measured");
    };
    let bounds = Bounds {
        warning: Some(Figure::Share(0.8)),
        invalid: (!case.kernel_stamps()).then_some(Figure::Share(0.95)),
    };
    let advice = "the client is close to its own limit: use more --workers or split the load over machines";
    Check::graded(name, Figure::Share(busiest), bounds, advice)
}

fn failures(case: &Case<'_>) -> Check {
    let name = CheckName::Failures;
    let cancelled = case.metrics.failures.iter().filter(|failure| failure.class == FailureClass::Cancelled);
    let cancelled: usize = cancelled.map(|failure| failure.count).sum();
    let ended = case.metrics.completed + case.metrics.failed - cancelled;
    if ended == 0 {
        let advice = "no request ended: there is nothing to believe".into();
        let (outcome, scope) = (Outcome::Invalid, Scope::Run);
        return Check { name, outcome, scope, figure: None, bound: None, advice };
    }
    let share = (case.metrics.failed - cancelled) as f64 / ended as f64;
    let advice = "the latencies are only those of the requests that survived: see the failures by class; \
                  --max-failure-rate sets the limit";
    Check::graded(
        name,
        Figure::Share(share),
        Bounds::invalid(Figure::Share(case.spec.max_failure_rate)),
        advice,
    )
}

fn samples(case: &Case<'_>) -> Check {
    let name = CheckName::Samples;
    // ITL has as many samples as tokens; what it is worth is in its intervals. Lag is the client's own.
    let own = |latency: &Latency| Latency::SELECTABLE.contains(latency) && *latency != Latency::Itl;
    let latencies = case.metrics.latencies.iter().filter(|(latency, _)| own(latency));
    let percentiles = latencies.flat_map(|(_, distribution)| &distribution.percentiles);
    let asked = percentiles.filter_map(|percentile| Some((percentile.effective_n, percentile.needs?)));
    // The one that is furthest from what it needs.
    let Some((n, needs)) = asked.max_by(|a, b| (a.1 * b.0.max(1)).cmp(&(b.1 * a.0.max(1)))) else {
        return Check::not_judged(name, "no percentile was asked for, or nothing was measured");
    };
    let (outcome, advice) = match n >= needs {
        true => (Outcome::Passed, ""),
        false => (
            Outcome::Warning,
            "the highest percentile is little but the largest value, as answers that waited in one queue are alike: send \
             more requests or ask for a lower one",
        ),
    };
    let (figure, bound) = (Some(Figure::Count(n)), Some(Figure::Count(needs)));
    Check { name, outcome, scope: Scope::Run, figure, bound, advice: advice.into() }
}

fn token_source(case: &Case<'_>) -> Check {
    let guesses = |sources: &[TokenSource], tokens: &crate::core::metrics::Tokens| {
        sources.iter().filter_map(|source| tokens.requests_by_source.get(source)).sum::<usize>()
    };
    let output = guesses(&[TokenSource::Events, TokenSource::Estimate], &case.metrics.output_tokens);
    let input = guesses(&[TokenSource::Estimate], &case.metrics.input_tokens);
    let advice =
        "rates in tokens and TPOT are not comparable: give --tokenizer, or let the server send usage";
    let figure = Figure::Count(output.max(input) as u64);
    Check::graded(CheckName::TokenSource, figure, Bounds::warning(Figure::Count(0)), advice)
}

fn token_agreement(case: &Case<'_>) -> Check {
    let name = CheckName::TokenAgreement;
    if let Some(prompts) = case.evidence.estimated_prompts {
        return estimate_agreement(prompts);
    }
    let Some(share) = case.evidence.token_disagreement else {
        return Check::not_judged(name, "tokens were not counted twice");
    };
    let advice = "the tokenizer is not the server's: prompt lengths and rates in tokens are off; give the model's own --tokenizer";
    Check::graded(name, Figure::Share(share), Bounds::warning(Figure::Share(0.02)), advice)
}

/// The estimate chose the conversations, and the lengths of random prompts and of answers to ask for.
fn estimate_agreement(prompts: EstimatedPrompts) -> Check {
    let (estimated, counted) = (prompts.estimated as f64, prompts.counted as f64);
    let factor = counted / estimated;
    let advice = format!(
        "prompt lengths were estimated, and the server counts {factor:.2} times as many tokens: this is another workload than was \
         meant, also in the output lengths that a dataset's answers gave; --tokenizer gives true lengths"
    );
    let off = Figure::Share((counted - estimated).abs() / counted.max(estimated));
    Check::graded(CheckName::TokenAgreement, off, Bounds::warning(Figure::Share(0.1)), &advice)
}

fn stationarity(case: &Case<'_>) -> Check {
    let name = CheckName::Stationarity;
    let load = &case.spec.load;
    let drift = match Drift::told(load, case.records) {
        Ok(drift) => drift,
        Err(why) => return Check::not_judged(name, &why.to_string()),
    };
    let bound = Figure::Share(drift.bound());
    let (bounds, scope, advice) = match drift {
        Drift::PileUp { .. } if Drift::is_held_by_cap(load, case.records) => (
            Bounds::invalid(bound),
            Scope::FromDue,
            "this share of the arrivals piled up in front of the cap: the offered load is above what the server takes with so \
             many requests at once, and everything that is measured from due depends on how long the run was; lower \
             --request-rate, raise --max-concurrency, or leave --request-rate out and measure the server under the cap",
        ),
        Drift::PileUp { .. } => (
            Bounds::invalid(bound),
            Scope::Run,
            "this share of the arrivals piled up: the offered load is above the server's capacity, and every latency \
             depends on how long the run was; lower --request-rate",
        ),
        Drift::Slowdown { .. } => (
            Bounds::warning(bound),
            Scope::Run,
            "TTFT grew by this share while the cap was full: the server was not in a steady state; run longer, or \
             look at its cache and its clocks",
        ),
    };
    // A rise that may be chance is none, however large.
    let share = if drift.is_real() { drift.share() } else { drift.share().clamp(0.0, drift.bound()) };
    Check::graded(name, Figure::Share(share), bounds, advice).about(scope)
}

fn latency_trend(case: &Case<'_>) -> Check {
    let name = CheckName::LatencyTrend;
    let load = &case.spec.load;
    let Some(trend) = LatencyTrend::of(load, case.records) else {
        return Check::not_judged(name, "fewer than 100 answers came under a steady load");
    };
    let bound = Figure::Share(LatencyTrend::MOST);
    let way = if trend.change > 0.0 { "rose" } else { "fell" };
    let advice = format!(
        "{} {way} from the start of the run to its end: its mean is of no one state of the server; look at caches that get \
         warm, clocks and temperature, warm up for longer, or run longer",
        trend.latency.symbol()
    );
    // A change that may be chance is none, and one that comes of work that piles up has its own check.
    let piles_up = Drift::of(load, case.records).is_some_and(|drift| drift.is_real());
    let change = trend.change.abs();
    let share = if trend.is_real() && !piles_up { change } else { change.min(LatencyTrend::MOST) };
    Check::graded(name, Figure::Share(share), Bounds::warning(bound), &advice)
}

fn prefix_cache(case: &Case<'_>) -> Check {
    let name = CheckName::PrefixCache;
    let Some(cache) = case.evidence.prefix_cache.filter(|cache| cache.queries > 0) else {
        return Check::not_judged(name, "the server tells nothing of a prefix cache");
    };
    let share = cache.hits.saturating_sub(cache.explained) as f64 / cache.queries as f64;
    let bounds = Bounds { warning: Some(Figure::Share(0.05)), invalid: Some(Figure::Share(0.2)) };
    let workload = &case.spec.workload;
    let advice = if workload.unique.is_some() {
        "every prompt began with words of its own, so these are tokens that the server puts in front of each, or prompts of \
         other clients: TTFT is that of shorter prompts"
            .to_owned()
    } else {
        let seed = if workload.dataset.has_an_end() { "" } else { "; another --seed writes other prompts" };
        format!(
            "the server had these tokens from an earlier run, so TTFT is too good: --unique-prompts begins each prompt with \
             words that no run before had, --reset-prefix-cache empties the cache first (vLLM does that when started with \
             VLLM_SERVER_DEV_MODE=1){seed}"
        )
    };
    Check::graded(name, Figure::Share(share), bounds, &advice)
}

fn repeated_prompts(case: &Case<'_>) -> Check {
    let advice = match case.spec.workload.dataset.shared_prefix() {
        Some(_) => {
            "these share their first block with an earlier prompt, as they do in vLLM's own sequence, and the server may \
             answer it from its prefix cache: --rng native writes prompts that all differ"
        }
        None => {
            "the server may answer them from its prefix cache: use --unique-prompts, a larger dataset, or fewer requests"
        }
    };
    let figure = Figure::Count(case.evidence.repeated_prompts as u64);
    Check::graded(CheckName::RepeatedPrompts, figure, Bounds::warning(Figure::Count(0)), advice)
}

fn wall_clock(case: &Case<'_>) -> Check {
    let name = CheckName::WallClock;
    let Some(step) = case.evidence.clock_step else { return Check::not_judged(name, "nobody looked") };
    let bounds = match case.kernel_stamps() {
        true => Bounds::invalid(Figure::Time(Duration::from_millis(1))),
        false => Bounds::default(),
    };
    let advice = "the wall clock was set during the run, and kernel timestamps are of that clock: run again";
    Check::graded(name, Figure::Time(step), bounds, advice)
}

/// Only where the profiler was on.
fn profiler(case: &Case<'_>) -> Option<Check> {
    let name = CheckName::Profiler;
    let profiled = case.evidence.profiled?;
    let bound = Figure::Time(Duration::from_secs(2));
    let on = profiled.on.as_secs_f64();
    let advice = format!(
        "the profiler was on for {on:.1} s of the run, and the latencies include what it cost; measure without it, and \
         profile in a run of its own"
    );
    let check = Check::graded(name, Figure::Time(profiled.standstill), Bounds::invalid(bound), &advice);
    Some(match check.outcome {
        Outcome::Passed => Check { outcome: Outcome::Warning, advice, ..check },
        _ => check,
    })
}

fn descriptors(case: &Case<'_>) -> Check {
    let name = CheckName::Descriptors;
    let starved = Figure::Count(case.evidence.starved as u64);
    let peak = case.metrics.peak_in_flight as u64;
    let nearly = case.evidence.descriptor_limit.map(|limit| limit - limit / 10).filter(|bound| peak > *bound);
    if let (0, Some(bound)) = (case.evidence.starved, nearly) {
        return Check {
            name,
            outcome: Outcome::Warning,
            scope: Scope::Run,
            figure: Some(Figure::Count(peak)),
            bound: Some(Figure::Count(bound)),
            advice: "requests in flight nearly used up the descriptors of this process: raise `ulimit -n`"
                .into(),
        };
    }
    let advice = "this machine had no descriptor or port left for them, so the load stopped at the client's limit: \
                  raise `ulimit -n`, widen net.ipv4.ip_local_port_range, or use more machines";
    Check::graded(name, starved, Bounds::invalid(Figure::Count(0)), advice)
}

/// Only where there are any: no run is expected to have some.
fn client_errors(case: &Case<'_>) -> Option<Check> {
    let errors = &case.evidence.client_errors;
    let first = errors.first()?;
    let advice = format!(
        "the client failed and ended the run early; the requests that had ended by then are kept. First error: {first}"
    );
    let figure = Figure::Count(errors.len() as u64);
    Some(Check::graded(CheckName::ClientErrors, figure, Bounds::invalid(Figure::Count(0)), &advice))
}
