//! `--recover`: turns the record log of a killed run into a report and a result.

use std::path::Path;

use super::deliver::Delivery;
use crate::cli::args::RunArgs;
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::setting_flags::FLAGS;
use crate::runner::{self, Recovered};

/// Reads the log, reports and saves. The result is INVALID unless the run had ended and its log was kept.
pub(super) fn recover(path: &Path, args: &RunArgs) -> Result<ExitReason, CliError> {
    let recovered = runner::recover(path);
    let Recovered { mut run, records, lost } =
        recovered.map_err(|error| CliError::usage(format!("--recover: {}: {error}", path.display())))?;
    run.validity.name_settings(FLAGS);
    let delivery = Delivery::recovered(&args.output, path)?;
    delivery.note_replaced_file();
    lost.iter().for_each(|lost| print_stderr(format_args!("warning: {lost}")));
    delivery.deliver(&mut run, records, None)?;
    let is_believed = run.validity.valid || args.measure.allow_invalid;
    Ok(if is_believed { ExitReason::Success } else { ExitReason::Invalid })
}
