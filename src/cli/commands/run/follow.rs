//! What a shard other than 0 does: it sends its share of each run that shard 0 begins.

use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::{Error, Invocation, LogFile, Runner, discard_log};
use crate::shards::Member;

/// The runs of a client that follows shard 0.
pub(crate) struct Follower<'a> {
    pub(super) runner: Runner<'a>,
    pub(super) member: &'a Member,
    /// The Spec that the session has completed.
    pub(super) spec: &'a Spec,
}

impl Follower<'_> {
    /// Takes part in all runs. A record log that shard 0 does not take stays, for `servegauge merge`.
    pub(crate) fn execute(&self, invocation: &Invocation) -> Result<ExitReason, CliError> {
        let shard = self.member.shard();
        let stop = self.runner.session().stop_handle();
        let (mut runs, mut requests) = (0, 0);
        while let Some(spec) = self.member.next_run().map_err(|error| lost(shard, runs, &error))? {
            runs += 1;
            match self.measure(spec, invocation, runs) {
                Ok(ended) => requests += ended,
                Err(Error::Load(_) | Error::Interrupted) if stop.is_requested() => break,
                Err(error) => {
                    self.member.report_failure(&error.to_string());
                    return Err(error.into());
                }
            }
        }
        if runs > 0 {
            print_stderr(format_args!("shard {shard}: {requests} requests ended; shard 0 has the report"));
        }
        Ok(if stop.is_requested() { ExitReason::Interrupted } else { ExitReason::Success })
    }

    /// Sends this client's share of a run and hands over its record log. Returns the number of requests that ended.
    fn measure(&self, spec: Spec, invocation: &Invocation, number: usize) -> Result<usize, Error> {
        // Secrets and addresses are those of this client.
        let Spec { target, sampling, .. } = self.spec.clone();
        let prepared = self.runner.prepare(Spec { target, sampling, ..spec })?;
        let record_log = invocation.record_log.as_ref().map(|log| self.log_of(log, number));
        let invocation = Invocation { record_log, ..invocation.clone() };
        let requests = self.runner.send_share(prepared, &invocation)?;
        discard_log(invocation.record_log.as_ref());
        Ok(requests)
    }

    /// The record log of a run.
    fn log_of(&self, log: &LogFile, number: usize) -> LogFile {
        let log = log.suffixed(&format!("shard{}", self.member.shard().index()));
        if number > 1 { log.of_run(number) } else { log }
    }
}

/// Shard 0 is lost. After a run, what this shard measured may be missing in the result.
fn lost(shard: Shard, runs: usize, error: &str) -> CliError {
    let message = format!("shard {shard}: {error}");
    if runs > 0 { CliError::invalid(message) } else { CliError::failed(message) }
}
