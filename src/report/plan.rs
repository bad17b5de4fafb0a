//! A capacity plan as text.

use std::io::{self, Write};

use super::text::section;
use crate::analysis::plan::check::{PlanCheck, PlanComparison};
use crate::analysis::plan::demand::{LoadDemand, ServiceTime};
use crate::analysis::plan::pool::{KvPool, PoolUnit};
use crate::analysis::plan::speed::{ConcurrencyReach, ServerSpeed};
use crate::analysis::plan::{CapacityPlan, ReplicaPlan, ServiceCapacity};
use crate::model::plain_text::one_line;
use crate::report::format::{
    NOT_AVAILABLE, milliseconds, percentile_name, plain_number, requests_per_second, seconds, share_text,
};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Writes a plan.
pub(crate) fn render(plan: &CapacityPlan, to: &mut impl Write) -> io::Result<()> {
    for (title, text) in sections(plan)? {
        section(title, to)?;
        to.write_all(&text)?;
    }
    Ok(())
}

/// Writes the command that predicts the same load with a model.
pub(crate) fn render_prediction(command: &str, to: &mut impl Write) -> io::Result<()> {
    section("Next", to)?;
    writeln!(to, "A plan is arithmetic with means. The model simulates queues and bursts, with intervals:")?;
    writeln!(to, "  {}", one_line(command))
}

/// The titles and the lines of the plan's sections.
pub(super) fn sections(plan: &CapacityPlan) -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    let mut sections: Vec<(&str, Vec<u8>)> =
        ["KV pool", "Requests", "Capacity"].map(|title| (title, Vec::new())).into();
    pool(&plan.pool, &mut sections[0].1)?;
    requests(plan, &mut sections[1].1)?;
    capacity(plan, &mut sections[2].1)?;
    if let Some(service) = &plan.service {
        let mut text = Vec::new();
        served(service, plan.suggestion, &mut text)?;
        sections.push(("At this suggestion", text));
    }
    if let (Some(fleet), Some(service)) = (&plan.fleet, &plan.service) {
        let mut text = Vec::new();
        replicas(fleet, service, plan.suggestion, &mut text)?;
        sections.push(("Wanted load", text));
    }
    Ok(sections)
}

fn capacity(plan: &CapacityPlan, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "Limit: {} concurrent requests, each at its full length", plan.limit)?;
    let stages = plan.at_all_stages;
    let percent = percentile_name(stages.percent);
    let why = match plan.suggestion < plan.with_headroom {
        true => format!(
            "the {percent} of the demand; {} headroom alone would leave {}",
            share_text(plan.headroom),
            plan.with_headroom
        ),
        false => format!("{} headroom", share_text(plan.headroom)),
    };
    writeln!(to, "Suggestion: --max-num-seqs {} ({why})", plan.suggestion)?;
    writeln!(
        to,
        "Requests at all stages: {} fit at {percent} of their demand (drawn, seed {})",
        stages.limit, stages.seed
    )
}

fn pool(pool: &KvPool, to: &mut impl Write) -> io::Result<()> {
    match pool.unit {
        PoolUnit::Tokens => writeln!(to, "Size: {} tokens", pool.capacity)?,
        PoolUnit::Bytes => sized(pool, to)?,
    }
    writeln!(to, "From: {}", pool.origin)?;
    for line in &pool.memory {
        writeln!(to, "{:>10.2} GiB {} ({})", line.bytes as f64 / GIB, line.what, line.source)?;
    }
    pool.notes.iter().try_for_each(|note| writeln!(to, "Note: {note}"))
}

fn sized(pool: &KvPool, to: &mut impl Write) -> io::Result<()> {
    let (gigabytes, cost) = (pool.capacity as f64 / 1e9, pool.cost);
    match pool.tokens() {
        Some(tokens) => write!(
            to,
            "Size: {tokens} tokens ({gigabytes:.1} GB of each GPU, {:.0} bytes per token",
            cost.per_token()
        )?,
        None => write!(to, "Size: {gigabytes:.1} GB of each GPU (no KV cache per token")?,
    }
    if cost.state > 0.0 {
        write!(to, " and {:.0} per sequence", cost.state)?;
    }
    writeln!(to, ")")
}

