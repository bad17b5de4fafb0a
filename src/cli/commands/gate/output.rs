//! Writes the outcome of a gate.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::OutputArgs;
use crate::analysis::gate::{GateReport, GateVerdict};
use crate::cli::exit::{CliError, print_stderr, print_stderr_lines};
use crate::cli::html_page;
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout::print;
use crate::cli::user_text::{self, UserTextWriter};
use crate::model::plain_text::PlainWriter;
use crate::model::run::file;
use crate::report::gate::junit::JunitError;
use crate::report::gate::{self, github, junit, markdown};

/// The outcome of a gate that has no ruling.
const ERROR: &str = "error";

/// GitHub's variable for the file that becomes the job's summary.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// GitHub's variable for the file that names the outputs of a step.
const OUTPUT: &str = "GITHUB_OUTPUT";

/// GitHub's variable that is set in every workflow.
const ACTIONS: &str = "GITHUB_ACTIONS";

/// The outputs of a gate. Creating it checks that the files can be written, before anything is measured.
pub(super) struct Output {
    junit: Option<PathBuf>,
    html: Option<PathBuf>,
    json: Option<Json>,
    /// Whether to print GitHub annotations.
    annotate: bool,
    summary: Option<PathBuf>,
    /// GitHub's file of the step's outputs.
    step_outputs: Option<PathBuf>,
}

enum Json {
    Stdout,
    File(PathBuf),
}

impl Output {
    /// Reads the flags and GitHub's variables.
    pub(super) fn of(args: &OutputArgs) -> Result<Self, CliError> {
        let variable = |name| std::env::var_os(name).filter(|value| args.github && !value.is_empty());
        let output = Self {
            junit: args.junit.clone(),
            html: args.html.clone(),
            json: args.json().map(|path| match path.as_os_str() == "-" {
                true => Json::Stdout,
                false => Json::File(path),
            }),
            annotate: variable(ACTIONS).is_some(),
            summary: variable(SUMMARY).map(PathBuf::from),
            step_outputs: variable(OUTPUT).map(PathBuf::from),
        };
        if args.github && !output.annotate && output.summary.is_none() {
            print_stderr(format_args!(
                "note: --github has no effect here: neither {ACTIONS} nor {SUMMARY} is set"
            ));
        }
        let json = output.json.iter().filter_map(|json| match json {
            Json::File(path) => Some(path),
            Json::Stdout => None,
        });
        output
            .junit
            .iter()
            .chain(&output.html)
            .chain(json)
            .try_for_each(|path| file::check_writable(path))
            .map_err(CliError::usage)?;
        if let Some(folder) = &args.save {
            file::check_writable(&folder.join("run.json")).map_err(CliError::usage)?;
        }
        Ok(output)
    }

    /// Writes the files. If one cannot be written, the others still are; the first error is returned.
    pub(super) fn save(&self, ruling: &GateReport) -> Result<(), CliError> {
        let junit = self.write_junit(|xml| junit::render(ruling, xml));
        let html = self.html.as_ref().map_or(Ok(()), |path| html_page::write_gate(path, ruling));
        let json = self.write_json(&json_text(ruling));
        let summary = append(self.summary.as_deref(), |out| markdown::render(ruling, out));
        let outputs = self.write_step_outputs(outcome_word(ruling.outcome));
        junit.and(html).and(json).and(summary).and(outputs)
    }

    /// Writes why there is no ruling, so that a job that reads one of the files finds it there. The error itself goes
    /// to stderr.
    pub(super) fn write_error(&self, error: &CliError) -> Result<(), CliError> {
        let why = error.message();
        let json = serde_json::json!({ "outcome": ERROR, "error": why }).to_string();
        let junit = self.write_junit(|xml| junit::render_error(why, xml));
        let saved = self.write_json(&json);
        let summary = append(self.summary.as_deref(), |out| markdown::render_error(why, out));
        let outputs = self.write_step_outputs(ERROR);
        let printed = print(|out| {
            if matches!(self.json, Some(Json::Stdout)) {
                writeln!(out, "{json}")?;
            }
            if self.annotate { github::annotate_error(why, &mut out.for_github_commands()) } else { Ok(()) }
        });
        junit.and(saved).and(summary).and(outputs).and(printed)
    }

    fn write_junit(
        &self,
        render: impl FnOnce(&mut Vec<u8>) -> Result<(), JunitError>,
    ) -> Result<(), CliError> {
        let Some(path) = &self.junit else { return Ok(()) };
        let mut xml = Vec::new();
        render(&mut xml).map_err(CliError::io)?;
        let xml = with_flags(&String::from_utf8_lossy(&xml));
        file::write(path, xml.as_bytes()).map_err(CliError::io)
    }

    fn write_json(&self, json: &str) -> Result<(), CliError> {
        match &self.json {
            Some(Json::File(path)) => file::write(path, json.as_bytes()).map_err(CliError::io),
            Some(Json::Stdout) | None => Ok(()),
        }
    }

    /// Writes the outputs of GitHub's action.
    fn write_step_outputs(&self, outcome: &str) -> Result<(), CliError> {
        append(self.step_outputs.as_deref(), |out| {
            if let Some(Json::File(path)) = &self.json {
                writeln!(out, "json={}", path.display())?;
            }
            writeln!(out, "outcome={outcome}")
        })
    }

    /// Prints the outcome.
    pub(super) fn print(&self, ruling: &GateReport) -> Result<(), CliError> {
        if !matches!(self.json, Some(Json::Stdout)) {
            return print(|out| self.render(ruling, out));
        }
        print_stderr_lines(|out| self.render(ruling, out));
        print(|out| writeln!(out, "{}", json_text(ruling)))
    }

    fn render(&self, ruling: &GateReport, out: &mut PlainWriter<impl Write>) -> io::Result<()> {
        gate::render(ruling, out)?;
        if self.annotate { github::annotations(ruling, &mut out.for_github_commands()) } else { Ok(()) }
    }
}

fn json_text(ruling: &GateReport) -> String {
    with_flags(&serde_json::to_string_pretty(ruling).expect("a ruling has only string keys"))
}

/// The outcome as the JSON has it.
fn outcome_word(outcome: GateVerdict) -> &'static str {
    match outcome {
        GateVerdict::Pass => "pass",
        GateVerdict::Warn => "warn",
        GateVerdict::Fail => "fail",
        GateVerdict::Invalid => "invalid",
    }
}

/// Appends to one of GitHub's files, which may have the output of earlier steps.
fn append(
    path: Option<&Path>,
    render: impl FnOnce(&mut UserTextWriter<'_>) -> io::Result<()>,
) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    let write =
        |text: String| File::options().create(true).append(true).open(path)?.write_all(text.as_bytes());
    user_text::render(render)
        .and_then(write)
        .map_err(|error| CliError::io(format_args!("cannot write {}: {error}", path.display())))
}
