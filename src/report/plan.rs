//! A plan of capacity, for people.

use std::io::{self, Write};

use super::figures::{NOT_AVAILABLE, milliseconds, percentile, plain, requests_per_second, seconds, share};
use super::text::section;
use crate::judge::plan::check::{Check, Comparison};
use crate::judge::plan::demand::Demand;
use crate::judge::plan::pool::{Pool, Unit};
use crate::judge::plan::{Fleet, Plan, Service};

/// Writes a plan.
pub fn render(plan: &Plan, to: &mut impl Write) -> io::Result<()> {
    section("KV pool", to)?;
    pool(&plan.pool, to)?;
    section("Requests", to)?;
    requests(plan, to)?;
    section("Capacity", to)?;
    writeln!(to, "Limit: {} concurrent requests, each at its full length", plan.limit)?;
    writeln!(to, "Suggestion: --max-num-seqs {} ({} headroom)", plan.suggestion, share(plan.headroom))?;
    let stages = plan.at_all_stages;
    writeln!(
        to,
        "Requests at all stages: {} fit at {} of their demand (drawn, seed {})",
        stages.limit,
        percentile(stages.percent),
        stages.seed
    )?;
    if let Some(service) = &plan.service {
        served(service, to)?;
    }
    match &plan.fleet {
        Some(fleet) => replicas(fleet, to),
        None => Ok(()),
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

fn served(service: &Service, to: &mut impl Write) -> io::Result<()> {
    let pace = service.pace;
    section("At this suggestion", to)?;
    writeln!(to, "Given: TTFT {}, TPOT {}", milliseconds(Some(pace.ttft)), milliseconds(Some(pace.tpot)))?;
    writeln!(to, "Time of a request: {}", seconds_of(service.demand.time_s))?;
    writeln!(
        to,
        "Request rate: {} (Little's law)",
        requests_per_second(Some(service.demand.requests_per_s))
    )?;
    demanded(&service.demand, to)
}

fn seconds_of(value: f64) -> String {
    std::time::Duration::try_from_secs_f64(value).map_or(NOT_AVAILABLE.to_owned(), seconds)
}

fn demanded(demand: &Demand, to: &mut impl Write) -> io::Result<()> {
    let name = percentile(demand.percent);
    let (flight, pool) = (demand.in_flight, demand.pool_share);
    writeln!(to, "In flight: mean {:.1}, {name} {:.0}", flight.mean, flight.percentile)?;
    writeln!(to, "KV pool in use: mean {}, {name} {}", share(pool.mean), share(pool.percentile))
}

fn replicas(fleet: &Fleet, to: &mut impl Write) -> io::Result<()> {
    section("Wanted load", to)?;
    writeln!(to, "Wanted: {}", requests_per_second(Some(fleet.wanted_per_s)))?;
    writeln!(
        to,
        "Replicas: {} ({} by the mean with headroom, {} by {} in flight)",
        fleet.replicas,
        fleet.by_mean,
        fleet.by_percentile,
        percentile(fleet.each.percent)
    )?;
    writeln!(to, "Each: {}", requests_per_second(Some(fleet.each.requests_per_s)))?;
    demanded(&fleet.each, to)
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
    use crate::judge::plan::demand::Pace;
    use crate::judge::plan::mix::{Mix, Shape};
    use crate::judge::plan::{HEADROOM, Question, plan};

    fn chapter() -> Plan {
        let shape = Shape { prompt: 500, output: 300 };
        let pace = Pace { ttft: Duration::ZERO, tpot: Duration::from_millis(30) };
        plan(&Question {
            pool: Pool::of_tokens(110_000, "--kv-tokens"),
            mix: Mix::of([shape], "--prompt-tokens, --output-tokens").unwrap(),
            headroom: HEADROOM,
            pace: Some(pace),
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
