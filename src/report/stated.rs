//! What a result of another tool states: text, Markdown, CSV and JSON.

use std::io::{self, Write};
use std::time::Duration;

use super::format::{plain_number, share_text};
use super::run_metrics::value_text;
use super::table::{Column, Table};
use super::text::{section, wrapped};
use crate::model::metric_id::MetricId;
use crate::model::metrics::{Latency, SCALARS, TABLE_PERCENTS};
use crate::model::plain_text::{self, one_line};
use crate::model::stated::{StatedLatency, StatedLoad, StatedResult};
use crate::model::units::Rate;
use crate::stats::{Distribution, DurationInterval, Percent};

mod csv;

pub(crate) use self::csv::csv_lines;

/// The verdict on a result that this program did not measure.
pub(crate) const NOT_JUDGED: &str = "not judged";

/// The lowest percentile in tables for people; CSV and JSON have all.
const LOWEST_SHOWN: Percent = 50.0;

/// Writes a result as text.
pub(crate) fn text(result: &StatedResult, to: &mut impl Write) -> io::Result<()> {
    wrapped(&header(result), to)?;
    writeln!(to, "NOT JUDGED: {}", reason(result))?;
    let rows = stated_rows(result);
    if rows.len() > 1 {
        section("Latencies as stated, ms", to)?;
        Table::new(&[Column::LEFT, Column::RIGHT], rows).write(to)?;
    }
    let rows = computed_rows(result);
    if rows.len() > 1 {
        section("Latencies from the file's requests, ms [95 % interval]", to)?;
        Table::new(&[Column::LEFT, Column::LEFT], rows).write(to)?;
    }
    section("Rates and totals as stated", to)?;
    totals(result).into_iter().try_for_each(|(name, value)| writeln!(to, "{name}: {value}"))
}

/// Writes a result as Markdown, for a ticket or a pull request.
pub(crate) fn markdown(result: &StatedResult, to: &mut impl Write) -> io::Result<()> {
    let header = plain_text::markdown(&header(result).join(" · "));
    writeln!(to, "**NOT JUDGED**: {}\n\n{header}\n", plain_text::markdown(&reason(result)))?;
    let mut tables = [stated_rows(result), computed_rows(result)];
    for (rows, title) in tables.iter_mut().zip(["Latency as stated, ms", "Latency from the requests, ms"]) {
        if rows.len() > 1 {
            title.clone_into(&mut rows[0][0]);
            Table::left(std::mem::take(rows)).write_markdown(to)?;
            writeln!(to)?;
        }
    }
    let rows = totals(result).into_iter().map(|(name, value)| vec![name, plain_text::markdown(&value)]);
    let head = vec!["As stated".to_owned(), "value".to_owned()];
    Table::left(std::iter::once(head).chain(rows).collect()).write_markdown(to)
}

/// Writes a result as one line of JSON.
pub(crate) fn json(result: &StatedResult, to: &mut impl Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct Judged<'a> {
        verdict: &'static str,
        #[serde(flatten)]
        result: &'a StatedResult,
    }
    serde_json::to_writer(&mut *to, &Judged { verdict: "not_judged", result })?;
    writeln!(to)
}

/// Tool, model, load, requests and start.
fn header(result: &StatedResult) -> Vec<String> {
    let mut parts = vec![one_line(&result.origin())];
    parts.extend(result.model.iter().map(|model| format!("model {}", one_line(model))));
    parts.extend(load(&result.load));
    parts.extend(
        result.request_count().map(|count| format!("{count} request{}", if count == 1 { "" } else { "s" })),
    );
    parts.extend(result.started.as_deref().map(one_line));
    parts
}

fn reason(result: &StatedResult) -> String {
    format!(
        "{} measured this, not servegauge; `servegauge audit` checks whether the figures fit together",
        one_line(&result.tool.to_string())
    )
}

/// `8 in flight`, `4 req/s, at most 8 in flight`; `None` if the file states no load.
pub(crate) fn load(load: &StatedLoad) -> Option<String> {
    let is_paced = load.request_rate.is_some_and(Rate::is_finite);
    match (load.request_rate, load.max_concurrency) {
        (Some(rate), Some(most)) if is_paced => Some(format!("{rate} req/s, at most {most} in flight")),
        (_, Some(most)) => Some(format!("{most} in flight")),
        (Some(rate), None) if is_paced => Some(format!("{rate} req/s")),
        (Some(_), None) => Some("all at once".to_owned()),
        (None, None) => None,
    }
}

/// The percentiles that any latency has, ascending, without the low ones.
pub(super) fn percents(result: &StatedResult) -> Vec<Percent> {
    let all = result.latencies.values().flat_map(|stated| &stated.percentiles).map(|stated| stated.p);
    let mut percents: Vec<Percent> = all.filter(|p| *p >= LOWEST_SHOWN).collect();
    percents.sort_unstable_by(f64::total_cmp);
    percents.dedup();
    percents
}

