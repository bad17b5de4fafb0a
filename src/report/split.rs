//! Fleets of prefill and decode servers: the use of each kind, and several splits side by side.

use std::io::{self, Write};

use super::format::unit_symbol;
use super::prediction::{bare, with_interval};
use super::table::Table;
use super::text::section;
use crate::model::metric_id::MetricId;
use crate::model::plain_text::one_line;
use crate::model::prediction::{PairedDifference, SplitComparison, SplitDifferences, UsedStage, WholeFleet};

/// The metrics of the table of splits.
const COLUMNS: [&str; 5] = ["ttft.mean", "ttft.p95", "tpot.mean", "e2el.mean", "output_throughput"];

/// Writes the use of each kind of server, and which one is the bottleneck.
pub(crate) fn stages(stages: &[UsedStage], to: &mut impl Write) -> io::Result<()> {
    for UsedStage { name, servers, utilization, busy } in stages {
        let servers = servers.map(|servers| format!(" ({servers})")).unwrap_or_default();
        let busy = busy.map(|share| format!(", in a step {:.0} % of the time", 100.0 * share));
        let (rho, busy) = (with_interval(utilization.times(100.0), "%"), busy.unwrap_or_default());
        writeln!(to, "  {}{servers}: ρ {rho}{busy}", one_line(name))?;
    }
    match UsedStage::bottleneck(stages) {
        Some(stage) => writeln!(to, "Bottleneck: {}", one_line(&stage.name)),
        None => Ok(()),
    }
}

/// Writes a row for the fleet whose servers answer whole requests, and one for each split with its differences.
pub(crate) fn split_table(comparison: &SplitComparison, to: &mut impl Write) -> io::Result<()> {
    let metrics: Vec<MetricId> = COLUMNS.iter().filter_map(|name| name.parse().ok()).collect();
    let titles = metrics.iter().map(|metric| format!("{} {}", metric.label(), unit_symbol(metric.unit())));
    let mut head = vec!["servers".to_owned(), "bottleneck".to_owned()];
    head.extend((!comparison.slo.is_empty()).then(|| "service levels met".to_owned()));
    let mut lines = vec![head.into_iter().chain(titles).map(|cell| cell.trim_end().to_owned()).collect()];
    lines.push(whole_row(comparison.servers, &comparison.whole, &metrics));
    lines.extend(comparison.splits.iter().map(|split| split_row(split, &metrics)));
    section(&format!("Splits of {} servers", comparison.servers), to)?;
    Table::left(lines).write(to)?;
    writeln!(
        to,
        "Splits: the difference from whole servers on the same arrivals, lengths and noise, lower or higher where the \
         interval of the paired difference excludes zero."
    )?;
    if comparison.slo.is_empty() {
        return Ok(());
    }
    let slo: Vec<String> = comparison.slo.iter().map(|rule| one_line(rule)).collect();
    writeln!(to, "Service levels met: the share of the simulations that meet {}.", slo.join(" and "))
}

fn whole_row(servers: usize, whole: &WholeFleet, metrics: &[MetricId]) -> Vec<String> {
    let rho = whole.utilization.map(|value| format!("ρ {:.0} %", 100.0 * value.point));
    let mut cells = vec![format!("{servers} whole"), rho.unwrap_or_default()];
    cells.extend(whole.slo_met.map(share));
    cells.extend(metrics.iter().map(|metric| {
        let value = whole.metrics.get(&metric.to_string());
        value.map(|value| bare(*metric, *value)).unwrap_or_default()
    }));
    cells
}

fn split_row(split: &SplitDifferences, metrics: &[MetricId]) -> Vec<String> {
    let bottleneck = UsedStage::bottleneck(&split.stages);
    let bottleneck = bottleneck
        .map(|stage| format!("{}, ρ {:.0} %", one_line(&stage.name), 100.0 * stage.utilization.point));
    let mut cells =
        vec![format!("{} prefill, {} decode", split.prefill, split.decode), bottleneck.unwrap_or_default()];
    cells.extend(split.slo_met.map(share));
    cells.extend(metrics.iter().map(|metric| {
        let paired = split.differences.get(&metric.to_string());
        paired.map(|paired| difference(*metric, *paired)).unwrap_or_default()
    }));
    cells
}

fn difference(metric: MetricId, paired: PairedDifference) -> String {
    let verdict = match (paired.is_different(), paired.difference.point < 0.0) {
        (false, _) => "",
        (true, true) => " lower",
        (true, false) => " higher",
    };
    format!("{}{verdict}", bare(metric, paired.difference))
}

fn share(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::prediction::PredictedValue;

    fn value(low: f64, point: f64, high: f64) -> PredictedValue {
        PredictedValue { low, point, high }
    }

    fn used() -> Vec<UsedStage> {
        let stage = |name: &str, servers, point: f64, busy| UsedStage {
            name: name.into(),
            servers,
            utilization: value(0.9 * point, point, 1.1 * point),
            busy,
        };
        vec![
            stage("prefill servers", Some(1), 0.93, Some(0.91)),
            stage("decode servers", Some(3), 0.41, Some(0.99)),
            stage("KV transfer", None, 0.02, None),
        ]
    }

    fn text(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_most_used_stage_is_the_bottleneck() {
        let text = text(|out| stages(&used(), out));
        assert!(
            text.contains("  prefill servers (1): ρ 93.0 [83.7, 102] %, in a step 91 % of the time\n"),
            "{text}"
        );
        assert!(text.contains("  KV transfer: ρ 2.00 [1.80, 2.20] %\n"), "{text}");
        assert!(text.ends_with("Bottleneck: prefill servers\n"), "{text}");
    }

    #[test]
    fn a_split_is_lower_or_higher_where_the_interval_excludes_zero() {
        let paired = |low, point, high| PairedDifference { base: 100.0, difference: value(low, point, high) };
        let differences = [
            ("ttft.mean".to_owned(), paired(5.0, 10.0, 15.0)),
            ("tpot.mean".to_owned(), paired(-4.0, -2.0, -1.0)),
            ("e2el.mean".to_owned(), paired(-4.0, -2.0, 1.0)),
        ];
        let (prefill, decode) = (1, 3);
        let split = SplitDifferences {
            prefill,
            decode,
            stages: used(),
            slo_met: Some(0.95),
            differences: differences.into(),
        };
        let whole = WholeFleet {
            utilization: Some(value(0.5, 0.55, 0.6)),
            slo_met: Some(0.2),
            metrics: [("ttft.mean".to_owned(), value(90.0, 100.0, 110.0))].into(),
        };
        let slo = vec!["tpot.mean < 30ms".to_owned()];
        let text = text(|out| {
            split_table(
                &SplitComparison {
                    servers: 4,
                    slo: slo.clone(),
                    whole: whole.clone(),
                    splits: vec![split.clone()],
                },
                out,
            )
        });
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(row("4 whole").contains("ρ 55 %") && row("4 whole").contains("100 [90.0, 110]"), "{text}");
        let split = row("1 prefill, 3 decode");
        assert!(split.contains("prefill servers, ρ 93 %") && split.contains("95 %"), "{text}");
        assert!(
            split.contains("10.0 [5.00, 15.0] higher") && split.contains("-2.00 [-4.00, -1.00] lower"),
            "{text}"
        );
        assert!(split.trim_end().ends_with("-2.00 [-4.00, 1.00]"), "no difference was found: {text}");
    }
}
