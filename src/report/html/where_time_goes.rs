//! The mean phases of all and of the slowest requests, and the slowest requests one by one.

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::foreign_text::{NAME, foreign_text};
use super::page::Section;
use super::phases::{PHASES, PhaseTimes, TimeScale};
use super::session_turns;
use super::table::{Cell, Row, number, short_number};
use crate::model::record::Record;
use crate::model::run::Run;

/// The most requests that have a lane.
const MAX_LANES: usize = 100;

/// The height of a lane.
const LANE: f64 = 7.0;

/// The height of a bar of phases.
const BAR: f64 = 44.0;

const TITLE: &str = "Where the time goes";

/// The section of the phases.
pub(super) fn section(run: &Run) -> Section {
    let Some(records) = run.records.as_deref() else {
        return Section::absent(
            "phases",
            TITLE,
            "The file has no record of each request: it was saved without details.",
        );
    };
    let mut all: Vec<(PhaseTimes, &Record)> =
        records.iter().map(|record| (PhaseTimes::from_record(record), record)).collect();
    // The slowest first; of equally slow ones in the order of the schedule.
    all.sort_by_key(|(times, record)| (std::cmp::Reverse(times.total()), record.ordinal));
    let answered: Vec<PhaseTimes> =
        all.iter().filter(|(_, record)| record.is_success()).map(|(times, _)| *times).collect();
    let mut section = Section::new("phases", TITLE);
    if answered.is_empty() {
        section.notes.push("No request was answered, so there are no mean phases.".into());
    } else {
        section.charts.push(means(&answered));
    }
    if !all.is_empty() {
        section.charts.push(lanes(&all[..all.len().min(MAX_LANES)], all.len()));
    }
    section.charts.extend(session_turns::charts(records));
    section
}

/// The phases that any of these requests has, with their place among all phases.
fn present<'a>(all: impl Iterator<Item = &'a PhaseTimes> + Clone) -> Vec<usize> {
    (0..PHASES.len()).filter(|phase| all.clone().any(|times| !times.0[*phase].is_zero())).collect()
}

/// Two bars: the mean of all answered requests, and of the slowest hundredth. They are the slowest first.
fn means(answered: &[PhaseTimes]) -> Chart {
    let slowest = &answered[..answered.len().div_ceil(100)];
    let bars = [("all".to_owned(), answered), ("slowest".to_owned(), slowest)];
    let bars = bars.map(|(name, times)| (name, PhaseTimes::mean(times.iter()).unwrap_or_default()));
    let unit = TimeScale::for_longest(bars.iter().map(|(_, times)| times.total().as_secs_f64()));
    let longest = bars.iter().map(|(_, times)| unit.of(times.total())).fold(0.0, f64::max);
    let x = Axis::from_zero(format!("mean time since due, {}", unit.name), longest);
    let mut chart = Chart::new("Mean phases of answered requests", x, Axis::exact("", (0.0, 2.0), 1.0));
    chart.inner_height = Some(2.0 * BAR);
    let phases = present(bars.iter().map(|(_, times)| times));
    for (row, (name, times)) in bars.iter().enumerate() {
        let middle = 1.5 - row as f64;
        chart.layers.push(Layer::RowLabel { y: middle, text: name.clone() });
        draw_phases(&mut chart, times, (middle - 0.36, middle + 0.36), unit);
    }
    phases.iter().for_each(|phase| chart.legend.push(legend(*phase)));
    chart.table.head =
        ["phase".into(), "all, ms".into(), "share, %".into(), format!("slowest {}, ms", slowest.len())]
            .to_vec();
    let whole = bars[0].1.total().as_secs_f64();
    for phase in phases {
        let [all, slow] = [&bars[0].1, &bars[1].1].map(|times| times.0[phase].as_secs_f64());
        let share = if whole > 0.0 { 100.0 * all / whole } else { 0.0 };
        chart.table.push([
            PHASES[phase].to_owned(),
            short_number(1e3 * all),
            format!("{share:.1}"),
            short_number(1e3 * slow),
        ]);
    }
    chart.note = Some(format!(
        "Of {} answered requests, from due to done; the slowest are the slowest 1 % ({}). A new connection is part of the \
         TTFT.",
        answered.len(),
        slowest.len()
    ));
    chart
}

