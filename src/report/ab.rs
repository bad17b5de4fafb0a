//! Text and Markdown of an A/B comparison.

use std::io::{self, Write};

use super::compare::{markdown_table, scope_text, summary, table, verdict_counts, verdict_meanings};
use super::text::section;
use crate::analysis::ab::AbComparison;
use crate::analysis::compare::{DifferenceVerdict, MetricComparison};
use crate::model::plain_text::{markdown as markdown_text, one_line};

/// The headers of the columns.
pub(super) const COLUMNS: [&str; 5] = ["", "A", "B", "B − A, in pairs", "verdict on B"];

/// Writes an A/B comparison as text.
pub(crate) fn text(ab: &AbComparison, to: &mut impl Write) -> io::Result<()> {
    ab.comparison.candidates.iter().try_for_each(|b| writeln!(to, "{}", summary(b)))?;
    for caveat in &ab.comparison.caveats {
        writeln!(to, "CAVEAT: {}", one_line(caveat))?;
    }
    heading(ab).iter().try_for_each(|line| writeln!(to, "{line}"))?;
    section("B against A", to)?;
    table(COLUMNS, rows(ab), to)?;
    let comparison = &ab.comparison;
    comparison
        .candidates
        .iter()
        .try_for_each(|b| writeln!(to, "{}\n{}", verdict_counts(b), scope_text(comparison, b)))?;
    section("How to read it", to)?;
    notes(ab).into_iter().try_for_each(|note| writeln!(to, "{note}"))
}

/// Writes an A/B comparison as Markdown, for a ticket or a pull request.
pub(crate) fn markdown(ab: &AbComparison, to: &mut impl Write) -> io::Result<()> {
    ab.comparison.candidates.iter().try_for_each(|b| writeln!(to, "**{}**\n", markdown_text(&summary(b))))?;
    for caveat in &ab.comparison.caveats {
        writeln!(to, "> **Caveat:** {}\n", markdown_text(caveat))?;
    }
    heading(ab).iter().try_for_each(|line| writeln!(to, "- {}", markdown_text(line)))?;
    writeln!(to)?;
    markdown_table(COLUMNS, rows(ab), to)?;
    let comparison = &ab.comparison;
    comparison
        .candidates
        .iter()
        .try_for_each(|b| writeln!(to, "\n{}\n\n{}\n", verdict_counts(b), scope_text(comparison, b)))?;
    notes(ab).into_iter().try_for_each(|note| writeln!(to, "- {note}"))
}

fn rows(ab: &AbComparison) -> &[MetricComparison] {
    ab.comparison.candidates.first().map_or(&[], |b| &b.rows)
}

/// Which servers were measured, and how.
pub(super) fn heading(ab: &AbComparison) -> [String; 3] {
    let [a, b] = &ab.design.servers;
    let of_b = ab.comparison.candidates.first().map_or(0, |b| b.party.requests);
    let order: Vec<String> =
        ab.pairs.iter().map(|pair| format!("{}{}", pair.first, pair.first.other())).collect();
    [
        format!("A: {a} ({} requests)", ab.comparison.base.requests),
        format!("B: {b} ({of_b} requests)"),
        format!(
            "Pairs of blocks: {} of {} count; blocks of {}, in the order {}",
            ab.counted_pairs(),
            ab.design.pairs,
            humantime::format_duration(ab.design.block),
            order.join(" ")
        ),
    ]
}

/// What the verdicts mean, and what they rest on.
pub(super) fn notes(ab: &AbComparison) -> Vec<String> {
    let own = [
        "A and B are means over blocks, and their intervals show how much blocks vary. Both blocks of a pair have the same \
         requests at the same offsets, and only differences within pairs count (paired t test, unless the Wilcoxon \
         signed-rank test contradicts it): effects of the machine on both blocks cancel.",
        "Where the table says \"needs N runs\", set `ab.pairs` to N.",
    ];
    let unsure = ab.comparison.rows().any(|row| matches!(row.call, DifferenceVerdict::CannotTell { .. }));
    let own = own.into_iter().take(if unsure { 2 } else { 1 }).map(ToOwned::to_owned);
    verdict_meanings(&ab.comparison).into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::ab::{AbDesign, Arm, BlockPair};
    use crate::analysis::compare::CompareConfig;
    use crate::model::metrics::Latency;
    use crate::model::run::Run;
    use crate::testing::sample_run;

    fn run(ms: f64) -> Run {
        let mut run = sample_run::run(false);
        run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(ms / 1e3);
        run
    }

    fn ab() -> AbComparison {
        let servers = ["http://a", "serve m"].map(ToOwned::to_owned);
        let design = AbDesign {
            servers,
            pairs: 4,
            block: Duration::from_secs(15),
            fresh_starts: true,
            allow_invalid: true,
        };
        let pair = |first: Arm, a: f64, b: f64| BlockPair { first, runs: [run(a), run(b)] };
        let pairs = vec![pair(Arm::B, 150.0, 100.0), pair(Arm::A, 151.0, 100.0), pair(Arm::A, 150.0, 99.0)];
        let figures = ["ttft.mean", "failure_rate"].map(|name| name.parse().unwrap());
        AbComparison::compare(design, pairs, &figures, CompareConfig::default())
    }

    fn written(render: impl Fn(&AbComparison, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        render(&ab(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_text_says_who_was_measured_how_and_what_follows() {
        let text = written(super::text);
        for line in [
            "CAVEAT: only 3 of 4 pairs are complete\n",
            "A: http://a (6 requests)\nB: serve m (6 requests)\n",
            "Pairs of blocks: 3 of 4 count; blocks of 15s, in the order BA AB AB\n",
            "Verdicts: 0 worse, 1 better, 0 the same, 1 cannot tell\n",
            "Wilcoxon",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let row = text.lines().find(|line| line.starts_with("TTFT mean")).unwrap();
        assert!(row.contains("-33.7 %") && row.ends_with(" better"), "{row}");
        assert!(text.contains("set `ab.pairs` to N"), "three failures of six tell little: {text}");
    }

    #[test]
    fn the_markdown_has_a_table() {
        let text = written(markdown);
        for line in [
            "> **Caveat:** only 3 of 4",
            "\n|  | A | B | B − A, in pairs | verdict on B |\n|---|",
            "| **better** |\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
