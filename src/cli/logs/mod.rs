//! `servebench logs`: what a server's log says, and what was wrong.

mod follow;
mod source;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Halt};
use super::interrupt::Interrupts;
use super::stdout::print;
use crate::judge::log::{Change, Observer, Rules, Summary};
use crate::report;
use crate::server::log::{Lines, read};
use source::{Source, SourceError};

/// Sum up a vLLM server's log, and say what was wrong and since when.
#[derive(Debug, Args)]
#[command(after_long_help = rules())]
pub struct LogsArgs {
    /// The log: a file (`.gz` too), or `-` for stdin. Several files are pieces of one log, the oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Go on reading as the file grows, also when it is rotated; tell each alert when it begins. Ctrl-C, TERM or HUP ends it
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object (with --follow, alerts before it, one a line)
    #[arg(long)]
    json: bool,
    /// Exit with 1 if there was an alert
    #[arg(long)]
    fail_on_alert: bool,
    /// Another bound for a rule: kv=95, waiting=50:2m, preemptions=off; the rules are in --help
    #[arg(long, value_name = "NAME=BOUND[:FOR]")]
    threshold: Vec<Change>,
}

/// The table of rules, for `--help`.
fn rules() -> String {
    let rows = crate::judge::log::RULES.iter().map(|rule| {
        let sense = if rule.name == "throughput" { "below" } else { "above" };
        let hold = humantime::format_duration(rule.hold);
        let head = format!("  {:<12} {sense} {} {} for {hold}", rule.name, rule.bound, rule.unit);
        format!("{head:<52} {}\n  {:<12} {}\n", rule.title, "", rule.advice)
    });
    format!("Rules (--threshold changes them):\n{}", rows.collect::<String>())
}

/// Runs the command.
pub fn execute(args: &LogsArgs, interrupts: &Interrupts) -> Result<Exit, Halt> {
    let mut rules = Rules::default();
    args.threshold.iter().for_each(|change| rules.change(*change));
    let observer = Observer::new(rules, jiff::Zoned::now().date());
    let summary = match args.follow {
        true => follow::follow(args, observer, interrupts)?,
        false => whole(&args.files, observer)?,
    };
    deliver(args, &summary)?;
    let alerted = args.fail_on_alert && !summary.alerts.is_empty();
    Ok(match (interrupts.asked(), alerted) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Failed,
        (false, false) => Exit::Fine,
    })
}

/// What a log says by the usual rules; several files are its pieces, the oldest first.
pub fn summary(files: &[PathBuf]) -> Result<Summary, Halt> {
    whole(files, Observer::new(Rules::default(), jiff::Zoned::now().date()))
}

/// Reads the files from end to end.
fn whole(files: &[PathBuf], mut observer: Observer) -> Result<Summary, Halt> {
    for path in files {
        let source = Source::open(path).map_err(Halt::usage)?;
        let mut lines = Lines::new(source.text);
        feed(&mut lines, &mut observer).map_err(|error| Halt::usage(SourceError::unreadable(path, error)))?;
        if let Some(line) = lines.rest() {
            observer.take(read(line));
        }
    }
    let summary = observer.finish();
    if summary.lines.all == summary.lines.unknown {
        let what = format!("{}: none of its {} lines is known", name(files), summary.lines.all);
        return Err(Halt::usage(format!(
            "{what}; is it the log of a vLLM server, without --disable-log-stats?"
        )));
    }
    Ok(summary)
}

/// Gives the observer all lines that have an end.
fn feed(lines: &mut Lines<impl BufRead>, observer: &mut Observer) -> io::Result<()> {
    while let Some(line) = lines.next_line()? {
        observer.take(read(line));
    }
    Ok(())
}

/// How a log in so many pieces is called.
pub fn name(files: &[PathBuf]) -> String {
    let names = files.iter().map(|path| source::name(path));
    names.collect::<Vec<_>>().join(", ")
}

fn deliver(args: &LogsArgs, summary: &Summary) -> Result<(), Halt> {
    print(|out| match args.json {
        true => writeln!(out, "{}", json!({ "log": name(&args.files), "summary": summary })),
        false => report::log::render(summary, &name(&args.files), out),
    })
}
