//! `servegauge report`: a saved run as text, a table, or a page.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::html_page::{self, MAX_RUNS};
use crate::cli::load_ladder::load_ladder;
use crate::cli::load_runs;
use crate::cli::stdout::{print, print_report, print_streaming};
use crate::cli::user_text::UserTextWriter;
use crate::model::run::Run;
use crate::report::{ladder, run_metrics, text, vllm};

/// Report saved runs again.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Result files, indexes of ladders, or names of kept runs; several are laid side by side
    ///
    /// Of several runs in one file, the last counts. The index of a ladder stands for its steps.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write one HTML file with tables and charts, which needs no network
    #[arg(long, value_name = "OUT", conflicts_with_all = ["format", "json"])]
    html: Option<PathBuf>,
    /// Format of the report on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    format: ReportFormat,
    /// Print JSON, a result a line; `--format json` is the same
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// The report that `servegauge run` prints
    Text,
    /// The tables, for a ticket or a pull request
    Markdown,
    /// One line for each metric
    Csv,
    /// The results, one a line
    Json,
    /// The console block of `vllm bench serve`
    Vllm,
}

/// Runs the command.
pub(crate) fn execute(args: &ReportArgs) -> Result<ExitReason, CliError> {
    let format = if args.json { ReportFormat::Json } else { args.format };
    let mut runs: Vec<(String, Run)> = Vec::new();
    for path in &args.files {
        match load_ladder(path)? {
            Some(ladder) if args.files.len() == 1 && args.html.is_none() && format == ReportFormat::Text => {
                print_report(|out| ladder::render(&ladder.report(), out), ladder::colored)?;
                return Ok(ExitReason::Success);
            }
            Some(ladder) => runs.extend(ladder.into_runs()),
            None => runs.push((path.display().to_string(), load_runs::load_run(path)?)),
        }
    }
    if runs.len() > MAX_RUNS {
        return Err(CliError::usage(format!(
            "{} files are more than the {MAX_RUNS} that a report takes",
            runs.len()
        )));
    }
    let runs: Vec<(&str, &Run)> = runs.iter().map(|(name, run)| (name.as_str(), run)).collect();
    match &args.html {
        Some(path) => {
            html_page::write(path, &runs)?;
            print_stderr(format_args!("saved {}", path.display()));
        }
        None => print_runs(&runs, format)?,
    }
    Ok(ExitReason::Success)
}

fn print_runs(runs: &[(&str, &Run)], format: ReportFormat) -> Result<(), CliError> {
    match format {
        ReportFormat::Text => {
            print_report(|out| each(runs, out, |run, out| text::render(run, out)), text::colored)
        }
        ReportFormat::Markdown => print(|out| each(runs, out, |run, out| run_metrics::markdown(run, out))),
        ReportFormat::Csv => print(|out| run_metrics::csv(runs, out)),
        ReportFormat::Json => {
            let printed = print_streaming(|out| {
                let mut out = BufWriter::new(out);
                for (_, run) in runs {
                    run.write(&mut out)?;
                    writeln!(out)?;
                }
                out.flush()
            });
            printed.map(drop)
        }
        ReportFormat::Vllm => print(|out| each(runs, out, |run, out| vllm::render(run, out))),
    }
}

/// Writes each run, below its name if there are several.
fn each(
    runs: &[(&str, &Run)],
    out: &mut UserTextWriter<'_>,
    render: impl Fn(&Run, &mut UserTextWriter<'_>) -> io::Result<()>,
) -> io::Result<()> {
    for (at, (name, run)) in runs.iter().enumerate() {
        if runs.len() > 1 {
            writeln!(out, "{}## {name}\n", if at > 0 { "\n" } else { "" })?;
        }
        render(run, out)?;
    }
    Ok(())
}
