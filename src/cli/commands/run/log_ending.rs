//! What becomes of the record log of a run when its result is written.

use std::path::{Path, PathBuf};

use crate::cli::exit::{CliError, print_stderr};
use crate::model::run::Run;
use crate::runner::{LogFile, discard_log};

/// The end of the record log of a run. The log of a run whose Records were too many for memory is kept, because its
/// result has none of them.
pub(super) struct LogEnding<'a> {
    log: Option<&'a LogFile>,
    /// Where the log is kept.
    kept: Option<PathBuf>,
}

impl<'a> LogEnding<'a> {
    /// Decides where the log is kept, and notes that in the Run before it is saved. `result` is the file of the result;
    /// `None` if it is not saved. The results of several runs may be in `one_file`.
    pub(super) fn new(
        log: Option<&'a LogFile>,
        run: &mut Run,
        result: Option<&Path>,
        one_file: bool,
    ) -> Self {
        let mut ending = Self { log, kept: None };
        if let (Some(sampled), Some(log)) = (&mut run.sampled, log) {
            ending.kept = match result {
                _ if log.is_asked_for() => Some(log.path().to_owned()),
                Some(_) if one_file => Some(log.path().to_owned()),
                Some(result) => Some(result.with_extension("reclog")),
                None => None,
            };
            sampled.log = ending.kept.as_ref().map(|path| path.display().to_string());
        }
        ending
    }

    /// Keeps or removes the log of a run whose result was written. If that failed, says that the log has the requests.
    pub(super) fn settle(self, delivered: Result<(), CliError>) -> Result<(), CliError> {
        let existing = self.log.and_then(LogFile::existing);
        match (delivered.is_ok(), self.kept, existing) {
            (true, Some(kept), Some(path)) => {
                if kept != path {
                    std::fs::rename(path, &kept).map_err(|error| {
                        let (path, kept) = (path.display(), kept.display());
                        CliError::io(format_args!("cannot rename the record log {path} to {kept}: {error}"))
                    })?;
                }
                print_stderr(format_args!("every request is in {}", kept.display()));
            }
            (true, ..) => discard_log(self.log),
            (false, _, Some(path)) => print_stderr(format_args!(
                "every request that ended is in {}: `servegauge run --recover` reports them",
                path.display()
            )),
            (false, _, None) => {}
        }
        delivered
    }
}
