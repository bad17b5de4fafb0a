//! `servegauge logs`: summarizes a server's log and its problems.

mod follow;
mod log_source;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::args::JsonArgs;
use crate::cli::commands::logs::log_source::{LogSource, LogSourceError};
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::stdout::print;
use crate::report;
use crate::server::log::{LogLines, parse_line};
use crate::server::log_summary::{AlertRules, LineCounts, LogObserver, LogSummary, RuleOverride};

/// Summarize a server's log (vLLM, SGLang, TensorRT-LLM): what was wrong, and since when.
#[derive(Debug, Args)]
#[command(after_long_help = rules())]
pub(crate) struct LogsArgs {
    /// Log file (also .gz), or `-` for stdin
    ///
    /// Several files are pieces of one log, the oldest first.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Follow a growing log, also across rotation; print each alert as it begins
    ///
    /// Ctrl-C, TERM or HUP ends it.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    json: JsonArgs,
    /// Exit with code 1 if there was an alert
    ///
    /// The code is 2 if most lines of statistics are damaged, since such a log cannot be judged.
    #[arg(long)]
    fail_on_alert: bool,
    /// Thresholds that replace a rule's: kv=95, waiting=50:2m, preemptions=off
    ///
    /// The rules are listed in --help.
    #[arg(long, value_name = "NAME=BOUND[:FOR]")]
    threshold: Vec<RuleOverride>,
}

/// Returns the table of rules for `--help`.
fn rules() -> String {
    let rows = crate::server::log_summary::ALERT_RULES.iter().map(|rule| {
        let sense = if rule.name == "throughput" { "below" } else { "above" };
        let hold = humantime::format_duration(rule.hold);
        let head = format!("  {:<12} {sense} {} {} for {hold}", rule.name, rule.bound, rule.unit);
        format!("{head:<52} {}\n  {:<12} {}\n", rule.title, "", rule.advice)
    });
    format!("Rules (--threshold changes them):\n{}", rows.collect::<String>())
}

/// Runs the command.
pub(crate) fn execute(args: &LogsArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    let mut rules = AlertRules::default();
    args.threshold.iter().for_each(|change| rules.apply(*change));
    let observer = LogObserver::new(rules, jiff::Zoned::now().date());
    let summary = match args.follow {
        true => follow::follow(args, observer, interrupts)?,
        false => read_files(&args.files, observer)?,
    };
    print_summary(args, &summary)?;
    match interrupts.is_requested() {
        true => Ok(ExitReason::Interrupted),
        false if args.fail_on_alert => alert_exit(&summary, &log_name(&args.files)),
        false => Ok(ExitReason::Success),
    }
}

/// Returns the exit code of `--fail-on-alert`. A log whose statistics are unreadable can neither pass nor fail.
fn alert_exit(summary: &LogSummary, name: &str) -> Result<ExitReason, CliError> {
    let LineCounts { damaged, statistics, .. } = summary.lines;
    if !summary.alerts.is_empty() {
        Ok(ExitReason::Failed)
    } else if summary.lines.are_mostly_damaged() {
        Err(CliError::usage(format!(
            "{name}: {damaged} lines are damaged and {statistics} lines of statistics are readable, so --fail-on-alert \
             cannot judge the log; pass the log as the server wrote it"
        )))
    } else {
        Ok(ExitReason::Success)
    }
}

/// Summarizes a log by the default rules. Several files are pieces of one log, the oldest first.
pub(crate) fn summarize(files: &[PathBuf]) -> Result<LogSummary, CliError> {
    read_files(files, LogObserver::new(AlertRules::default(), jiff::Zoned::now().date()))
}

/// Reads all files to their ends.
fn read_files(files: &[PathBuf], mut observer: LogObserver) -> Result<LogSummary, CliError> {
    for path in files {
        let source = LogSource::open(path).map_err(CliError::usage)?;
        let mut lines = LogLines::new(source.text);
        feed_lines(&mut lines, &mut observer)
            .map_err(|error| CliError::usage(LogSourceError::unreadable(path, error)))?;
        if let Some(line) = lines.partial_line() {
            observer.push_line(parse_line(line));
        }
    }
    let summary = observer.finish();
    if summary.lines.all == summary.lines.unknown {
        let what = format!("{}: none of its {} lines is known", log_name(files), summary.lines.all);
        return Err(CliError::usage(format!(
            "{what}; is it the log of a vLLM, SGLang or TensorRT-LLM server, with its statistics on?"
        )));
    }
    Ok(summary)
}

/// Passes all complete lines to the observer.
fn feed_lines(lines: &mut LogLines<impl BufRead>, observer: &mut LogObserver) -> io::Result<()> {
    while let Some(line) = lines.next_line()? {
        observer.push_line(parse_line(line));
    }
    Ok(())
}

/// Returns the display name of a log that consists of these files.
pub(crate) fn log_name(files: &[PathBuf]) -> String {
    let names = files.iter().map(|path| log_source::display_name(path));
    names.collect::<Vec<_>>().join(", ")
}

fn print_summary(args: &LogsArgs, summary: &LogSummary) -> Result<(), CliError> {
    print(|out| match args.json.is_wanted() {
        true => writeln!(out, "{}", json!({ "log": log_name(&args.files), "summary": summary })),
        false => report::log::render(summary, &log_name(&args.files), out),
    })
}
