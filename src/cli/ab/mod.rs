//! `servebench ab`: two servers measured by turns, in pairs of blocks with the same requests.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::compare::Format;
use super::exit::{Exit, Halt, say};
use super::interrupt::Interrupts;
use super::run::Line;
use super::stdout;
use crate::core::run::file;
use crate::judge::ab::{Ab, Arm, Design, Pair};
use crate::report;

mod args;
mod blocks;
mod servers;

pub use args::AbArgs;
use args::Source;
use blocks::{Blocks, subfolder};
use servers::{Break, Servers, may_both_run, source};

/// Flags of `run` that are no block's, and why.
const NOT_OF_A_BLOCK: [(&str, &str); 14] = [
    ("base-url", "--a and --b say where the servers are"),
    ("host", "--a and --b say where the servers are"),
    ("port", "--a and --b say where the servers are"),
    ("sim", "--a and --b say where the servers are; 'servebench sim --port {port}' is a command for them"),
    ("duration", "--block says how long a block is"),
    ("dry-run", "blocks are measured; `servebench run --dry-run` shows what would be sent"),
    ("repeats", "--blocks says how often"),
    ("save-result", "--save DIR keeps every block's run"),
    ("append-result", "--save DIR keeps every block's run"),
    ("result-dir", "--save DIR keeps every block's run"),
    ("result-filename", "--save DIR keeps every block's run"),
    ("report", "--format says how the table is written"),
    ("plot-timeline", "`servebench run` draws"),
    ("plot-dataset-stats", "`servebench run` draws"),
];

/// Runs the command.
pub fn execute(args: &AbArgs, interrupts: &Interrupts) -> Result<Exit, Halt> {
    let block = check(args)?;
    probe(args.save.as_deref())?;
    interrupts.hold();
    let (pairs, ending) = measure(args, &block, interrupts);
    if !pairs.is_empty() {
        return conclude(args, &block, pairs, ending);
    }
    match ending {
        Some(Break::Failed(halt)) => Err(halt),
        Some(Break::Interrupted) | None => {
            say("interrupted before a pair of blocks was complete");
            Ok(Exit::Interrupted)
        }
    }
}

/// The flags of a block. What is wrong with them is told before any server is started.
fn check(args: &AbArgs) -> Result<Line, Halt> {
    let wrong = |why: String| Halt::usage(format!("after `--`: {why}; see `servebench run --help`"));
    let given = super::run_line(&args.run).map_err(wrong)?;
    if let Some((flag, why)) = NOT_OF_A_BLOCK.into_iter().find(|(flag, _)| given.settings.contains_key(*flag))
    {
        return Err(wrong(format!("--{flag} is not for a block: {why}")));
    }
    let configuration = &given.args.configuration;
    if configuration.config.is_some() || configuration.like.is_some() || configuration.dump_config {
        return Err(wrong("flags are read from nowhere else here: write them out".to_owned()));
    }
    if given.args.output.save_detailed && args.save.is_none() {
        return Err(wrong("--save-detailed needs a place: give --save DIR before the `--`".to_owned()));
    }
    if args.blocks.get() < 2 {
        return Err(Halt::usage("--blocks must be 2 or more: one pair does not tell how much pairs differ"));
    }
    let line = line(&words(args, "http://127.0.0.1:8000"))?;
    line.spec().map_err(wrong)?;
    if args.a == args.b && matches!(args.a, Source::Url(_)) {
        say(
            "note: A and B are one server: unless it resets its prefix cache, whoever goes second in a pair finds the prompts there",
        );
    }
    Ok(line)
}

/// The flags of a block on the server at this URL, as they could be typed.
fn words(args: &AbArgs, url: &str) -> Vec<String> {
    let own = ["--base-url", url, "--duration", &args.block.as_secs_f64().to_string()].map(ToOwned::to_owned);
    [&args.run[..], &own].concat()
}

fn line(words: &[String]) -> Result<Line, Halt> {
    super::run_line(words).map_err(|why| Halt::usage(format!("after `--`: {why}")))
}

/// Whether the runs can be saved, and no others are there, which would be taken for theirs.
fn probe(folder: Option<&Path>) -> Result<(), Halt> {
    let Some(folder) = folder else { return Ok(()) };
    for arm in Arm::BOTH {
        let folder = folder.join(subfolder(arm));
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Halt::usage(format!(
                "--save: {} is not empty; give another folder, so that its runs are not mixed with these",
                folder.display()
            )));
        }
        file::probe(&folder.join("001.json")).map_err(Halt::usage)?;
    }
    Ok(())
}

/// Measures as many pairs as it can; the servers have ended then.
fn measure(args: &AbArgs, block: &Line, interrupts: &Interrupts) -> (Vec<Pair>, Option<Break>) {
    let temporary = std::env::temp_dir().join(format!("servebench-ab-{}", std::process::id()));
    let logs = args.save.as_ref().unwrap_or(&temporary);
    let blocks = Blocks {
        args,
        seed: block.args.workload.seed,
        detailed: block.args.output.save_detailed,
        interrupts,
        servers: Servers::new(args, interrupts, logs),
    };
    let (pairs, ending) = blocks.measure();
    if !matches!(ending, Some(Break::Failed(_))) {
        // Logs of servers that did what they should; if we started none, there are none.
        let _ = fs::remove_dir_all(&temporary);
    }
    (pairs, ending)
}

fn conclude(args: &AbArgs, block: &Line, pairs: Vec<Pair>, ending: Option<Break>) -> Result<Exit, Halt> {
    let design = Design {
        servers: Arm::BOTH.map(|arm| source(args, arm).to_string()),
        pairs: args.blocks.get(),
        block: args.block,
        fresh_starts: !may_both_run(args),
        allow_invalid: block.args.measure.allow_invalid,
    };
    let wanted = match &args.table.figures[..] {
        [] => {
            let runs = pairs.iter().flat_map(|pair| &pair.runs).map(std::slice::from_ref);
            args.table.default_figures(&runs.collect::<Vec<_>>())
        }
        named => named.to_vec(),
    };
    let ab = Ab::of(design, pairs, &wanted, args.table.settings());
    print(&ab, args.table.format)?;
    match ending {
        Some(Break::Failed(halt)) => Err(halt),
        Some(Break::Interrupted) => Ok(Exit::Interrupted),
        None if ab.is_believable() => Ok(Exit::Fine),
        None => Ok(Exit::Invalid),
    }
}

fn print(ab: &Ab, format: Format) -> Result<(), Halt> {
    stdout::print(|out| match format {
        Format::Text => report::ab::text(ab, out),
        Format::Markdown => report::ab::markdown(ab, out),
        Format::Csv => report::compare::csv(&ab.comparison, out),
        Format::Json => {
            let text = serde_json::to_string_pretty(ab).expect("an A/B has only string keys");
            writeln!(out, "{text}")
        }
    })
}
