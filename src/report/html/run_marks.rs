//! The moments of a run that the charts over time mark.

use super::chart::{Chart, Layer, LegendKey};
use super::page::NamedTable;
use super::table::{Table, number};
use super::time_points::TimePoints;
use crate::model::profile::ProfilerCall;
use crate::model::run::Run;
use crate::model::run_spec::RateSchedule;
use crate::model::server::ServerMetrics;

/// The most marks of each kind.
const MAX_MARKS: usize = 200;

/// The most points with failures in the table.
const MAX_FAILURES: usize = 50;

/// What happened at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MarkKind {
    Stage,
    Profiler,
    Restart,
}

impl MarkKind {
    const ALL: [Self; 3] = [Self::Stage, Self::Profiler, Self::Restart];

    /// The class of the mark, and its words in the legend.
    fn class(self) -> (&'static str, &'static str) {
        match self {
            Self::Stage => ("stage", "another rate begins"),
            Self::Profiler => ("profiler", "profiler starts or stops"),
            Self::Restart => ("restart", "server restarted"),
        }
    }
}

/// A moment of a run.
struct RunMark {
    /// Seconds since t0.
    at: f64,
    kind: MarkKind,
    /// The label in a chart, if it says more than the legend.
    label: String,
    text: String,
}

/// The moments of a run, in the order of time.
pub(super) struct RunMarks(Vec<RunMark>);

impl RunMarks {
    /// Finds the moments of a run that lasted until `end`.
    pub(super) fn from_run(run: &Run, end: f64) -> Self {
        let restarts = run.server.iter().flat_map(ServerMetrics::restarts).take(MAX_MARKS);
        let restarts = restarts.map(|at| RunMark {
            at,
            kind: MarkKind::Restart,
            label: String::new(),
            text: "the server was found restarted".into(),
        });
        let mut marks: Vec<RunMark> = stages(run).into_iter().chain(profiler(run)).chain(restarts).collect();
        marks.retain(|mark| mark.at <= end);
        marks.sort_by(|a, b| a.at.total_cmp(&b.at));
        Self(marks)
    }

    /// Draws the marks on a chart; `labeled` with their labels too.
    pub(super) fn draw(&self, chart: &mut Chart, points: &TimePoints, labeled: bool) {
        for mark in &self.0 {
            let label = if labeled { mark.label.clone() } else { String::new() };
            chart.layers.push(Layer::Rule {
                class: mark.kind.class().0,
                x: mark.at / points.unit.seconds,
                label,
            });
        }
        for kind in MarkKind::ALL.into_iter().filter(|kind| self.0.iter().any(|mark| mark.kind == *kind)) {
            let (class, words) = kind.class();
            chart.legend.push((LegendKey::Class(class), words.into()));
        }
    }

    /// The table of the marks, the steady state and the failures; `None` without any.
    pub(super) fn table(&self, run: &Run, points: &TimePoints) -> Option<NamedTable> {
        let mut rows: Vec<(f64, String)> = self.0.iter().map(|mark| (mark.at, mark.text.clone())).collect();
        if let Ok(steady) = &run.steady {
            let (start, end) = (steady.window.start, steady.window.end);
            rows.push((start.as_secs_f64(), "the steady state begins".into()));
            rows.push((end.as_secs_f64(), "the steady state ends".into()));
        }
        let failures = points.sums(&run.series.failures);
        let failed = (0..points.len()).filter(|at| failures[*at] > 0.0);
        let seconds = |at: usize| points.middle(at) * points.unit.seconds;
        rows.extend(failed.clone().take(MAX_FAILURES).map(|at| {
            let plural = if failures[at] == 1.0 { "request" } else { "requests" };
            (seconds(at), format!("{} {plural} failed about then", failures[at]))
        }));
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let left_out = failed.count().saturating_sub(MAX_FAILURES);
        let mut table = Table::new(["", "Mark"]);
        table.head[0] = format!("Time, {}", points.unit.name);
        for (at, text) in rows {
            table.push([number((at / points.unit.seconds * 1e3).round() / 1e3), text]);
        }
        if left_out > 0 {
            table
                .push([String::new(), format!("failures at {left_out} further times: see the request rate")]);
        }
        (!table.rows.is_empty()).then(|| NamedTable { title: "Marks".into(), class: "marks", table })
    }
}

/// The stages of the load's rate.
fn stages(run: &Run) -> Vec<RunMark> {
    let pace = &run.spec.load.pace;
    let mark = |at, label, text| RunMark { at, kind: MarkKind::Stage, label, text };
    match pace {
        RateSchedule::Stages { stages } => {
            let mut at = 0.0;
            let stage = |stage: &crate::model::run_spec::RateStep| {
                let begins = at;
                at += stage.length.as_secs_f64();
                let text = format!("{} requests per second from here", stage.rate);
                mark(begins, format!("{}/s", stage.rate), text)
            };
            stages.iter().take(MAX_MARKS).map(stage).collect()
        }
        RateSchedule::Ramp(ramp) => {
            vec![mark(0.0, format!("{} to {}/s", ramp.start, ramp.end), pace.to_string())]
        }
        RateSchedule::Steady | RateSchedule::Trace => Vec::new(),
    }
}

/// The start and the stop of the server's profiler.
fn profiler(run: &Run) -> Vec<RunMark> {
    let Some(profile) = &run.profile else { return Vec::new() };
    let mark = |call: &ProfilerCall, text: &str| {
        let at = call.sent.duration_since(run.started.timestamp()).as_secs_f64();
        // The profile may have started just before the first request.
        RunMark { at: at.max(0.0), kind: MarkKind::Profiler, label: String::new(), text: text.into() }
    };
    let calls = [(&profile.start, "the profiler starts"), (&profile.stop, "the profiler stops")];
    let answered = |call: &&ProfilerCall| call.answer.is_ok();
    calls
        .into_iter()
        .filter_map(|(call, text)| call.as_ref().filter(answered).map(|call| mark(call, text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::profile::{ProfileReport, ProfileTrigger};
    use crate::model::run_spec::RateStep;
    use crate::testing::sample_run;

    #[test]
    fn stages_profiler_and_failures_are_in_the_table_in_the_order_of_time() {
        let mut run = sample_run::run(true);
        let step = |length, rate| RateStep { length: Duration::from_millis(length), rate };
        run.spec.load.pace =
            RateSchedule::Stages { stages: vec![step(100, 5.0), step(50, 20.0), step(900, 1.0)] };
        let call = |after| {
            let sent = run.started.timestamp() + jiff::SignedDuration::from_millis(after);
            Some(ProfilerCall { sent, took: Duration::ZERO, answer: Ok("HTTP 200".into()) })
        };
        let (start, stop) = (call(-3), call(120));
        run.profile = Some(ProfileReport { trigger: ProfileTrigger::Begin, lasting: None, start, stop });
        let points = TimePoints::from_run(&run);
        let marks = RunMarks::from_run(&run, points.end);
        let table = marks.table(&run, &points).unwrap().table;
        let rows: Vec<String> = table
            .rows
            .iter()
            .map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "0 5 requests per second from here",
            "0 the profiler starts",
            "0.1 20 requests per second from here",
            "0.107 1 request failed about then",
            "0.12 the profiler stops",
            "0.15 1 requests per second from here",
        ];
        assert_eq!(rows, expected);
    }
}
