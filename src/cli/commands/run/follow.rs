//! What a shard other than 0 does: it sends its share of each run that shard 0 begins.

use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::{Error, Invocation, LogFile, PreparedRun, Runner, discard_log};
use crate::shards::Member;

/// The runs of a client that follows shard 0.
pub(crate) struct Follower<'a> {
    /// The servers that are measured, each with the Spec that its session has completed.
    pub(super) servers: Vec<(Runner<'a>, &'a Spec)>,
    pub(super) member: &'a Member,
}

/// The runs that a client has taken part in.
#[derive(Default)]
struct FollowedRuns {
    runs: usize,
    requests: usize,
    /// The last run, if its requests may be sent to another server next.
    last: Option<PreparedRun>,
}

impl Follower<'_> {
    /// Takes part in all runs. A record log that shard 0 does not take stays, for `servegauge merge`.
    pub(crate) fn execute(&self, invocation: &Invocation) -> Result<ExitReason, CliError> {
        let shard = self.member.shard();
        let mut followed = FollowedRuns::default();
        let is_stopped =
            || self.servers.iter().any(|(runner, _)| runner.session().stop_handle().is_requested());
        while let Some((spec, server)) =
            self.member.next_run().map_err(|error| lost(shard, followed.runs, &error))?
        {
            let Some(server) = self.servers.get(server) else {
                let why = "it measures fewer servers than shard 0: give all shards the same command";
                self.member.report_failure(why);
                return Err(CliError::failed(format!("shard {shard}: {why}")));
            };
            match self.measure(server, spec, invocation, &mut followed) {
                Ok(()) => {}
                Err(Error::Load(_) | Error::Interrupted) if is_stopped() => break,
                Err(error) => {
                    self.member.report_failure(&error.to_string());
                    return Err(error.into());
                }
            }
        }
        if followed.runs > 0 {
            let requests = followed.requests;
            print_stderr(format_args!("shard {shard}: {requests} requests ended; shard 0 has the report"));
        }
        Ok(if is_stopped() { ExitReason::Interrupted } else { ExitReason::Success })
    }

    /// Sends this client's share of a run and hands over its record log.
    fn measure(
        &self,
        (runner, own): &(Runner<'_>, &Spec),
        spec: Spec,
        invocation: &Invocation,
        followed: &mut FollowedRuns,
    ) -> Result<(), Error> {
        followed.runs += 1;
        let prepared = match followed.last.take().filter(|last| last.spec.seed == spec.seed) {
            // The second server of a pair gets the requests of the first.
            Some(last) => runner.prepare_again(last),
            None => {
                // Secrets and addresses are those of this client.
                let Spec { target, sampling, .. } = (*own).clone();
                runner.prepare(Spec { target, sampling, ..spec })?
            }
        };
        followed.last = (self.servers.len() > 1).then(|| prepared.clone());
        let record_log = invocation.record_log.as_ref().map(|log| self.log_of(log, followed.runs));
        let invocation = Invocation { record_log, ..invocation.clone() };
        followed.requests += runner.send_share(prepared, &invocation)?;
        discard_log(invocation.record_log.as_ref());
        Ok(())
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
