//! `servegauge ab`: alternates between two servers, in pairs of blocks with the same requests.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use uuid::Uuid;

use super::compare::TableFormat;
use super::run::RunCommandLine;
use crate::analysis::ab::{AbComparison, AbDesign, Arm, BlockPair};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::withheld::tell_withheld;
use crate::cli::{html_page, stdout};
use crate::model::run::file;
use crate::report::{self, html::SideLatencies};

mod args;
mod blocks;
mod servers;

pub(crate) use args::AbArgs;
use args::Source;
use blocks::{Blocks, subfolder};
use servers::{Break, Running, Servers, may_both_run, source};

/// Flags of `run` that a flag of `ab` replaces, each with its replacement.
const TAKEN: [(&str, &str); 7] = [
    ("base-url", "--a and --b name the servers"),
    ("host", "--a and --b name the servers"),
    ("port", "--a and --b name the servers"),
    ("sim", "--a and --b name the servers; 'servegauge sim --port {port}' is a command for them"),
    ("duration", "--block sets the duration of a block"),
    ("dry-run", "blocks are measured; `servegauge run --dry-run` shows what would be sent"),
    ("repeats", "--blocks sets the number of blocks"),
];

/// Runs the command.
pub(crate) fn execute(args: &AbArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    let block = check(args)?;
    let running = servers::meet(args, &block, interrupts)?;
    if let Some((running, follower)) =
        running.as_ref().and_then(|both| Some((&both[0], servers::follower(both)?)))
    {
        return follower.execute(&blocks::invocation(args, running, block.args.workload.seed));
    }
    probe(args.save.as_deref())?;
    args.html.as_deref().map_or(Ok(()), |path| file::check_writable(path).map_err(CliError::usage))?;
    if Arm::BOTH.into_iter().any(|arm| matches!(source(args, arm), Source::Command(_))) {
        tell_withheld(&args.pass_env);
    }
    interrupts.allow_report();
    let (pairs, ending) = measure(args, &block, running, interrupts);
    if !pairs.is_empty() {
        return conclude(args, &block, pairs, ending);
    }
    match ending {
        Some(Break::Failed(halt)) => Err(halt),
        Some(Break::Interrupted) | None => {
            print_stderr("interrupted before a pair of blocks was complete");
            Ok(ExitReason::Interrupted)
        }
    }
}

