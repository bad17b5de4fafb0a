//! `servebench compare`: better, worse, the same, or cannot tell.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::{Exit, Halt};
use super::plan::share;
use super::run::values;
use super::sides;
use crate::core::figure::Figure;
use crate::judge::compare::{Comparison, Settings};
use crate::report;

/// Compare saved runs.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What is compared with: a result file (of several runs in it the last), or a folder of repeats
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// What is compared: the same
    #[arg(value_name = "CAND", required = true)]
    candidates: Vec<PathBuf>,
    /// How the table is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The share of the baseline's value below which a difference does not matter
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share::below_one)]
    margin: f64,
    /// The same in time, for tiny latencies
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = values::seconds)]
    floor: Duration,
    /// The same for failure rate and goodput ratio, in percentage points
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share::below_one)]
    points: f64,
    /// The chance that a table of equal servers calls any row better or worse
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = level)]
    alpha: f64,
    /// Only these rows, such as ttft.p95,tpot.mean: with fewer to look at, smaller differences are found
    #[arg(long, value_name = "FIGURES", value_delimiter = ',')]
    figures: Vec<Figure>,
    /// Compare runs that asked different things, or are INVALID
    #[arg(long)]
    anyway: bool,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Markdown,
    Json,
    Csv,
}

fn level(text: &str) -> Result<f64, String> {
    share::below_one(text)
        .and_then(|level| if level > 0.0 { Ok(level) } else { Err("nothing is that sure".into()) })
}

/// Runs the command.
pub fn execute(args: &CompareArgs) -> Result<Exit, Halt> {
    let base = sides::read(&args.base)?;
    let candidates = args.candidates.iter().map(|path| sides::read(path)).collect::<Result<Vec<_>, _>>()?;
    let caveats = sides::caveats(&base, &candidates, args.anyway)?;
    let settings =
        Settings { margin: args.margin, floor: args.floor, points: args.points, alpha: args.alpha };
    let mut comparison = match &args.figures[..] {
        [] => Comparison::of(&base, &candidates, settings),
        wanted => Comparison::of_figures(&base, &candidates, wanted, settings),
    };
    if comparison.rows().next().is_none() {
        return Err(Halt::usage("the runs have none of these figures in common"));
    }
    comparison.caveats = caveats;
    print(&comparison, args.format).map_err(Halt::failed)?;
    Ok(Exit::Fine)
}

fn print(comparison: &Comparison, format: Format) -> io::Result<()> {
    let mut to = io::stdout().lock();
    match format {
        Format::Text => report::compare::text(comparison, &mut to),
        Format::Markdown => report::compare::markdown(comparison, &mut to),
        Format::Csv => report::compare::csv(comparison, &mut to),
        Format::Json => {
            let text = serde_json::to_string_pretty(comparison).expect("a comparison has only string keys");
            writeln!(to, "{text}")
        }
    }
}
