//! Sessions turn by turn.

use std::collections::BTreeMap;
use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{NAME, foreign_text};
use super::phases::TimeScale;
use super::table::{Cell, Row, optional_number, short_number};
use crate::model::record::Record;
use crate::stats::percentile;

/// The most sessions that have a row, the most turns of all of them, and the most turns of the chart by turn.
const MAX_SESSIONS: usize = 40;
const MAX_BARS: usize = 600;
const MAX_TURNS: usize = 60;

/// The height of a session's row.
const ROW: f64 = 14.0;

/// A session: its turns in order.
struct Session<'a> {
    number: u32,
    turns: Vec<&'a Record>,
}

impl Session<'_> {
    /// When the first turn was due.
    fn start(&self) -> Duration {
        self.turns.iter().map(|record| record.times.due()).min().unwrap_or_default()
    }

    fn length(&self) -> Duration {
        let end = self.turns.iter().filter_map(|record| record.times.done()).max().unwrap_or_default();
        end.saturating_sub(self.start())
    }
}

/// The charts of the sessions of these requests; none without sessions.
pub(super) fn charts(records: &[Record]) -> Vec<Chart> {
    let sessions = sessions(records);
    if sessions.is_empty() {
        Vec::new()
    } else {
        [rows(&sessions)].into_iter().chain(by_turn(records)).collect()
    }
}

/// The sessions, the longest first; of equally long ones in the order of their numbers.
fn sessions(records: &[Record]) -> Vec<Session<'_>> {
    let mut turns: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(session) = record.facets.as_deref().and_then(|labels| labels.session) {
            turns.entry(session).or_default().push(record);
        }
    }
    let mut sessions: Vec<Session<'_>> =
        turns.into_iter().map(|(number, turns)| Session { number, turns }).collect();
    sessions
        .iter_mut()
        .for_each(|session| session.turns.sort_by_key(|record| (turn(record), record.ordinal)));
    sessions.sort_by_key(|session| std::cmp::Reverse(session.length()));
    sessions
}

/// The turn of a request, from 1 as in reports.
fn turn(record: &Record) -> usize {
    record.facets.as_deref().and_then(|labels| labels.turn).map_or(1, |turn| turn as usize + 1)
}

