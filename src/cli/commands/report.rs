//! `servegauge report`: a saved run as text, a table, or a page.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::args::parquet_path;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::html_page::{self, MAX_RUNS};
use crate::cli::load_ladder::load_ladder;
use crate::cli::records_file;
use crate::cli::saved_results::{self, SavedResult};
use crate::cli::stdout::{print, print_report, print_streaming};
use crate::cli::user_text::UserTextWriter;
use crate::report::{ladder, run_metrics, stated, text, vllm};

mod export;

use export::ExportFormat;

/// Report saved runs again.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Result files, indexes of ladders, or names of kept runs; several are laid side by side
    ///
    /// Of several runs in one file, the last counts. The index of a ladder stands for its steps. Result files of vllm
    /// bench serve, aiperf, guidellm, SGLang bench_serving and inference-perf are read too, and not judged.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write one HTML file with tables and charts, which needs no network
    #[arg(long, value_name = "OUT", conflicts_with_all = ["format", "json"])]
    html: Option<PathBuf>,
    /// Write one result in the format of another project, into the file of --out
    #[arg(long, value_enum, value_name = "FORMAT", requires = "out", conflicts_with_all = ["html", "format", "json"])]
    export: Option<ExportFormat>,
    /// File of --export; its name ends in .json, .yaml or .yml
    #[arg(long, value_name = "OUT", requires = "export")]
    out: Option<PathBuf>,
    /// Write every request of the run to this Parquet file, a row each
    ///
    /// The result must have its requests: `servegauge run --save-detailed` saves them.
    #[arg(long, value_name = "FILE.parquet", value_parser = parquet_path,
          conflicts_with_all = ["html", "format", "json"])]
    save_records: Option<PathBuf>,
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
    let mut results: Vec<(String, SavedResult)> = Vec::new();
    for path in &args.files {
        match load_ladder(path)? {
            Some(ladder) if args.files.len() == 1 && args.html.is_none() && format == ReportFormat::Text => {
                print_report(|out| ladder::render(&ladder.report(), out), ladder::colored)?;
                return Ok(ExitReason::Success);
            }
            Some(ladder) => {
                let runs = ladder.into_runs().into_iter();
                results.extend(runs.map(|(name, run)| (name, SavedResult::Run(Box::new(run)))));
            }
            None => results.extend(saved_results::load_named(path)?),
        }
    }
    if results.len() > MAX_RUNS {
        return Err(CliError::usage(format!(
            "{} results are more than the {MAX_RUNS} that a report takes",
            results.len()
        )));
    }
    if let (Some(format), Some(path)) = (args.export, &args.out) {
        export::write(format, path, &results)?;
    } else if let Some(path) = &args.html {
        html_page::write_results(path, &results)?;
    } else if let Some(path) = &args.save_records {
        save_records(path, &results)?;
    } else {
        print_results(&results, format)?;
    }
    let saved = args.html.iter().chain(&args.save_records).chain(&args.out);
    saved.for_each(|path| print_stderr(format_args!("saved {}", path.display())));
    Ok(ExitReason::Success)
}

/// Writes the requests of a saved run as Parquet.
fn save_records(path: &Path, results: &[(String, SavedResult)]) -> Result<(), CliError> {
    let [(name, result)] = results else {
        return Err(CliError::usage(format!(
            "--save-records takes one run, and these are {}: a file for each keeps their requests apart",
            results.len()
        )));
    };
    let run = match result {
        SavedResult::Run(run) => run,
        SavedResult::Stated(result) => {
            return Err(CliError::usage(format!(
                "{name} is a result of {}: --save-records takes runs of servegauge only",
                result.tool
            )));
        }
    };
    let Some(records) = &run.records else {
        if let Some(log) = run.sampled.as_ref().and_then(|sampled| sampled.log.as_ref()) {
            return Err(CliError::usage(format!(
                "{name} has no requests, because they were too many for memory: they are in {log}, and `run --recover` \
                 with --save-records writes them"
            )));
        }
        return Err(CliError::usage(format!(
            "{name} has no requests: save the run with --save-detailed, or measure with `run --save-records`"
        )));
    };
    let detailed = records.iter().any(|record| record.text.is_some() || record.events.gaps.is_some());
    records_file::write(
        path,
        run,
        &mut |take| {
            records.iter().for_each(take);
            Ok(())
        },
        detailed,
    )
}

fn print_results(results: &[(String, SavedResult)], format: ReportFormat) -> Result<(), CliError> {
    match format {
        ReportFormat::Text => print_report(
            |out| {
                each(results, out, |result, out| match result {
                    SavedResult::Run(run) => text::render(run, out),
                    SavedResult::Stated(result) => stated::text(result, out),
                })
            },
            text::colored,
        ),
        ReportFormat::Markdown => print(|out| {
            each(results, out, |result, out| match result {
                SavedResult::Run(run) => run_metrics::markdown(run, out),
                SavedResult::Stated(result) => stated::markdown(result, out),
            })
        }),
        ReportFormat::Csv => print(|out| csv(results, out)),
        ReportFormat::Json => print_streaming(|out| json(results, out)).map(drop),
        ReportFormat::Vllm => {
            let other = results.iter().find(|(_, result)| matches!(result, SavedResult::Stated(_)));
            if let Some((name, SavedResult::Stated(result))) = other {
                return Err(CliError::usage(format!(
                    "{name} is a result of {}: --format vllm prints runs of servegauge only",
                    result.tool
                )));
            }
            print(|out| {
                each(results, out, |result, out| match result {
                    SavedResult::Run(run) => vllm::render(run, out),
                    SavedResult::Stated(_) => Ok(()),
                })
            })
        }
    }
}

fn csv(results: &[(String, SavedResult)], out: &mut impl Write) -> io::Result<()> {
    let mut lines = ::csv::Writer::from_writer(out);
    lines.write_record(run_metrics::CSV_HEAD)?;
    for (name, result) in results {
        let found = match result {
            SavedResult::Run(run) => run_metrics::csv_lines(name, run),
            SavedResult::Stated(result) => stated::csv_lines(name, result),
        };
        found.iter().try_for_each(|line| lines.write_record(line))?;
    }
    lines.flush()
}

fn json(results: &[(String, SavedResult)], out: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    for (_, result) in results {
        match result {
            SavedResult::Run(run) => {
                run.write(&mut out)?;
                writeln!(out)?;
            }
            SavedResult::Stated(result) => stated::json(result, &mut out)?,
        }
    }
    out.flush()
}

/// Writes each result, below its name if there are several.
fn each(
    results: &[(String, SavedResult)],
    out: &mut UserTextWriter<'_>,
    render: impl Fn(&SavedResult, &mut UserTextWriter<'_>) -> io::Result<()>,
) -> io::Result<()> {
    for (at, (name, result)) in results.iter().enumerate() {
        if results.len() > 1 {
            writeln!(out, "{}## {name}\n", if at > 0 { "\n" } else { "" })?;
        }
        render(result, out)?;
    }
    Ok(())
}
