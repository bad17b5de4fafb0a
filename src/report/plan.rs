//! A plan of capacity, for people.

use std::io::{self, Write};

use super::figures::{NOT_AVAILABLE, milliseconds, percentile, plain, requests_per_second, seconds, share};
use super::text::section;
use crate::judge::plan::check::{Check, Comparison};
use crate::judge::plan::demand::{Demand, Pace};
use crate::judge::plan::pool::{Pool, Unit};
use crate::judge::plan::speed::{Reach, Speed};
use crate::judge::plan::{Fleet, Plan, Service};

/// Writes a plan.
pub fn render(plan: &Plan, to: &mut impl Write) -> io::Result<()> {
    section("KV pool", to)?;
    pool(&plan.pool, to)?;
    section("Requests", to)?;
    requests(plan, to)?;
    section("Capacity", to)?;
    writeln!(to, "Limit: {} concurrent requests, each at its full length", plan.limit)?;
    let stages = plan.at_all_stages;
    let percent = percentile(stages.percent);
    let why = match plan.suggestion < plan.with_headroom {
        true => format!(
            "the {percent} of the demand; {} headroom alone would leave {}",
            share(plan.headroom),
            plan.with_headroom
        ),
        false => format!("{} headroom", share(plan.headroom)),
    };
    writeln!(to, "Suggestion: --max-num-seqs {} ({why})", plan.suggestion)?;
    writeln!(
        to,
        "Requests at all stages: {} fit at {percent} of their demand (drawn, seed {})",
        stages.limit, stages.seed
    )?;
    if let Some(service) = &plan.service {
        served(service, plan.suggestion, to)?;
    }
    match (&plan.fleet, &plan.service) {
        (Some(fleet), Some(service)) => replicas(fleet, service, plan.suggestion, to),
        _ => Ok(()),
    }
}

fn pool(pool: &Pool, to: &mut impl Write) -> io::Result<()> {
    match pool.unit {
        Unit::Tokens => writeln!(to, "Size: {} tokens", pool.capacity)?,
        Unit::Bytes => writeln!(
            to,
            "Size: {} tokens ({:.1} GB of each GPU, {:.0} bytes a token)",
            pool.tokens(),
            pool.capacity as f64 / 1e9,
            pool.cost.per_token()
        )?,
    }
    writeln!(to, "From: {}", pool.origin)?;
    pool.notes.iter().try_for_each(|note| writeln!(to, "Note: {note}"))
}

