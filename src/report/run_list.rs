//! The list of kept runs.

use std::io::{self, Write};
use std::path::PathBuf;

use jiff::Zoned;
use serde::Serialize;

use super::table::{Column, Table, row};
use super::text::header;
use crate::model::plain_text::one_line;
use crate::model::rfc3339;
use crate::model::run::Run;

/// A kept run of the list.
#[derive(Debug, Serialize)]
pub(crate) struct ListedRun {
    /// The name that commands accept: `last`, `last-1`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The summary of the run; `None` if the file cannot be read.
    #[serde(flatten)]
    pub summary: Option<RunSummary>,
    /// Why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The summary of a run, for one line.
#[derive(Debug, Serialize)]
pub(crate) struct RunSummary {
    #[serde(serialize_with = "rfc3339::serialize")]
    started: Zoned,
    valid: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    predicted: bool,
    interrupted: bool,
    requests: usize,
    load: String,
    model: String,
    url: String,
}

impl RunSummary {
    /// Summarizes a run.
    pub(crate) fn from_run(run: &Run) -> Self {
        Self {
            started: run.started.clone(),
            valid: run.validity.valid,
            predicted: run.is_predicted(),
            interrupted: run.interrupted,
            requests: run.metrics.request_count(),
            load: header::load(&run.spec.load),
            model: one_line(&run.spec.target.model),
            url: one_line(&run.spec.target.display_url()),
        }
    }

    fn verdict(&self) -> String {
        let verdict = match (self.predicted, self.valid) {
            (true, _) => "PREDICTED",
            (false, true) => "VALID",
            (false, false) => "INVALID",
        };
        format!("{verdict}{}", if self.interrupted { ", interrupted" } else { "" })
    }
}

const COLUMNS: [Column; 5] = [Column::LEFT, Column::LEFT, Column::LEFT, Column::RIGHT, Column::LEFT];

/// Writes the list as a table, and below it the files that cannot be read.
pub(crate) fn render(runs: &[ListedRun], out: &mut impl Write) -> io::Result<()> {
    let mut rows = vec![row(["name", "started", "verdict", "requests", "load", "model", "target"])];
    rows.extend(runs.iter().filter_map(|listed| {
        let run = listed.summary.as_ref()?;
        let started = run.started.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let (verdict, requests) = (run.verdict(), run.requests.to_string());
        Some(row([&listed.name, &started, &verdict, &requests, &run.load, &run.model, &run.url]))
    }));
    Table::new(&COLUMNS, rows).write(out)?;
    for ListedRun { name, error, .. } in runs {
        if let Some(error) = error {
            writeln!(out, "{name}: {error}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    #[test]
    fn an_interrupted_and_an_unreadable_run_say_so() {
        let run = Run { interrupted: true, ..sample_run::run(false) };
        let listed = |name: &str, summary, error| ListedRun {
            name: name.into(),
            path: "r.json".into(),
            summary,
            error,
        };
        let runs = [
            listed("last", Some(RunSummary::from_run(&run)), None),
            listed("last-1", None, Some("r.json is not a result".into())),
        ];
        let mut text = Vec::new();
        render(&runs, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("name  started") && lines[1].starts_with("last  2026-11-22 09:44:51"),
            "{text}"
        );
        assert!(lines[1].contains(", interrupted") && lines[1].contains("constant 20 req/s"), "{text}");
        assert_eq!(lines[2..], ["last-1: r.json is not a result"]);
    }
}
