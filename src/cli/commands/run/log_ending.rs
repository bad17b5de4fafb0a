//! What becomes of the record log of a run when its result is written.

use std::path::{Path, PathBuf};

use crate::cli::exit::{CliError, print_stderr};
use crate::model::run::Run;
use crate::runner::{LogFile, discard_log};

/// The end of the record log of a run. The log of a run whose Records were too many for memory is kept, because its
/// result has none of them.
pub(super) struct LogEnding<'a> {
    log: Option<&'a LogFile>,
    /// Where the log is kept, and those received from other clients: the paths until now and from now on.
    kept: Vec<(PathBuf, PathBuf)>,
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
        let mut ending = Self { log, kept: Vec::new() };
        if let (Some(sampled), Some(log)) = (&mut run.sampled, log) {
            let place = |path: PathBuf| match result {
                _ if log.is_asked_for() => Some((path.clone(), path)),
                Some(_) if one_file => Some((path.clone(), path)),
                Some(result) => Some((path.clone(), result.with_extension(kept_extension(&path)))),
                None => None,
            };
            ending.kept = log.paths().into_iter().filter_map(place).collect();
            let names: Vec<_> = ending.kept.iter().map(|(_, path)| path.display().to_string()).collect();
            sampled.log = (!names.is_empty()).then(|| names.join(", "));
        }
        ending
    }

    /// Keeps or removes the log of a run whose result was written. If that failed, says that the log has the requests.
    pub(super) fn settle(self, delivered: Result<(), CliError>) -> Result<(), CliError> {
        if delivered.is_err() {
            if let Some(path) = self.log.and_then(LogFile::existing) {
                print_stderr(format_args!(
                    "every request that ended is in {}: `servegauge run --recover` reports them",
                    path.display()
                ));
            }
        } else if self.kept.is_empty() {
            discard_log(self.log);
        } else {
            self.keep()?;
        }
        delivered
    }

    /// Gives the logs the names under which they are kept.
    fn keep(&self) -> Result<(), CliError> {
        for (path, kept) in &self.kept {
            if kept != path {
                std::fs::rename(path, kept).map_err(|error| {
                    let (path, kept) = (path.display(), kept.display());
                    CliError::io(format_args!("cannot rename the record log {path} to {kept}: {error}"))
                })?;
            }
        }
        let names: Vec<_> = self.kept.iter().map(|(_, kept)| kept.display().to_string()).collect();
        print_stderr(format_args!("every request is in {}", names.join(", ")));
        Ok(())
    }
}

/// The end of the name under which a log is kept: it has the shard of another client.
fn kept_extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once(".shard").map_or_else(|| "reclog".to_owned(), |(_, shard)| format!("shard{shard}"))
}