fn requests(plan: &Plan, to: &mut impl Write) -> io::Result<()> {
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

fn served(service: &Service, suggestion: u64, to: &mut impl Write) -> io::Result<()> {
    section("At this suggestion", to)?;
    speed(service, suggestion, to)?;
    writeln!(to, "Time of a request: {}", seconds_of(service.demand.time_s))?;
    let bound = if service.reach == Some(Reach::Above) { "at most " } else { "" };
    writeln!(
        to,
        "Request rate: {bound}{} (Little's law), with all {suggestion} busy",
        requests_per_second(Some(service.demand.requests_per_s))
    )?;
    demanded(&service.demand, suggestion, to)
}

/// How fast the server answers, from where that is known, and what that means for the suggestion.
fn speed(service: &Service, suggestion: u64, to: &mut impl Write) -> io::Result<()> {
    let times = |pace: Pace| {
        format!("TTFT {}, TPOT {}", milliseconds(Some(pace.ttft)), milliseconds(Some(pace.tpot)))
    };
    match service.speed {
        Speed::Given { pace } => writeln!(to, "Given: {}", times(pace))?,
        Speed::Measured { pace, in_flight, results } => {
            writeln!(to, "Measured: {}, with {in_flight:.1} in flight ({})", times(pace), counted(results))?;
        }
        Speed::Fitted(fit) => {
            writeln!(
                to,
                "Fitted: TPOT {} + {} for each request in flight, {} with {:.1} to {:.1} in flight, off by at most {}",
                line_ms(fit.tpot.base_s),
                line_ms(fit.tpot.per_request_s),
                counted(fit.results),
                fit.lowest,
                fit.highest,
                share(fit.worst_error)
            )?;
            writeln!(to, "With {suggestion} in flight: {}", times(service.pace))?;
        }
    }
    match (service.speed, service.reach) {
        (Speed::Measured { in_flight, .. }, Some(Reach::Above)) => writeln!(
            to,
            "CAUTION: TPOT grows with the requests in flight. It was measured with {in_flight:.1}; with {suggestion} it will be \
             worse, and the rate lower: measure there, or give --result of several concurrencies"
        ),
        (Speed::Measured { in_flight, .. }, Some(Reach::Below)) => writeln!(
            to,
            "Note: TPOT was measured with {in_flight:.1} in flight; with {suggestion} it will be better, and the rate higher"
        ),
        (Speed::Fitted(fit), Some(Reach::Above)) => writeln!(
            to,
            "CAUTION: {suggestion} in flight are beyond what was measured, {:.1}: the line is carried on, and a server that \
             fills up may be slower than that; measure there",
            fit.highest
        ),
        _ => Ok(()),
    }
}

fn line_ms(seconds: f64) -> String {
    plain(Some(1e3 * seconds), "ms")
}

fn counted(results: usize) -> String {
    if results == 1 { "1 result".to_owned() } else { format!("{results} results") }
}

fn seconds_of(value: f64) -> String {
    std::time::Duration::try_from_secs_f64(value).map_or(NOT_AVAILABLE.to_owned(), seconds)
}

/// `most` is how many are computed at once.
fn demanded(demand: &Demand, most: u64, to: &mut impl Write) -> io::Result<()> {
    let name = percentile(demand.percent);
    let (flight, pool) = (demand.in_flight, demand.pool_share);
    let wait = match flight.percentile > most as f64 {
        true => format!(" (random arrivals; above {most} they wait)"),
        false => String::new(),
    };
    writeln!(to, "In flight: mean {:.1}, {name} {:.0}{wait}", flight.mean, flight.percentile)?;
    writeln!(to, "KV pool in use: mean {}, {name} {}", share(pool.mean), share(pool.percentile))
}

fn replicas(fleet: &Fleet, service: &Service, suggestion: u64, to: &mut impl Write) -> io::Result<()> {
    section("Wanted load", to)?;
    writeln!(to, "Wanted: {}", requests_per_second(Some(fleet.wanted_per_s)))?;
    let bound = if service.reach == Some(Reach::Above) { "at least " } else { "" };
    writeln!(
        to,
        "Replicas: {bound}{} ({} by the mean with headroom, {} by {} in flight)",
        fleet.replicas,
        fleet.by_mean,
        fleet.by_percentile,
        percentile(fleet.each.percent)
    )?;
    writeln!(to, "Each: {}", requests_per_second(Some(fleet.each.requests_per_s)))?;
    demanded(&fleet.each, suggestion, to)
}

/// Writes what a run says of the plan.
pub fn render_check(check: &Check, to: &mut impl Write) -> io::Result<()> {
    section("Plan and run", to)?;
    writeln!(to, "{:<46}{:>12}{:>12}{:>10}", "", "plan", "run", "run/plan")?;
    for Comparison { what, unit, planned, shown } in &check.rows {
        let ratio = planned.zip(*shown).filter(|(planned, _)| *planned > 0.0);
        let ratio = ratio.map_or(NOT_AVAILABLE.to_owned(), |(planned, shown)| share(shown / planned));
        let (planned, shown) = (plain(*planned, unit), plain(*shown, unit));
        writeln!(to, "{what:<46}{planned:>12}{shown:>12}{ratio:>10}")?;
    }
    check.findings.iter().try_for_each(|finding| writeln!(to, "{finding}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::run::sample;
    use crate::core::units::Rate;
    use crate::judge::plan::check::check;
    use crate::judge::plan::mix::{Mix, Shape};
    use crate::judge::plan::{HEADROOM, Question, plan};

    fn chapter() -> Plan {
        let shape = Shape { prompt: 500, output: 300 };
        let pace = Pace { ttft: Duration::ZERO, tpot: Duration::from_millis(30) };
        plan(&Question {
            pool: Pool::of_tokens(110_000, "--kv-tokens"),
            mix: Mix::of([shape], "--prompt-tokens, --output-tokens").unwrap(),
            headroom: HEADROOM,
            speed: Some(Speed::Given { pace }),
            wanted: Rate::per_second(40.0),
            percent: 99.0,
            seed: 0,
        })
        .unwrap()
    }

    #[test]
    fn a_plan_says_limit_suggestion_rate_and_replicas() {
        let mut text = Vec::new();
        render(&chapter(), &mut text).unwrap();
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

    #[test]
    fn a_check_has_plan_and_run_side_by_side() {
        let mut text = Vec::new();
        render_check(&check(&chapter(), &sample::run(false)), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("peak in flight (plan: limit)") && text.contains("137"), "{text}");
    }
}