/// The latencies in the order of reports.
pub(super) fn latencies(result: &StatedResult) -> impl Iterator<Item = (Latency, &StatedLatency)> {
    Latency::ALL.into_iter().filter_map(|latency| Some((latency, result.latencies.get(&latency)?)))
}

/// The stated statistics below their names. A column that no latency has is left out.
pub(super) fn stated_rows(result: &StatedResult) -> Vec<Vec<String>> {
    type Statistic = (String, Box<dyn Fn(&StatedLatency) -> Option<f64>>);
    let single =
        |name: &str, of: fn(&StatedLatency) -> Option<f64>| (name.to_owned(), Box::new(of) as Box<_>);
    let percents = percents(result).into_iter();
    let percents = percents
        .map(|p| (format!("P{p}"), Box::new(move |stated: &StatedLatency| stated.percentile(p)) as Box<_>));
    let mut columns: Vec<Statistic> = vec![
        single("mean", |stated| stated.mean_ms),
        single("std", |stated| stated.std_ms),
        single("min", |stated| stated.min_ms),
    ];
    columns.extend(percents);
    columns.push(single("max", |stated| stated.max_ms));
    columns.retain(|(_, of)| result.latencies.values().any(|stated| of(stated).is_some()));
    let has_n = result.latencies.values().any(|stated| stated.n.is_some());
    let names = columns.iter().map(|(name, _)| name.clone());
    let mut head: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    head.extend(has_n.then(|| "n".to_owned()));
    let mut rows = vec![head];
    for (latency, stated) in latencies(result) {
        let cells = columns.iter().map(|(_, of)| of(stated).map(number).unwrap_or_default());
        let mut row: Vec<String> = std::iter::once(latency.symbol().to_owned()).chain(cells).collect();
        row.extend(has_n.then(|| stated.n.map(|n| n.to_string()).unwrap_or_default()));
        rows.push(row);
    }
    rows
}

/// The statistics that follow from the requests of the file, below their names.
fn computed_rows(result: &StatedResult) -> Vec<Vec<String>> {
    let names = TABLE_PERCENTS.into_iter().map(|p| format!("P{p}"));
    let head = [String::new(), "mean".to_owned()].into_iter().chain(names).chain(["n".to_owned()]);
    let mut rows = vec![head.collect::<Vec<_>>()];
    for (latency, found) in result.distributions(&TABLE_PERCENTS) {
        rows.push(computed_row(latency, &found));
    }
    rows
}

fn computed_row(latency: Latency, found: &Distribution) -> Vec<String> {
    let ms = |value: Duration| number(value.as_secs_f64() * 1e3);
    let cell = |value, interval: Option<DurationInterval>| match interval {
        Some(interval) => format!("{} [{}, {}]", ms(value), ms(interval.low), ms(interval.high)),
        None => ms(value),
    };
    let percentiles = found.percentiles.iter().map(|percentile| cell(percentile.value, percentile.interval));
    let mut row = vec![latency.symbol().to_owned(), cell(found.mean, found.mean_interval)];
    row.extend(percentiles);
    row.push(found.n.to_string());
    row
}

fn number(value: f64) -> String {
    plain_number(Some(value), "")
}

/// Counts, rates and totals with their names, as far as they are stated.
pub(super) fn totals(result: &StatedResult) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    if let Some(completed) = result.completed {
        let failed =
            result.failed.map_or("failures not counted".to_owned(), |failed| format!("{failed} failed"));
        let unfinished = result.unfinished.filter(|count| *count > 0);
        let unfinished = unfinished.map(|count| format!(", {count} unfinished")).unwrap_or_default();
        lines.push(("Requests".to_owned(), format!("{completed} answered, {failed}{unfinished}")));
    }
    lines.extend(result.failure_rate().map(|share| ("Failure rate".to_owned(), share_text(share))));
    lines.extend(result.duration_s.map(|seconds| ("Duration".to_owned(), format!("{seconds:.2} s"))));
    for (id, value) in rates(result) {
        lines.push((id.label(), value_text(id, value)));
    }
    lines.extend(
        result.arrival_rate.map(|rate| ("Achieved arrival rate".to_owned(), format!("{rate:.2} req/s"))),
    );
    lines.extend(
        result.mean_in_flight.map(|mean| ("Mean requests in flight".to_owned(), format!("{mean:.2}"))),
    );
    for (name, tokens) in [("Input tokens", &result.input_tokens), ("Output tokens", &result.output_tokens)] {
        let recount = tokens
            .recount
            .map(|recount| format!(" ({}: {recount})", result.tool.recount_name()))
            .unwrap_or_default();
        lines.extend(tokens.total.map(|total| (name.to_owned(), format!("{total}{recount}"))));
    }
    lines.extend(result.distinct_prompts.map(|count| ("Different prompts".to_owned(), count.to_string())));
    lines
}

/// The stated rates in the order of reports.
pub(super) fn rates(result: &StatedResult) -> impl Iterator<Item = (MetricId, f64)> {
    let stated = |key: &str| Some((MetricId::scalar(key)?, *result.rates.get(key)?));
    SCALARS.iter().filter_map(move |scalar| stated(scalar.key))
}