/// A row for each of the longest sessions, with a bar for each turn.
fn rows(sessions: &[Session<'_>]) -> Chart {
    let mut bars = 0;
    let fits = |session: &&Session<'_>| {
        bars += session.turns.len();
        bars <= MAX_BARS
    };
    let drawn: Vec<&Session<'_>> = sessions.iter().take(MAX_SESSIONS).take_while(fits).collect();
    // A session of very many turns has its first ones.
    let drawn = if drawn.is_empty() { vec![&sessions[0]] } else { drawn };
    let longest = drawn[0].length();
    let unit = TimeScale::for_longest([longest.as_secs_f64()].into_iter());
    let x = Axis::from_zero(format!("time since the session began, {}", unit.name), unit.of(longest));
    let count = drawn.len() as f64;
    let mut chart = Chart::new("Sessions turn by turn", x, Axis::exact("session", (0.0, count), count));
    chart.inner_height = Some((count * ROW).max(3.0 * ROW));
    chart.table.head = [
        "session",
        "turn",
        "sent, ms",
        "TTFT, ms",
        "E2E, ms",
        "prompt tokens",
        "cached tokens",
        "output tokens",
        "outcome",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    for (row, session) in drawn.iter().enumerate() {
        let middle = count - row as f64 - 0.5;
        chart.layers.push(Layer::RowLabel { y: middle, text: session.number.to_string() });
        for record in session.turns.iter().take(MAX_BARS) {
            draw_turn(&mut chart, record, session.start(), (middle - 0.38, middle + 0.38), unit);
            let cells = turn_cells(record, session).into_iter().map(Cell::from).collect();
            chart.table.rows.push(Row { cells, ..Row::default() });
        }
    }
    chart.legend.push((LegendKey::Class("block c0"), "wait for output".into()));
    chart.legend.push((LegendKey::Class("block c2"), "output".into()));
    if drawn.iter().flat_map(|session| &session.turns).any(|record| !record.is_success()) {
        chart.legend.push((LegendKey::Class("failure"), "not answered".into()));
    }
    chart.note = Some(match sessions.len() == drawn.len() {
        true => "Between two bars the user reads and writes.".to_owned(),
        false => format!(
            "The longest {} of {} sessions. Between two bars the user reads and writes.",
            drawn.len(),
            sessions.len()
        ),
    });
    chart
}

/// Draws a turn from sent to done.
fn draw_turn(chart: &mut Chart, record: &Record, start: Duration, y: (f64, f64), unit: TimeScale) {
    let since = |time: Duration| unit.of(time.saturating_sub(start));
    let (Some(sent), Some(done)) = (record.times.sent().map(since), record.times.done().map(since)) else {
        return;
    };
    let first = record.times.first_token().map_or(done, since);
    let mut block = |class: &str, x| chart.layers.push(Layer::Block { class: class.into(), x, y });
    if record.is_success() {
        block("block c0", (sent, first));
        block("block c2", (first, done));
    } else {
        block("failed", (sent, done));
    }
}

fn turn_cells(record: &Record, session: &Session<'_>) -> [String; 9] {
    let ms = |time: Option<Duration>| optional_number(time.map(|time| 1e3 * time.as_secs_f64()));
    [
        session.number.to_string(),
        turn(record).to_string(),
        ms(record.times.sent().map(|sent| sent.saturating_sub(session.start()))),
        ms(record.ttft()),
        ms(record.e2e()),
        record.prompt_tokens.count.to_string(),
        record.cached_tokens.map(|tokens| tokens.to_string()).unwrap_or_default(),
        record.output_tokens.count.to_string(),
        match record.failure() {
            None => "answered".into(),
            Some(failure) => foreign_text(&failure.class.to_string(), NAME),
        },
    ]
}

/// TTFT by the number of the turn: later turns have longer prompts, which a prefix cache may have. `None` without two
/// turns.
fn by_turn(records: &[Record]) -> Option<Chart> {
    let mut turns: BTreeMap<usize, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_success() && record.facets.is_some()) {
        turns.entry(turn(record)).or_default().push(record);
    }
    turns.retain(|turn, _| *turn <= MAX_TURNS);
    let (first, last) = (*turns.keys().next()?, *turns.keys().next_back()?);
    let mut values: Vec<(usize, f64, f64, Vec<&Record>)> = Vec::new();
    for (turn, of_turn) in turns {
        let mut times: Vec<Duration> = of_turn.iter().filter_map(|record| record.ttft()).collect();
        times.sort_unstable();
        let at = |p| percentile(&times, p).map(|time| 1e3 * time.as_secs_f64());
        if let (Some(p50), Some(p95)) = (at(50.0), at(95.0)) {
            values.push((turn, p50, p95, of_turn));
        }
    }
    let most = values.iter().map(|(_, _, p95, _)| *p95).fold(0.0, f64::max);
    let x = Axis::whole("turn of the session", first, last);
    let mut chart = Chart::new("TTFT by turn", x, Axis::from_zero("ms", most));
    chart.table.head =
        ["turn", "requests", "TTFT P50, ms", "TTFT P95, ms", "prompt tokens, mean", "cached, %"]
            .map(ToOwned::to_owned)
            .to_vec();
    type TurnValue = fn(&(usize, f64, f64, Vec<&Record>)) -> f64;
    let lines: [(&str, TurnValue); 2] = [("P50", |values| values.1), ("P95", |values| values.2)];
    for (color, (name, value)) in lines.into_iter().enumerate() {
        let points = values.iter().map(|values| (values.0 as f64, value(values)));
        chart.layers.push(Layer::Line { color, points: points.clone().map(Some).collect() });
        chart.layers.extend(points.map(|(x, y)| Layer::Dot {
            color,
            x,
            y,
            radius: 3.0,
            label: DotLabel::None,
        }));
        chart.legend.push((LegendKey::Line(color), name.into()));
    }
    for (turn, p50, p95, records) in &values {
        let prompts: f64 = records.iter().map(|record| f64::from(record.prompt_tokens.count)).sum();
        let known = records.iter().filter_map(|record| record.cached_tokens);
        let cached = known.map(f64::from).reduce(|a, b| a + b).filter(|_| prompts > 0.0);
        let cells = vec![
            turn.to_string(),
            records.len().to_string(),
            short_number(*p50),
            short_number(*p95),
            short_number(prompts / records.len() as f64),
            optional_number(cached.map(|cached| 100.0 * cached / prompts)),
        ];
        chart.table.push_at(*turn as f64, cells);
    }
    (values.len() > 1).then_some(chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::RequestLabels;
    use crate::testing::sample_run;

    /// Two sessions of three turns; the last turn of the second failed.
    fn records() -> Vec<Record> {
        let [good, bad] = <[Record; 2]>::try_from(sample_run::records()).unwrap();
        let label = |at: u32| {
            let record = if at == 5 { &bad } else { &good };
            let (session, turn) = (Some(at / 3), Some(at % 3));
            let labels = RequestLabels { session, turn, turns: Some(3), ..RequestLabels::default() };
            Record { ordinal: at as usize, facets: Some(Box::new(labels)), ..record.clone() }
        };
        (0..6).map(label).collect()
    }

    #[test]
    fn a_session_has_a_row_and_a_turn_has_a_bar() {
        let charts = charts(&records());
        let [rows, by_turn] = &charts[..] else { panic!("{} charts", charts.len()) };
        let cells = |row: &Row| row.cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>().join(" ");
        let of_rows: Vec<String> = rows.table.rows.iter().map(cells).collect();
        assert_eq!(of_rows.len(), 6);
        assert_eq!(of_rows[0], "0 1 2 100 200 9  3 answered");
        assert!(of_rows[5].starts_with("1 3 11") && of_rows[5].ends_with("HTTP 503"), "{of_rows:?}");
        let bars = rows.layers.iter().filter(|layer| matches!(layer, Layer::Block { .. })).count();
        assert_eq!(bars, 11, "two of an answer, one of a failure");
        let of_turns: Vec<String> = by_turn.table.rows.iter().map(cells).collect();
        assert_eq!(of_turns, ["1 2 100 100 9 ", "2 2 100 100 9 ", "3 1 100 100 9 "]);
    }

    #[test]
    fn requests_without_sessions_have_no_chart() {
        assert!(charts(&sample_run::records()).is_empty());
    }

    #[test]
    fn many_sessions_and_turns_are_bounded() {
        let record = records().remove(0);
        let label = |at: u32, per_session: u32| {
            let (session, turn) = (Some(at / per_session), Some(at % per_session));
            let labels = RequestLabels { session, turn, ..RequestLabels::default() };
            Record { ordinal: at as usize, facets: Some(Box::new(labels)), ..record.clone() }
        };
        for per_session in [3, 100, 5_000] {
            let records: Vec<Record> = (0..10_000).map(|at| label(at, per_session)).collect();
            let rows = charts(&records).remove(0).table.rows.len();
            assert!((100..=MAX_BARS).contains(&rows), "{per_session}: {rows}");
        }
    }
}
