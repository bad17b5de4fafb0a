//! `servebench gate`: may this candidate pass?

use super::exit::{Exit, Halt};
use super::interrupt::Interrupts;
use crate::judge::gate::Outcome;

mod args;
mod case;
mod output;
mod promote;
mod running;

pub use args::GateArgs;
use case::{Case, Heard};
use output::Output;

/// Runs the command; `typed` is the command line.
pub fn execute(args: &GateArgs, typed: Vec<String>, interrupts: &Interrupts) -> Result<Exit, Halt> {
    refuse_idle(args)?;
    let output = Output::of(&args.output)?;
    let case = Case::of(args)?;
    if args.output.update_baseline {
        promote::check(&args.baseline)?;
    }
    let heard = match args.run.is_empty() {
        true => case.files(&args.candidate)?,
        false => running::measure(&case, args, typed, interrupts)?,
    };
    let Some(Heard { ruling, runs }) = heard else {
        return Ok(Exit::Interrupted);
    };
    let saved = output.save(&ruling);
    let promoted = match args.output.update_baseline && !interrupts.asked() {
        true => promote::promote(&args.baseline, runs, &ruling, args.output.force),
        false => Ok(()),
    };
    let printed = output.print(&ruling);
    saved.and(promoted).and(printed)?;
    Ok(match ruling.outcome {
        _ if interrupts.asked() => Exit::Interrupted,
        Outcome::Pass | Outcome::Warn => Exit::Fine,
        Outcome::Fail => Exit::Failed,
        Outcome::Invalid => Exit::Invalid,
    })
}

/// Flags for a candidate that is measured, where none is. (Said here, since clap drops what is required by one flag and
/// excluded by another.)
fn refuse_idle(args: &GateArgs) -> Result<(), Halt> {
    let measuring = [("--extend", args.strictness.extend.is_some()), ("--save", args.output.save.is_some())];
    match measuring.iter().find(|(_, given)| *given && args.run.is_empty()) {
        Some((flag, _)) => Err(Halt::usage(format!(
            "{flag} needs `-- run FLAGS` in place of --candidate: saved runs do not grow"
        ))),
        None => Ok(()),
    }
}