fn requests(plan: &CapacityPlan, to: &mut impl Write) -> io::Result<()> {
    let requests = &plan.requests;
    let [prompt, output, total] = [requests.prompt_tokens, requests.output_tokens, requests.total_tokens];
    match total.n {
        1 => writeln!(to, "From: {}", requests.origin)?,
        n => writeln!(to, "From: {} ({n} requests)", requests.origin)?,
    }
    writeln!(
        to,
        "Mean tokens: {:.0} ({:.0} prompt, {:.0} output); P99 {:.0}, longest {}",
        total.mean, prompt.mean, output.mean, total.p99, total.max
    )
}

fn served(service: &ServiceCapacity, suggestion: u64, to: &mut impl Write) -> io::Result<()> {
    speed(service, suggestion, to)?;
    writeln!(to, "Time of a request: {}", seconds_of(service.demand.time_s))?;
    let bound = if service.reach == Some(ConcurrencyReach::Above) { "at most " } else { "" };
    writeln!(
        to,
        "Request rate: {bound}{} (Little's law), with all {suggestion} busy",
        requests_per_second(Some(service.demand.requests_per_s))
    )?;
    demanded(&service.demand, suggestion, to)
}

/// Writes how fast the server answers, the source of that, and its meaning for the suggestion.
fn speed(service: &ServiceCapacity, suggestion: u64, to: &mut impl Write) -> io::Result<()> {
    let times = |pace: ServiceTime| {
        format!("TTFT {}, TPOT {}", milliseconds(Some(pace.ttft)), milliseconds(Some(pace.tpot)))
    };
    match service.speed {
        ServerSpeed::Given { pace } => writeln!(to, "Given: {}", times(pace))?,
        ServerSpeed::Measured { pace, in_flight, results } => {
            writeln!(to, "Measured: {}, with {in_flight:.1} in flight ({})", times(pace), counted(results))?;
        }
        ServerSpeed::Fitted(fit) => {
            writeln!(
                to,
                "Fitted: TPOT {} + {} for each request in flight, {} with {:.1} to {:.1} in flight, off by at most {}",
                line_ms(fit.tpot.base_s),
                line_ms(fit.tpot.per_request_s),
                counted(fit.results),
                fit.lowest,
                fit.highest,
                share_text(fit.worst_error)
            )?;
            writeln!(to, "With {suggestion} in flight: {}", times(service.pace))?;
        }
    }
    match (service.speed, service.reach) {
        (ServerSpeed::Measured { in_flight, .. }, Some(ConcurrencyReach::Above)) => writeln!(
            to,
            "CAUTION: TPOT grows with the requests in flight. It was measured with {in_flight:.1}; with {suggestion} it will be \
             longer, and the rate lower: measure there, or give `plan.result` of several concurrencies"
        ),
        (ServerSpeed::Measured { in_flight, .. }, Some(ConcurrencyReach::Below)) => writeln!(
            to,
            "Note: TPOT was measured with {in_flight:.1} in flight; with {suggestion} it will be shorter, and the rate higher"
        ),
        (ServerSpeed::Fitted(fit), Some(ConcurrencyReach::Above)) => writeln!(
            to,
            "CAUTION: {suggestion} in flight is extrapolated: the highest measured concurrency is {:.1}, and a server near \
             saturation may be slower than the fit; measure there",
            fit.highest
        ),
        _ => Ok(()),
    }
}

fn line_ms(seconds: f64) -> String {
    plain_number(Some(1e3 * seconds), "ms")
}

fn counted(results: usize) -> String {
    if results == 1 { "1 result".to_owned() } else { format!("{results} results") }
}

fn seconds_of(value: f64) -> String {
    std::time::Duration::try_from_secs_f64(value).map_or(NOT_AVAILABLE.to_owned(), seconds)
}

/// Writes the demand; `most` is how many requests the server computes at once.
fn demanded(demand: &LoadDemand, most: u64, to: &mut impl Write) -> io::Result<()> {
    let name = percentile_name(demand.percent);
    let (flight, pool) = (demand.in_flight, demand.pool_share);
    let wait = match flight.percentile > most as f64 {
        true => format!(" (random arrivals; above {most} they wait)"),
        false => String::new(),
    };
    writeln!(to, "In flight: mean {:.1}, {name} {:.0}{wait}", flight.mean, flight.percentile)?;
    writeln!(to, "KV pool in use: mean {}, {name} {}", share_text(pool.mean), share_text(pool.percentile))
}