fn legend(phase: usize) -> (LegendKey, String) {
    const KEYS: [&str; PHASES.len()] = [
        "block c7", "block c6", "block c4", "block c5", "block c0", "block c1", "block c8", "block c2",
        "block c3",
    ];
    (LegendKey::Class(KEYS[phase]), PHASES[phase].to_owned())
}

fn draw_phases(chart: &mut Chart, times: &PhaseTimes, y: (f64, f64), unit: TimeScale) {
    let mut from = 0.0;
    for (phase, length) in times.0.iter().enumerate().filter(|(_, length)| !length.is_zero()) {
        let to = from + unit.of(*length);
        let (LegendKey::Class(class), _) = legend(phase) else { continue };
        chart.layers.push(Layer::Block { class: class.to_owned(), x: (from, to), y });
        from = to;
    }
}

/// A lane for each of the slowest requests, the slowest at the top.
fn lanes(slowest: &[(PhaseTimes, &Record)], all: usize) -> Chart {
    let unit = TimeScale::for_longest(slowest.iter().map(|(times, _)| times.total().as_secs_f64()));
    let longest = slowest.iter().map(|(times, _)| unit.of(times.total())).fold(0.0, f64::max);
    let x = Axis::from_zero(format!("time since the request was due, {}", unit.name), longest);
    let count = slowest.len() as f64;
    let title = match slowest.len() == all {
        true => "All requests, the slowest at the top".to_owned(),
        false => format!("The slowest {} of {all} requests", slowest.len()),
    };
    let mut chart = Chart::new(title, x, Axis::exact("", (0.0, count), count));
    chart.inner_height = Some((count * LANE).max(BAR));
    chart.layers.push(Layer::RowLabel { y: count - 0.5, text: "slowest".into() });
    chart.table.head = ["request", "due, s", "total, ms"].map(ToOwned::to_owned).to_vec();
    let phases = present(slowest.iter().map(|(times, _)| times));
    chart.table.head.extend(phases.iter().map(|phase| format!("{}, ms", PHASES[*phase])));
    chart.table.head.extend(["prompt tokens", "output tokens", "outcome"].map(ToOwned::to_owned));
    phases.iter().for_each(|phase| chart.legend.push(legend(*phase)));
    let has_failures = slowest.iter().any(|(_, record)| !record.is_success());
    if has_failures {
        chart.legend.push((LegendKey::Class("failure"), "not answered".into()));
    }
    for (row, (times, record)) in slowest.iter().enumerate() {
        let middle = count - row as f64 - 0.5;
        draw_phases(&mut chart, times, (middle - 0.4, middle + 0.4), unit);
        if !record.is_success() {
            let end = unit.of(times.total());
            let width = longest / 120.0;
            let (x, y) = ((end, end + width), (middle - 0.4, middle + 0.4));
            chart.layers.push(Layer::Block { class: "failed".into(), x, y });
        }
        let mut cells = vec![
            record.ordinal.to_string(),
            number((record.times.due().as_secs_f64() * 1e3).round() / 1e3),
            short_number(1e3 * times.total().as_secs_f64()),
        ];
        cells.extend(phases.iter().map(|phase| short_number(1e3 * times.0[*phase].as_secs_f64())));
        cells.extend([record.prompt_tokens.count, record.output_tokens.count].map(|count| count.to_string()));
        cells.push(match record.failure() {
            None => "answered".into(),
            Some(failure) => foreign_text(&failure.class.to_string(), NAME),
        });
        chart.table.rows.push(Row { cells: cells.into_iter().map(Cell::from).collect(), ..Row::default() });
    }
    chart
}
