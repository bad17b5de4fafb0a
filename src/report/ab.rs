//! An A/B, for people.

use std::io::{self, Write};

use super::compare::{markdown_table, meanings, table, tally};
use super::text::section;
use crate::judge::ab::Ab;
use crate::judge::compare::{Call, Row};

const COLUMNS: [&str; 5] = ["", "A", "B", "B − A, in pairs", "call of B"];

/// Writes it as text.
pub fn text(ab: &Ab, to: &mut impl Write) -> io::Result<()> {
    for caveat in &ab.comparison.caveats {
        writeln!(to, "CAVEAT: {caveat}")?;
    }
    head(ab).iter().try_for_each(|line| writeln!(to, "{line}"))?;
    section("B against A", to)?;
    table(COLUMNS, rows(ab), to)?;
    ab.comparison.candidates.iter().try_for_each(|b| writeln!(to, "{}", tally(b)))?;
    section("How to read it", to)?;
    notes(ab).into_iter().try_for_each(|note| writeln!(to, "{note}"))
}

/// Writes it as Markdown, for a ticket or a pull request.
pub fn markdown(ab: &Ab, to: &mut impl Write) -> io::Result<()> {
    for caveat in &ab.comparison.caveats {
        writeln!(to, "> **Caveat:** {caveat}\n")?;
    }
    head(ab).iter().try_for_each(|line| writeln!(to, "- {line}"))?;
    writeln!(to)?;
    markdown_table(COLUMNS, rows(ab), to)?;
    ab.comparison.candidates.iter().try_for_each(|b| writeln!(to, "\n{}\n", tally(b)))?;
    notes(ab).into_iter().try_for_each(|note| writeln!(to, "- {note}"))
}

fn rows(ab: &Ab) -> &[Row] {
    ab.comparison.candidates.first().map_or(&[], |b| &b.rows)
}

fn head(ab: &Ab) -> [String; 3] {
    let [a, b] = &ab.design.servers;
    let of_b = ab.comparison.candidates.first().map_or(0, |b| b.party.requests);
    let order: Vec<String> = ab.pairs.iter().map(|pair| format!("{}{}", pair.first, pair.first.other())).collect();
    [
        format!("A: {a} ({} requests)", ab.comparison.base.requests),
        format!("B: {b} ({of_b} requests)"),
        format!(
            "Pairs of blocks: {} that count, of {}; blocks of {}, in the order {}",
            ab.counted(),
            ab.design.pairs,
            humantime::format_duration(ab.design.block),
            order.join(" ")
        ),
    ]
}

fn notes(ab: &Ab) -> Vec<String> {
    let own = [
        "A and B are means over blocks, and their intervals tell how much blocks differ. Both blocks of a pair have the same \
         requests at the same offsets, and only what differs within pairs counts for the difference (Student's t, and \
         Wilcoxon's signed ranks must not object): what the machine does to both cancels.",
        "Runs that are needed are blocks: --blocks.",
    ];
    let unsure = ab.comparison.rows().any(|row| matches!(row.call, Call::CannotTell { .. }));
    let own = own.into_iter().take(if unsure { 2 } else { 1 }).map(ToOwned::to_owned);
    meanings(&ab.comparison).into_iter().chain(own).collect()
}
