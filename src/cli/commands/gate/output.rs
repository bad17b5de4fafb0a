//! Writes the outcome of a gate.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::OutputArgs;
use crate::analysis::gate::GateReport;
use crate::cli::exit::{CliError, print_stderr, print_stderr_lines};
use crate::cli::html_page;
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout::print;
use crate::cli::user_text;
use crate::model::plain_text::PlainWriter;
use crate::model::run::file;
use crate::report::gate::{self, github, junit, markdown};

/// GitHub's variable for the file that becomes the job's summary.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

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
        let junit = self.junit.iter().map(|path| {
            let mut xml = Vec::new();
            junit::render(ruling, &mut xml).map_err(CliError::io)?;
            let xml = with_flags(&String::from_utf8_lossy(&xml));
            file::write(path, xml.as_bytes()).map_err(CliError::io)
        });
        let html = self.html.iter().map(|path| html_page::write_gate(path, ruling));
        let json = self.json.iter().map(|json| match json {
            Json::File(path) => file::write(path, json_text(ruling).as_bytes()).map_err(CliError::io),
            Json::Stdout => Ok(()),
        });
        let summary = self.summary.iter().map(|path| {
            summarise(ruling, path)
                .map_err(|error| CliError::io(format_args!("cannot write {}: {error}", path.display())))
        });
        junit.chain(html).chain(json).chain(summary).fold(Ok(()), Result::and)
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

/// Appends to GitHub's summary file, which may hold the output of earlier steps.
fn summarise(ruling: &GateReport, path: &Path) -> io::Result<()> {
    let text = user_text::render(|out| markdown::render(ruling, out))?;
    File::options().create(true).append(true).open(path)?.write_all(text.as_bytes())
}
