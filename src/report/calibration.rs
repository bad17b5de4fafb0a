//! A calibration as text: the facts, the coefficients, the errors, and what the runs do not tell.

use std::io::{self, Write};
use std::path::Path;

use super::table::{Column, Table};
use super::text::section;
use crate::predict::server_model::{EngineFacts, FactSource, RunCheck, ServerModel};

/// Writes a model, and where it was saved.
pub(crate) fn render(model: &ServerModel, saved: Option<&Path>, to: &mut impl Write) -> io::Result<()> {
    section("Engine", to)?;
    facts(&model.facts, to)?;
    section("Times", to)?;
    coefficients(model, to)?;
    if !model.runs.is_empty() {
        section("Error of the simulated runs", to)?;
        errors(model, to)?;
    }
    if !model.points.is_empty() {
        section("Error of TPOT of results that have only means", to)?;
        points(model, to)?;
    }
    if !model.not_identified.is_empty() {
        section("Not known", to)?;
        model.not_identified.iter().try_for_each(|sentence| writeln!(to, "- {sentence}"))?;
    }
    if !model.doubts.is_empty() {
        section("The server reported otherwise", to)?;
        model.doubts.iter().try_for_each(|sentence| writeln!(to, "- {sentence}"))?;
    }
    section("Seen", to)?;
    seen(model, to)?;
    match saved {
        Some(path) => writeln!(to, "Model: {}", path.display()),
        None => Ok(()),
    }
}

fn facts(facts: &EngineFacts, to: &mut impl Write) -> io::Result<()> {
    let source = |source| match source {
        FactSource::Flag => "a flag",
        FactSource::Log => "the start-up log",
        FactSource::Metrics => "the server's metrics",
        FactSource::Assumed => "ASSUMED: nobody states it, and a wrong value makes predictions wrong",
    };
    let rows = facts.by_name().into_iter();
    let rows = rows
        .map(|(name, fact)| vec![name.to_owned(), fact.value.to_string(), source(fact.source).to_owned()]);
    Table::new(&[Column::LEFT, Column::RIGHT, Column::LEFT], rows.collect()).write(to)
}

/// A time in the unit that shows it best.
fn time(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        _ if seconds < 1e-6 => format!("{:.3} ns", seconds * 1e9),
        _ if seconds < 1e-3 => format!("{:.3} µs", seconds * 1e6),
        _ => format!("{:.3} ms", seconds * 1e3),
    }
}

fn coefficients(model: &ServerModel, to: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![["", "time", "90 % interval"].map(ToOwned::to_owned).to_vec()];
    for estimate in &model.coefficients {
        let [low, high] = estimate.interval.map(time);
        rows.push(vec![estimate.name.clone(), time(estimate.value), format!("{low} to {high}")]);
    }
    Table::new(&[Column::LEFT, Column::RIGHT, Column::LEFT], rows).write(to)
}

fn errors(model: &ServerModel, to: &mut impl Write) -> io::Result<()> {
    let checks = || {
        model.runs.iter().map(|run| ("fitted", run)).chain(model.holdout.iter().map(|run| ("held out", run)))
    };
    let names = checks().next().map(|(_, run)| run.simulated.by_name().map(|(name, _)| name.to_owned()));
    let header = ["run".to_owned(), String::new()].into_iter().chain(names.into_iter().flatten());
    let mut rows: Vec<Vec<String>> = vec![header.collect()];
    for (part, run) in checks() {
        rows.push(error_row(part, run));
    }
    Table::new(&ERROR_COLUMNS, rows).write(to)
}

const ERROR_COLUMNS: [Column; 8] = [
    Column::LEFT,
    Column::LEFT,
    Column::RIGHT,
    Column::RIGHT,
    Column::RIGHT,
    Column::RIGHT,
    Column::RIGHT,
    Column::RIGHT,
];

fn error_row(part: &str, run: &RunCheck) -> Vec<String> {
    let errors = run.simulated.errors(&run.measured).map(|(_, error)| format!("{:+.1} %", 100.0 * error));
    [run.name.clone(), part.to_owned()].into_iter().chain(errors).collect()
}

fn points(model: &ServerModel, to: &mut impl Write) -> io::Result<()> {
    let rows = model.points.iter().map(|point| {
        let error = point.fitted_tpot / point.measured_tpot - 1.0;
        vec![
            point.name.clone(),
            format!("{} in flight", point.concurrency),
            format!("{:+.1} %", 100.0 * error),
        ]
    });
    Table::new(&[Column::LEFT, Column::RIGHT, Column::RIGHT], rows.collect()).write(to)
}

fn seen(model: &ServerModel, to: &mut impl Write) -> io::Result<()> {
    let [shortest, longest] = model.prompt_tokens;
    let hull = &model.hull;
    let least = hull.least_decode_seqs.filter(|least| *least > 1);
    let least = least.map(|least| format!(" (rarely fewer than {least})")).unwrap_or_default();
    writeln!(
        to,
        "Steps of up to {} sequences{least}, {} tokens of context and {} prompt tokens; prompts of {shortest} to {longest} tokens.",
        hull.decode_seqs, hull.kv_tokens, hull.prefill_tokens
    )?;
    writeln!(to, "Predictions beyond that extrapolate.")
}
