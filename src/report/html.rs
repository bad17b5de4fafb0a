//! A run, several side by side, or the result of another command as one HTML file: without a network, without a server, readable without JavaScript.
//!
//! The page is made of the saved Runs alone, and its bytes depend on nothing else. Every chart has a table of what it
//! shows. What a Run does not hold is absent, with the reason.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Zoned;

use crate::analysis::ab::AbComparison;
use crate::analysis::compare::Comparison;
use crate::analysis::gate::GateReport;
use crate::analysis::plan::CapacityPlan;
use crate::analysis::plan::check::PlanCheck;
use crate::model::run::Run;
use crate::model::run_records::SampledRecords;
use crate::report::search::SearchReport;
use crate::report::sweep::SweepReport;
use crate::report::text::header;

mod axis;
mod block_pairs;
mod chart;
mod comparison;
mod distributions;
mod failures;
mod foreign_text;
mod gate_rules;
mod heat_map;
mod interval_rows;
mod latency_values;
mod load_curve;
mod measured;
mod over_time;
mod page;
mod phases;
mod plan;
mod prompt_length;
mod run_marks;
mod search_trials;
mod server_over_time;
mod session_turns;
mod side_by_side;
mod side_distributions;
mod slo_attainment;
mod stated;
mod summary;
mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod time_chart;
mod time_points;
mod where_time_goes;

use foreign_text::{NAME, foreign_text};
use page::Page;
pub(crate) use side_by_side::PageResult;
pub(crate) use side_distributions::SideLatencies;
use summary::Summary;

/// Writes the page of one run.
pub(crate) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let mut sections = vec![measured::metrics(run), distributions::section(run), over_time::section(run)];
    sections.push(where_time_goes::section(run));
    sections.extend(slo_attainment::section(run));
    let mut details = heat_map::section(run);
    prompt_length::add_to(&mut details, run);
    sections.push(details);
    sections.extend([failures::section(run), measured::checks(run), measured::measured(run)]);
    let page = Page {
        title: foreign_text(&run.spec.target.model, NAME),
        subtitle: format!(
            "{} · {}{}",
            header::load(&run.spec.load),
            run.started.strftime("%Y-%m-%d %H:%M:%S %:z"),
            sampling(run)
        ),
        summary: Some(Summary::from_run(run)),
        sections,
    };
    page.write(to)
}

/// Says that charts of single requests show a sample.
fn sampling(run: &Run) -> String {
    let note = |sampled: &SampledRecords| {
        format!(
            " · {} requests: charts of single requests show a sample of {}",
            sampled.requests, sampled.sample
        )
    };
    run.sampled.as_ref().map(note).unwrap_or_default()
}

