//! `--recover`: turns the record log of a killed run into a report and a result.

use std::path::{Path, PathBuf};

use super::deliver::Delivery;
use crate::cli::args::{OutputArgs, RecordsPlace, RunArgs};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::setting_flags::FLAGS;
use crate::model::run_records::MANY_REQUESTS;
use crate::runner::{self, Recovered};

/// Reads the log, reports and saves. The result is INVALID unless the run had ended and its log was kept.
pub(super) fn recover(path: &Path, args: &RunArgs) -> Result<ExitReason, CliError> {
    deliver_logs(&[path.to_owned()], &args.output, args.measure.allow_invalid, true)
}

/// Reads the logs of one run and reports. Saves the result where the flags say, or beside the first log if `saves`.
pub(crate) fn deliver_logs(
    logs: &[PathBuf],
    output: &OutputArgs,
    allow_invalid: bool,
    saves: bool,
) -> Result<ExitReason, CliError> {
    if let Some(RecordsPlace::Folder(_) | RecordsPlace::Bucket(_)) = output.save_records {
        return Err(CliError::usage(
            "--save-records writes to a folder or a bucket while a run sends, and this run has ended; give a FILE.parquet",
        ));
    }
    let needs_details = output.save_detailed || output.plot_timeline;
    let most_records = (!needs_details).then_some(MANY_REQUESTS);
    let Recovered { mut run, records, lost } =
        runner::recover(logs, most_records).map_err(CliError::usage)?;
    run.validity.name_settings(FLAGS);
    let delivery = if saves { Delivery::recovered(output, &logs[0])? } else { Delivery::of(output)? };
    if let Some(sampled) = run.sampled.as_mut().filter(|_| saves || delivery.saves()) {
        let names: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
        sampled.log = Some(names.join(", "));
    }
    delivery.note_replaced_file();
    lost.iter().for_each(|lost| print_stderr(format_args!("warning: {lost}")));
    delivery.deliver(&mut run, records, None)?;
    let is_believed = run.validity.valid || allow_invalid;
    Ok(if is_believed { ExitReason::Success } else { ExitReason::Invalid })
}
