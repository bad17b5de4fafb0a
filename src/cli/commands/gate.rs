//! `servegauge gate`: decides whether a candidate passes.

use crate::analysis::gate::GateVerdict;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;

mod args;
mod case;
mod init;
mod output;
mod promote;
mod running;
mod stated;

pub(crate) use args::GateArgs;
use args::GateCommand;
use case::{Case, Heard, Hearing};
use output::Output;

/// Runs the command; `typed` is the command line.
pub(crate) fn execute(
    args: &GateArgs,
    typed: Vec<String>,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    if let Some(GateCommand::Init(init)) = &args.command {
        return init::execute(init, typed, interrupts);
    }
    let output = Output::of(&args.output)?;
    let Heard { ruling, runs } = match hear(args, typed, interrupts) {
        Ok(Hearing::Heard(heard)) => *heard,
        Ok(Hearing::Ended(exit)) => return Ok(exit),
        Err(error) => {
            output.write_error(&error)?;
            return Err(error);
        }
    };
    let saved = output.save(&ruling);
    let promoted = match args.output.update_baseline && !interrupts.is_requested() {
        true => promote::promote(&args.baseline, runs, &ruling, args.output.force),
        false => Ok(()),
    };
    let printed = output.print(&ruling);
    saved.and(promoted).and(printed)?;
    Ok(match ruling.outcome {
        _ if interrupts.is_requested() => ExitReason::Interrupted,
        GateVerdict::Pass | GateVerdict::Warn => ExitReason::Success,
        GateVerdict::Fail => ExitReason::Failed,
        GateVerdict::Invalid => ExitReason::Invalid,
    })
}

/// Judges the saved runs, or measures the candidate and judges it.
fn hear(args: &GateArgs, typed: Vec<String>, interrupts: &InterruptSignal) -> Result<Hearing, CliError> {
    refuse_idle(args)?;
    if let Some(heard) = stated::judge(args)? {
        return Ok(heard.into());
    }
    let case = Case::of(args)?;
    if args.output.update_baseline {
        promote::check(&args.baseline)?;
    }
    match args.run.is_empty() {
        true => case.files(&args.candidate).map(Hearing::from),
        false => running::measure(&case, args, typed, interrupts),
    }
}

/// Rejects flags that only apply to a measured candidate if none is measured. This check is not clap's, which drops
/// an argument that one flag requires and another excludes.
fn refuse_idle(args: &GateArgs) -> Result<(), CliError> {
    let measuring = [("--extend", args.strictness.extend.is_some()), ("--out", args.output.save.is_some())];
    match measuring.iter().find(|(_, given)| *given && args.run.is_empty()) {
        Some((flag, _)) => Err(CliError::usage(format!(
            "{flag} needs `-- run FLAGS` in place of --candidate: saved runs cannot be extended"
        ))),
        None => Ok(()),
    }
}