/// Writes the page of several results, each with its name.
pub(crate) fn render_several(results: &[(&str, PageResult<'_>)], to: &mut impl Write) -> io::Result<()> {
    let runs = side_by_side::runs(results);
    let invalid = runs.iter().filter(|(_, run)| !run.validity.valid).count();
    let others = results.len() - runs.len();
    let counts = [(invalid, "INVALID"), (others, "not judged")].into_iter().filter(|(count, _)| *count > 0);
    let subtitle = std::iter::once(span(&runs)).filter(|span| !span.is_empty());
    let subtitle = subtitle.chain(counts.map(|(count, words)| format!("{count} {words}")));
    let mut sections = vec![side_by_side::metrics(results)];
    sections.extend(stated::section(results));
    if !runs.is_empty() {
        sections.extend([load_curve::section(&runs), side_distributions::section(&each_run(&runs))]);
    }
    sections.push(side_by_side::measured(results));
    let page = Page {
        title: match results {
            [(name, _)] => foreign_text(name, NAME),
            _ if others == 0 => format!("{} runs side by side", runs.len()),
            _ => format!("{} results side by side", results.len()),
        },
        subtitle: subtitle.collect::<Vec<_>>().join(", "),
        summary: None,
        sections,
    };
    page.write(to)
}

/// The latencies of runs, each by itself.
fn each_run(runs: &[(&str, &Run)]) -> Vec<SideLatencies> {
    runs.iter().map(|(name, run)| SideLatencies::from_runs(name, std::iter::once(*run))).collect()
}

/// Writes the page of a comparison and of the results that it compares, each with its name, with the latencies of the
/// sides that have requests.
pub(crate) fn render_comparison(
    comparison: &Comparison,
    results: &[(&str, PageResult<'_>)],
    latencies: &[SideLatencies],
    to: &mut impl Write,
) -> io::Result<()> {
    let runs = side_by_side::runs(results);
    let names = comparison.candidates.iter().map(|candidate| foreign_text(&candidate.party.name, NAME));
    let page = Page {
        title: format!(
            "{} against {}",
            names.collect::<Vec<_>>().join(", "),
            foreign_text(&comparison.base.name, NAME)
        ),
        subtitle: span(&runs),
        summary: None,
        sections: [comparison::of_runs(comparison)]
            .into_iter()
            .chain((!latencies.is_empty()).then(|| side_distributions::section(latencies)))
            .chain([side_by_side::metrics(results), side_by_side::measured(results)])
            .collect(),
    };
    page.write(to)
}

/// Writes the page of a gate.
pub(crate) fn render_gate(ruling: &GateReport, to: &mut impl Write) -> io::Result<()> {
    let page = Page {
        title: format!("Gate: {}", foreign_text(&ruling.candidate.name, NAME)),
        subtitle: format!("{} rules", ruling.findings.len()),
        summary: None,
        sections: vec![gate_rules::section(ruling)],
    };
    page.write(to)
}

/// Writes the page of a search.
pub(crate) fn render_search(report: &SearchReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let page = Page {
        title: "Search for the highest load".to_owned(),
        subtitle: format!("{} trials", report.search.trials().len()),
        summary: None,
        sections: vec![search_trials::answer(report), search_trials::trials(report)],
    };
    page.write(to)
}

/// Writes the page of an A/B comparison, with the latencies of A and B.
pub(crate) fn render_ab(
    ab: &AbComparison,
    latencies: &[SideLatencies; 2],
    to: &mut impl Write,
) -> io::Result<()> {
    let [a, b] = ab.design.servers.each_ref().map(|server| foreign_text(server, NAME));
    let page = Page {
        title: format!("{b} against {a}"),
        subtitle: format!("A: {a} · B: {b}"),
        summary: None,
        sections: vec![
            comparison::of_servers(ab),
            side_distributions::section(latencies),
            block_pairs::section(ab),
        ],
    };
    page.write(to)
}

/// Writes the page of a sweep.
pub(crate) fn render_sweep(report: &SweepReport<'_>, to: &mut impl Write) -> io::Result<()> {
    let mut sections = vec![sweep::sets(report.ranking)];
    sections.extend(sweep::searches(report.capacities));
    sections.push(sweep::curves(report));
    sections.extend(sweep::levels(report.ranking));
    sections.push(sweep::measured(report));
    let sets: BTreeSet<&str> = report.cells.iter().map(|cell| cell.set).collect();
    let loads: BTreeSet<&str> = report.cells.iter().map(|cell| cell.load).collect();
    let interrupted = if report.interrupted { ", interrupted" } else { "" };
    let page = Page {
        title: "Sweep".to_owned(),
        subtitle: format!(
            "{} sets, {} loads, {} cells{interrupted}",
            sets.len(),
            loads.len(),
            report.cells.len()
        ),
        summary: None,
        sections,
    };
    page.write(to)
}

/// Writes the page of a plan that was checked against a run.
pub(crate) fn render_plan(plan: &CapacityPlan, check: &PlanCheck, to: &mut impl Write) -> io::Result<()> {
    let page = Page {
        title: "Capacity plan against a run".to_owned(),
        subtitle: format!("at most {} concurrent requests, suggested {}", plan.limit, plan.suggestion),
        summary: None,
        sections: vec![plan::check(check), plan::planned(plan)],
    };
    page.write(to)
}

/// From when to when the runs were measured.
fn span(runs: &[(&str, &Run)]) -> String {
    let started = || runs.iter().map(|(_, run)| &run.started);
    let text = |time: Option<&Zoned>| time.map(|time| time.strftime("%Y-%m-%d %H:%M:%S %:z").to_string());
    let (first, last) =
        (text(started().min()).unwrap_or_default(), text(started().max()).unwrap_or_default());
    if first == last { first } else { format!("{first} to {last}") }
}
