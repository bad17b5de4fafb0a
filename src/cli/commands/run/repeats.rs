//! `--repeats`: reports and saves each run, then prints the table of all.

use super::deliver::Delivery;
use super::outcome::{exit_status, worse};
use crate::cli::args::RunArgs;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::interrupt::InterruptSignal;
use crate::model::run::Run;
use crate::runner::{Repeat, Repeats};

/// Measures and delivers the runs. An interrupt, or a run without any result, ends the repeats; the completed runs
/// are still summarized.
pub(super) fn execute(
    args: &RunArgs,
    repeats: Repeats<'_>,
    delivery: &Delivery,
    interrupts: &InterruptSignal,
) -> Result<ExitReason, CliError> {
    let (mut whole, mut worst) = (Vec::new(), ExitReason::Success);
    for Repeat { number, invocation, measured } in repeats {
        let (mut run, records) = match measured {
            Ok(measured) => measured,
            // A run that fails because of the interrupt is not a failure.
            Err(_) if interrupts.is_requested() => break,
            Err(error) if whole.is_empty() => return Err(error.into()),
            // The completed runs are still summarized.
            Err(error) => {
                worst = worse(worst, CliError::from(error).report());
                break;
            }
        };
        delivery.deliver_one_of(number, &mut run, records, invocation.record_log.as_ref())?;
        let exit = exit_status(&run, args.measure.allow_invalid);
        worst = worse(worst, exit);
        if matches!(exit, ExitReason::Interrupted | ExitReason::Failed) {
            break;
        }
        whole.push(Run { records: None, details: None, ..run });
    }
    delivery.sum_up(&whole)?;
    Ok(if interrupts.is_requested() { ExitReason::Interrupted } else { worst })
}
