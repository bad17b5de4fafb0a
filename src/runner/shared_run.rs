//! What a run that several clients send needs besides a run of one: a record log always, and the merge of all logs.

use super::error::Error;
use super::event::{Event, Warning};
use super::membership::{Membership, ReceivedLogs};
use super::record_log::LogFile;
use super::recover::{Recovered, recover};
use super::session::Session;
use crate::model::record_log::RunShare;
use crate::model::run::Run;
use crate::model::run_records::RunRecords;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;

/// Refuses a limit that is smaller than the number of clients: each needs at least one slot.
pub(super) fn check_split(spec: &Spec, shard: Shard) -> Result<(), Error> {
    let limits = [spec.load.max_concurrency, spec.load.max_active_sessions];
    match limits.into_iter().flatten().map(usize::from).find(|limit| *limit < shard.count()) {
        Some(limit) => Err(Error::LimitNotSplit { limit, shards: shard.count() }),
        None => Ok(()),
    }
}

/// The record log of a run whose user asked for none: the clients of a shared run always write one.
pub(super) fn temporary_log(membership: &dyn Membership) -> LogFile {
    let RunShare { run, shard, .. } = membership.share();
    LogFile::beside(&std::env::temp_dir().join(format!("servegauge-{}-{}", run.simple(), shard.index())))
}

/// Hands over this client's log. The first client receives those of the others.
pub(super) fn hand_over(membership: &dyn Membership, log: &LogFile) -> Result<Option<ReceivedLogs>, Error> {
    membership.finish().map_err(|why| Error::NotHandedOver { path: log.path().to_owned(), why })
}

/// Merges the logs of all clients into the Run of all, with at most `most_records` Records in memory. It is interrupted
/// if the load of the first client was. Only the first client does this.
pub(super) fn merge_logs(
    membership: &dyn Membership,
    log: &LogFile,
    interrupted: bool,
    (session, most_records): (&Session, Option<usize>),
) -> Result<(Run, RunRecords), Error> {
    let received = hand_over(membership, log)?;
    let ReceivedLogs { files, lost } = received.unwrap_or_default();
    let paths: Vec<_> = [log.path().to_owned()].into_iter().chain(files.iter().cloned()).collect();
    log.keep_until_saved(files);
    let Recovered { mut run, records, lost: missing } = recover(&paths, most_records)?;
    // A client that was killed makes the run INVALID, but nobody has interrupted it.
    run.interrupted = interrupted;
    lost.into_iter().chain(missing).for_each(|lost| session.emit(&Event::Warning(Warning::Shards(lost))));
    Ok((run, records))
}
