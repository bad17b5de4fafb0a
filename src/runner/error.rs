//! The reasons for which a run has no result.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::client::ClientError;
use crate::client::admin::AdminError;
use crate::dataset::DatasetError;
use crate::loadgen::{LoadError, SetupFailure};
use crate::model::record::Failure;
use crate::model::record_log::RecordLogError;
use crate::model::spool::SpoolError;
use crate::tokenizer::TokenizerError;

/// Why a run has no result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The user asked for the end before there was anything to report.
    #[error("interrupted")]
    Interrupted,
    /// The operating system refused a thread, a timer or an event loop.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The client cannot be set up for the target, whatever the server does.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The dataset cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The due times fit neither into memory nor into a temporary file.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The warm-up would use all requests of the dataset.
    #[error("the warm-up takes all requests of the dataset; lower `load.num_warmups`")]
    NothingToMeasure,
    /// The protocol has no way to send what the dataset holds.
    #[error("`target.backend` {backend} cannot send the dataset's requests: {what}")]
    UnsupportedRequest {
        /// The name of the backend.
        backend: &'static str,
        /// The content that the protocol cannot send.
        what: &'static str,
    },
    /// The server did not report its model's name.
    #[error("cannot ask the server for its model: {0}")]
    ModelNotNamed(AdminError),
    /// The server serves no model.
    #[error("{url} lists no model; name one in `target.model`")]
    NoModel {
        /// The URL of the model list.
        url: String,
    },
    /// The server did not answer within the timeout.
    #[error("the server was not ready within {}: {cause}", humantime::format_duration(*waited))]
    NotReady {
        /// The time that was waited.
        waited: Duration,
        /// The last failure.
        cause: String,
    },
    /// The server uses another protocol, or a certificate that is not accepted. Waiting does not help.
    #[error("{0}")]
    WrongProtocol(String),
    /// The server rejects the first request, and waiting does not help.
    #[error("{url}: {failure}")]
    Refused {
        /// The URL of the request.
        url: String,
        /// The failure of the request.
        failure: Failure,
    },
    /// The server does not reset its prefix cache.
    #[error(
        "`options.reset_prefix_cache`: {0}; vLLM resets its cache only when it is started with VLLM_SERVER_DEV_MODE=1"
    )]
    PrefixCache(AdminError),
    /// The load could not be sent.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The first requests failed alike, so the remaining ones were not sent.
    #[error("{} requests to {url} failed: {}", setup.count, setup.failure)]
    WrongSetup {
        /// The URL of the requests.
        url: String,
        /// The failure that the requests have in common.
        setup: SetupFailure,
    },
    /// The interval between two readings of the metrics is zero.
    #[error("`options.server_metrics.interval` must be above 0")]
    MetricsInterval,
    /// The record log's file already exists.
    #[error("the record log {path} exists; name another file or remove it")]
    RecordLogExists {
        /// The path of the file.
        path: PathBuf,
    },
    /// The record log cannot be read.
    #[error("cannot read the record log {path}: {source}", path = path.display())]
    RecordLog {
        /// The path of the file.
        path: PathBuf,
        /// Why the log cannot be read.
        source: RecordLogError,
    },
    /// The record log cannot be copied to the place that the user gave.
    #[error("{0}")]
    RecordsNotCopied(String),
    /// The record logs are not of the clients of one run.
    #[error("{path} cannot be merged: {why}", path = path.display())]
    NotOneRun {
        /// The path of the log.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A limit of the load is smaller than the number of clients that share it.
    #[error("a limit of {limit} requests or sessions cannot be split into {shards} shards; each needs one")]
    LimitNotSplit {
        /// The limit.
        limit: usize,
        /// The number of clients.
        shards: usize,
    },
    /// Shard 0 does not take the record log of this shard.
    #[error("{why}; the requests of this shard are in {path}: `servegauge merge` makes a result of the logs of all shards", path = path.display())]
    NotHandedOver {
        /// The path of the log.
        path: PathBuf,
        /// Why the log is not taken.
        why: String,
    },
    /// The record log contains no measured request.
    #[error("the run was killed before its first measured request had ended")]
    EmptyRecordLog,
    /// The client's own metrics cannot be served.
    #[error("cannot serve the client's metrics at {address}: {source}")]
    MetricsListen {
        /// The address that was to be listened on.
        address: String,
        /// Why the address cannot be used.
        source: io::Error,
    },
}
