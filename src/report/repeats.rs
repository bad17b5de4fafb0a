//! Several runs of one Spec: their means, where those lie, and how far the runs are apart.

use std::io::{self, Write};

use super::compare::{bare, in_unit};
use super::text::{aligned, section};
use crate::core::figure::{Figure, Statistic};
use crate::core::metrics::SCALARS;
use crate::core::run::Run;
use crate::judge::compare::Sample;

/// Writes the table; nothing without runs.
pub fn render(runs: &[Run], to: &mut impl Write) -> io::Result<()> {
    let Some(first) = runs.first() else { return Ok(()) };
    section("Repeats", to)?;
    let seeds: Vec<String> = runs.iter().map(|run| run.spec.seed.to_string()).collect();
    match runs.len() {
        1 => writeln!(to, "1 run, seed {}", seeds[0])?,
        count => writeln!(to, "{count} runs, seeds {}", seeds.join(", "))?,
    }
    let head = ["Figure", "Mean of runs", "95 % interval", "Least", "Greatest", "Spread", "Runs"];
    let rows = figures(first).into_iter().filter_map(|figure| Some(row(figure, &Sample::of(runs, figure)?)));
    let rows: Vec<_> = std::iter::once(head.map(ToOwned::to_owned).to_vec()).chain(rows).collect();
    aligned(&rows, to)?;
    if runs.len() == 1 {
        writeln!(
            to,
            "One run does not tell how much runs differ: its intervals are of what happened within it."
        )?;
    }
    let invalid = runs.iter().filter(|run| !run.validity.valid).count();
    if invalid > 0 {
        writeln!(to, "INVALID: {invalid} of {} runs, each for the reasons in its own report", runs.len())?;
    }
    Ok(())
}

/// What the run's own report shows.
fn figures(run: &Run) -> Vec<Figure> {
    let mut statistics = vec![Statistic::Mean, Statistic::Percentile(50.0)];
    let percents = run.selection.percents.iter().filter(|p| **p != 50.0);
    statistics.extend(percents.map(|p| Statistic::Percentile(*p)));
    let scalars = SCALARS.iter().filter_map(|scalar| Figure::scalar(scalar.key));
    let of = |latency| statistics.iter().map(move |statistic| Figure::Latency(latency, *statistic));
    scalars.chain(run.selection.latencies.iter().flat_map(|latency| of(*latency))).collect()
}

fn row(figure: Figure, sample: &Sample) -> Vec<String> {
    let [least, greatest] = [f64::min as fn(f64, f64) -> f64, f64::max]
        .map(|pick| sample.runs.iter().copied().reduce(pick).unwrap_or(sample.value));
    let interval = sample.interval.map_or("n/a".to_owned(), |interval| {
        format!("[{}, {}]", bare(figure, interval.low), bare(figure, interval.high))
    });
    // Of no difference there is no share.
    let spread = if sample.value == 0.0 { 0.0 } else { 100.0 * (greatest - least) / sample.value };
    vec![
        figure.label(),
        in_unit(figure, sample.value),
        interval,
        bare(figure, least),
        bare(figure, greatest),
        format!("{spread:.1} %"),
        sample.runs.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::run::sample;

    fn rendered(tokens_per_second: &[f64]) -> String {
        let run = |rate: &f64| {
            let mut run = sample::run(false);
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
        assert!(rendered(&[100.0]).contains("One run does not tell"));
    }
}