/// Parses the flags of a block, and rejects wrong ones before any server starts.
fn check(args: &AbArgs) -> Result<RunCommandLine, CliError> {
    let wrong = |why: String| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`"));
    let mut line = RunCommandLine::parse(&args.run).map_err(wrong)?;
    if let Some((flag, why)) = TAKEN.into_iter().find(|(flag, _)| line.gives(flag)) {
        return Err(wrong(format!("--{flag} is not for a block: {why}")));
    }
    if let Some(flag) = line.first_result_flag().filter(|flag| *flag != "save-detailed") {
        let why = "--out DIR saves every block's run, --format sets the format of the table";
        return Err(wrong(format!("--{flag} is not for a block: {why}")));
    }
    let starts_one = Arm::BOTH.into_iter().find(|arm| matches!(source(args, *arm), Source::Command(_)));
    if let (Some(flag), Some(arm)) = (line.shard_flag(), starts_one) {
        let why = format!(
            "only this process knows the server of {arm}, which it starts: start it, and give its URL"
        );
        return Err(wrong(format!("--{flag}: {why}")));
    }
    let configuration = &line.args.configuration;
    if configuration.config.is_some() || configuration.like.is_some() || configuration.dump_config {
        return Err(wrong("flags from files are not supported here: write them out".to_owned()));
    }
    if line.args.output.save_detailed && args.save.is_none() {
        return Err(wrong("--save-detailed needs a place: give --out DIR before the `--`".to_owned()));
    }
    if args.blocks.get() < 2 {
        return Err(CliError::usage(
            "--blocks must be at least 2: one pair does not show how much pairs vary",
        ));
    }
    line.args.load.duration = Some(args.block);
    line.record("duration", args.block.as_secs_f64());
    line.spec().map_err(wrong)?;
    if args.a == args.b && matches!(args.a, Source::Url(_)) {
        print_stderr(
            "note: A and B are one server: unless it resets its prefix cache, the second block of a pair hits the prompts of the \
             first in the cache",
        );
    }
    Ok(line)
}

/// Checks that the runs can be saved, and that the folder has no other runs, which could be mistaken for them.
fn probe(folder: Option<&Path>) -> Result<(), CliError> {
    let Some(folder) = folder else { return Ok(()) };
    for arm in Arm::BOTH {
        let folder = folder.join(subfolder(arm));
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(CliError::usage(format!(
                "--out: {} is not empty; give another folder, so that its runs are not mixed with these",
                folder.display()
            )));
        }
        file::check_writable(&folder.join("001.json")).map_err(CliError::usage)?;
    }
    Ok(())
}

/// Measures as many pairs as it can. The servers have ended when it returns.
fn measure(
    args: &AbArgs,
    block: &RunCommandLine,
    running: Option<[Running; 2]>,
    interrupts: &InterruptSignal,
) -> (Vec<BlockPair>, Option<Break>) {
    // Others may write into the system's temporary folder, so the name must be unpredictable.
    let temporary = std::env::temp_dir().join(format!("servegauge-ab-{}", Uuid::new_v4().simple()));
    let logs = args.save.as_ref().unwrap_or(&temporary);
    let blocks = Blocks {
        args,
        seed: block.args.workload.seed,
        detailed: block.args.output.save_detailed,
        interrupts,
        servers: Servers::new(args, block, interrupts, logs, running),
    };
    let (pairs, ending) = blocks.measure();
    if !matches!(ending, Some(Break::Failed(_))) {
        // The servers worked, so their logs are not needed. The folder is missing if we started no server.
        let _ = fs::remove_dir_all(&temporary);
    }
    (pairs, ending)
}

fn conclude(
    args: &AbArgs,
    block: &RunCommandLine,
    pairs: Vec<BlockPair>,
    ending: Option<Break>,
) -> Result<ExitReason, CliError> {
    let design = AbDesign {
        servers: Arm::BOTH.map(|arm| source(args, arm).to_string()),
        pairs: args.blocks.get(),
        block: args.block,
        fresh_starts: !may_both_run(args),
        allow_invalid: block.args.measure.allow_invalid,
    };
    let wanted = match &args.table.figures[..] {
        [] => {
            let runs = pairs.iter().flat_map(|pair| &pair.runs).map(std::slice::from_ref);
            args.table.default_metrics(&runs.collect::<Vec<_>>())
        }
        named => named.to_vec(),
    };
    // The comparison keeps the metrics of the runs, not the runs.
    let latencies = args.html.as_ref().map(|_| latencies(&pairs, design.allow_invalid));
    let ab = AbComparison::compare(design, pairs, &wanted, args.table.compare_config());
    if let (Some(path), Some(latencies)) = (&args.html, &latencies) {
        html_page::write_ab(path, &ab, latencies)?;
        print_stderr(format_args!("saved {}", path.display()));
    }
    print(&ab, args.table.format())?;
    match ending {
        Some(Break::Failed(halt)) => Err(halt),
        Some(Break::Interrupted) => Ok(ExitReason::Interrupted),
        None if ab.is_believable() => Ok(ExitReason::Success),
        None => Ok(ExitReason::Invalid),
    }
}

/// The latencies of A and of B in the pairs that count.
fn latencies(pairs: &[BlockPair], allow_invalid: bool) -> [SideLatencies; 2] {
    let counted = || pairs.iter().filter(|pair| pair.is_counted(allow_invalid));
    let runs = |arm: Arm| counted().map(move |pair| &pair.runs[arm as usize]);
    Arm::BOTH.map(|arm| SideLatencies::from_runs(&arm.to_string(), runs(arm)))
}

fn print(ab: &AbComparison, format: TableFormat) -> Result<(), CliError> {
    stdout::print(|out| match format {
        TableFormat::Text => report::ab::text(ab, out),
        TableFormat::Markdown => report::ab::markdown(ab, out),
        TableFormat::Csv => report::compare::csv(&ab.comparison, out),
        TableFormat::Json => {
            let text = serde_json::to_string_pretty(ab).expect("an A/B has only string keys");
            writeln!(out, "{text}")
        }
    })
}