fn replicas(
    fleet: &ReplicaPlan,
    service: &ServiceCapacity,
    suggestion: u64,
    to: &mut impl Write,
) -> io::Result<()> {
    writeln!(to, "Wanted: {}", requests_per_second(Some(fleet.wanted_per_s)))?;
    let bound = if service.reach == Some(ConcurrencyReach::Above) { "at least " } else { "" };
    writeln!(
        to,
        "Replicas: {bound}{} ({} by the mean with headroom, {} by {} in flight)",
        fleet.replicas,
        fleet.by_mean,
        fleet.by_percentile,
        percentile_name(fleet.each.percent)
    )?;
    writeln!(to, "Each: {}", requests_per_second(Some(fleet.each.requests_per_s)))?;
    demanded(&fleet.each, suggestion, to)
}

/// Writes how the plan compares with a run.
pub(crate) fn render_check(check: &PlanCheck, to: &mut impl Write) -> io::Result<()> {
    section("Plan and run", to)?;
    writeln!(to, "{:<46}{:>12}{:>12}{:>10}", "", "plan", "run", "run/plan")?;
    for row in &check.rows {
        let [what, planned, shown, ratio] = check_cells(row);
        writeln!(to, "{what:<46}{planned:>12}{shown:>12}{ratio:>10}")?;
    }
    check.findings.iter().try_for_each(|finding| writeln!(to, "{finding}"))
}

/// The quantity, its planned and its measured value, and their ratio as text.
pub(super) fn check_cells(row: &PlanComparison) -> [String; 4] {
    let ratio = row.ratio().map_or(NOT_AVAILABLE.to_owned(), share_text);
    let [planned, shown] = [row.planned, row.shown].map(|value| plain_number(value, row.unit));
    [row.what.to_owned(), planned, shown, ratio]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::plan::check::check_plan;
    use crate::analysis::plan::mix::{RequestLengths, RequestMix};
    use crate::analysis::plan::{PlanInput, plan};
    use crate::analysis::search::DEFAULT_HEADROOM;
    use crate::model::units::Rate;
    use crate::testing::sample_run;

    fn guide_example() -> CapacityPlan {
        let shape = RequestLengths { prompt: 500, output: 300 };
        let pace = ServiceTime { ttft: Duration::ZERO, tpot: Duration::from_millis(30) };
        plan(&PlanInput {
            pool: KvPool::from_tokens(110_000, "the log"),
            mix: RequestMix::from_lengths([shape], "one length").unwrap(),
            headroom: DEFAULT_HEADROOM,
            speed: Some(ServerSpeed::Given { pace }),
            wanted: Rate::per_second(40.0),
            percent: 99.0,
            seed: 0,
        })
        .unwrap()
    }

    #[test]
    fn a_plan_says_limit_suggestion_rate_and_replicas() {
        let mut text = Vec::new();
        render(&guide_example(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "Size: 110000 tokens\n",
            "Limit: 137 concurrent requests",
            "Suggestion: --max-num-seqs 96 (30.0 % headroom)",
            "Time of a request: 8.97 s",
            "Request rate: 10.70 req/s",
            "Replicas: 4 (4 by the mean",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    /// Few requests are very long, but at most instants one of the few in flight is, so fewer fit than the headroom
    /// leaves.
    #[test]
    fn a_suggestion_that_the_demand_bounds_says_what_headroom_alone_would_leave() {
        let shapes = [10, 10, 10, 4000].map(|output| RequestLengths { prompt: 10, output });
        let plan = plan(&PlanInput {
            pool: KvPool::from_tokens(20_000, "the log"),
            mix: RequestMix::from_lengths(shapes, "flags").unwrap(),
            headroom: DEFAULT_HEADROOM,
            speed: None,
            wanted: None,
            percent: 99.0,
            seed: 0,
        })
        .unwrap();
        let mut text = Vec::new();
        render(&plan, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        // 20,000 / 1,017.5 tokens is 19, and 70 % of that is 13.
        assert!((plan.limit, plan.with_headroom) == (19, 13) && plan.suggestion < 13, "{text}");
        let line = format!(
            "Suggestion: --max-num-seqs {} (the P99 of the demand; 30.0 % headroom alone would leave 13)\n",
            plan.at_all_stages.limit
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }

    #[test]
    fn a_check_has_plan_and_run_side_by_side() {
        let mut text = Vec::new();
        render_check(&check_plan(&guide_example(), &sample_run::run(false)), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("peak in flight (plan: limit)") && text.contains("137"), "{text}");
    }
}
