//! Several runs of one Spec: the means of their metrics, the means' intervals, and the spread between runs.

use std::io::{self, Write};

use super::compare::{with_unit, without_unit};
use super::table::Table;
use super::text::section;
use crate::analysis::compare::MetricSample;
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::SCALARS;
use crate::model::run::Run;
use crate::report::format::bounds_text;

/// Writes the table; writes nothing without runs.
pub(crate) fn render(runs: &[Run], to: &mut impl Write) -> io::Result<()> {
    let Some(first) = runs.first() else { return Ok(()) };
    section("Repeats", to)?;
    let seeds: Vec<String> = runs.iter().map(|run| run.spec.seed.to_string()).collect();
    match runs.len() {
        1 => writeln!(to, "1 run, seed {}", seeds[0])?,
        count => writeln!(to, "{count} runs, seeds {}", seeds.join(", "))?,
    }
    let head = ["Metric", "Mean of runs", "95 % interval", "Min", "Max", "Spread", "Runs"];
    let rows = reported_metrics(first)
        .into_iter()
        .filter_map(|figure| Some(row(figure, &MetricSample::from_runs(runs, figure)?)));
    let rows: Vec<_> = std::iter::once(head.map(ToOwned::to_owned).to_vec()).chain(rows).collect();
    Table::left(rows).write(to)?;
    if runs.len() == 1 {
        writeln!(
            to,
            "One run does not show how much runs vary: its intervals cover the variation within the run only."
        )?;
    }
    let invalid = runs.iter().filter(|run| !run.validity.valid).count();
    if invalid > 0 {
        writeln!(to, "INVALID: {invalid} of {} runs, each for the reasons in its own report", runs.len())?;
    }
    Ok(())
}

fn reported_metrics(run: &Run) -> Vec<MetricId> {
    let mut statistics = vec![Statistic::Mean, Statistic::Percentile(50.0)];
    let percents = run.selection.percents.iter().filter(|p| **p != 50.0);
    statistics.extend(percents.map(|p| Statistic::Percentile(*p)));
    let scalars = SCALARS.iter().filter_map(|scalar| MetricId::scalar(scalar.key));
    let of = |latency| statistics.iter().map(move |statistic| MetricId::Latency(latency, *statistic));
    scalars.chain(run.selection.latencies.iter().flat_map(|latency| of(*latency))).collect()
}

fn row(figure: MetricId, sample: &MetricSample) -> Vec<String> {
    let [least, greatest] = [f64::min as fn(f64, f64) -> f64, f64::max]
        .map(|pick| sample.runs.iter().copied().reduce(pick).unwrap_or(sample.value));
    let interval = sample
        .interval
        .map_or("n/a".to_owned(), |interval| bounds_text(interval, |end| without_unit(figure, end)));
    // A zero mean has no relative spread.
    let spread = if sample.value == 0.0 { 0.0 } else { 100.0 * (greatest - least) / sample.value };
    vec![
        figure.label(),
        with_unit(figure, sample.value),
        interval,
        without_unit(figure, least),
        without_unit(figure, greatest),
        format!("{spread:.1} %"),
        sample.runs.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::sample_run;

    fn rendered(tokens_per_second: &[f64]) -> String {
        let run = |rate: &f64| {
            let mut run = sample_run::run(false);
            run.metrics.duration = Duration::from_secs_f64(3.0 / rate);
            run
        };
        let runs: Vec<Run> = tokens_per_second.iter().map(run).collect();
        let mut text = Vec::new();
        render(&runs, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_interval_is_students_over_the_runs() {
        // Mean 100, standard error 10 / √3, t = 4.303 with two degrees of freedom: ± 24.8.
        let text = rendered(&[90.0, 100.0, 110.0]);
        let row = text.lines().find(|line| line.starts_with("Output token throughput")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[3..], ["100", "tok/s", "[75,", "125]", "90", "110", "20.0", "%", "3"], "{text}");
    }

    #[test]
    fn one_run_is_told_to_say_nothing_of_others() {
        assert!(rendered(&[100.0]).contains("One run does not show"));
    }
}
