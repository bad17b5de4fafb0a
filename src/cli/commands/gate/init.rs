//! `servegauge gate init`: measures a baseline, and writes the rules that it can decide.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use jiff::Zoned;

use super::args::InitArgs;
use super::running;
use crate::analysis::compare::server_starts;
use crate::analysis::gate::{self, SuggestedRule};
use crate::cli::commands::run::RunSession;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::load_runs;
use crate::cli::stdout::print;
use crate::model::run::{Run, file};
use crate::model::secrets;
use crate::report::gate::rules_text::{self, RulesOrigin};
use crate::runner::{Invocation, RecordDetail, Repeat, Repeats};

/// Runs the command; `typed` is the command line.
pub(super) fn execute(
    args: &InitArgs,
    typed: Vec<String>,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    let earlier = earlier_runs(&args.out)?;
    if args.rules.exists() && !args.force && earlier.is_empty() {
        let path = args.rules.display();
        return Err(CliError::usage(format!(
            "{path} exists: --force replaces it, --rules FILE writes another"
        )));
    }
    fs::create_dir_all(&args.out)
        .map_err(|error| CliError::usage(format!("--out {}: {error}", args.out.display())))?;
    file::check_writable(&args.rules).map_err(CliError::usage)?;
    let measured = measure(args, &earlier, typed, interrupts)?;
    if interrupts.is_requested() {
        print_stderr("interrupted: no rules are written");
        return Ok(ExitReason::Interrupted);
    }
    let runs: Vec<Run> = earlier.into_iter().chain(measured).collect();
    let rules = gate::suggest_rules(&runs);
    write_rules(args, &rules, runs.len())?;
    print(|out| {
        rules.iter().try_for_each(|suggested| writeln!(out, "{}", suggested.rule.rule))?;
        writeln!(out, "\nNext:\n  {}", next_command(args, &runs))
    })?;
    Ok(ExitReason::Success)
}

/// The runs that the folder has already.
fn earlier_runs(folder: &Path) -> Result<Vec<Run>, CliError> {
    let has_files = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    match has_files {
        true => load_runs::load_side(folder).map(|side| side.runs),
        false => Ok(Vec::new()),
    }
}

/// Measures the runs and saves each. An INVALID run ends the command: no rule should rest on it.
fn measure(
    args: &InitArgs,
    earlier: &[Run],
    typed: Vec<String>,
    interrupts: &InterruptSignal,
) -> Result<Vec<Run>, CliError> {
    let line = running::run_line(&args.run)?;
    line.refuse_shards().map_err(CliError::usage)?;
    let mut spec = line.spec().map_err(CliError::usage)?;
    let session = RunSession::connect(&line.args, &mut spec, RecordDetail::GAPS, interrupts)?;
    let runner = session.runner();
    let first = runner.prepare(spec.clone())?;
    if let Some(unlike) = earlier.first().and_then(|run| running::unlike(run, &first).into_iter().next()) {
        let folder = args.out.display();
        return Err(CliError::usage(format!(
            "the runs in {folder} had other settings ({unlike}): give another --out"
        )));
    }
    let invocation = Invocation { command: typed, settings: line.settings.clone(), record_log: None };
    let mut runs = Vec::new();
    for Repeat { measured, .. } in Repeats::new(&runner, (spec, first), invocation, args.repeats.get()) {
        let (mut run, records) = match measured {
            Err(_) if interrupts.is_requested() => break,
            measured => measured?,
        };
        if run.interrupted {
            break;
        }
        if let (Some(why), false) = (run.validity.run_invalid_reason(), line.args.measure.allow_invalid) {
            return Err(CliError::invalid(format!(
                "a run of the baseline is INVALID ({why}): no rules are written"
            )));
        }
        run.records = records.into_whole();
        let number = earlier.len() + runs.len() + 1;
        let path = args.out.join(format!("run-{number:03}.json"));
        run.save(&path).map_err(CliError::io)?;
        print_stderr(format_args!("saved {}", path.display()));
        runs.push(Run { records: None, details: None, ..run });
    }
    session.close();
    Ok(runs)
}

fn write_rules(args: &InitArgs, rules: &[SuggestedRule], runs: usize) -> Result<(), CliError> {
    if rules.is_empty() {
        return Err(CliError::failed("the runs have none of the metrics of the usual rules"));
    }
    let (folder, date) = (args.out.display().to_string(), Zoned::now().strftime("%Y-%m-%d").to_string());
    let mut text = Vec::new();
    rules_text::render(rules, &RulesOrigin { folder: &folder, runs, date: &date }, &mut text)
        .map_err(CliError::io)?;
    file::write(&args.rules, &text).map_err(CliError::io)?;
    print_stderr(format_args!("saved {}", args.rules.display()));
    Ok(())
}

/// The gate with this baseline; it says what a baseline of too few server starts lacks.
fn next_command(args: &InitArgs, runs: &[Run]) -> String {
    let starts = server_starts::group_by_start(runs).len();
    let is_enough = starts >= server_starts::MIN_STARTS;
    if !is_enough {
        print_stderr(format_args!(
            "note: the baseline is from {starts} server start{}, so it says nothing about a server that was restarted: restart \
             the server and run this command again until it has {}, or use --same-start",
            if starts == 1 { "" } else { "s" },
            server_starts::MIN_STARTS
        ));
    }
    let words = |path: &Path| shell_word(&path.display().to_string());
    let run: Vec<String> = secrets::mask_args(&args.run).iter().map(|word| shell_word(word)).collect();
    format!(
        "servegauge gate --baseline {} --rules {}{} -- {}",
        words(&args.out),
        words(&args.rules),
        if is_enough { "" } else { " --same-start" },
        run.join(" ")
    )
}

fn shell_word(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}
