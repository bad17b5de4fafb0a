//! One run from several clients. Each sends its share of one schedule, all begin at one instant, and the first makes the
//! Run of all.
//!
//! The clients meet at the first one, shard 0: it listens ([`Coordinator`]), the others join it ([`Member`]). Both are a
//! [`Membership`](crate::runner::Membership) of the runner. Messages are JSON over HTTP, with TLS if shard 0 has a
//! certificate, and each may be repeated:
//!
//! 1. `join`: a client names its shard and version.
//! 2. `next`: the Spec and the id of the next run, or that there is none. Then the clients prepare it.
//!    A process that was started by that of shard 0 asks for the requests instead (`workload`).
//! 3. `time`: 20 round trips relate the clocks ([`clock::ClockMapping`]), before the load and after it.
//! 4. `ready`: a client has prepared its requests. When all have, the answer has the common start.
//! 5. `beat`: each second, what the client has sent, and the new bytes of its record log. The answer says how the load
//!    ends. The requests of all clients thus reach the first one while the load goes on, and it makes the Run of their
//!    logs.
//!
//! No latency crosses hosts: every time of a request is from the clock of the client that sent it.

mod beats;
mod client_listener;
mod clock;
mod coordinator;
mod launcher;
mod link;
mod listen;
mod member;
mod messages;
mod part_download;
mod part_upload;
mod parts;
mod received_log;
mod rendezvous;
mod shared_hosts;
mod state;
pub(crate) mod variables;

pub(crate) use coordinator::Coordinator;
pub(crate) use launcher::{Launcher, launcher_shard};
pub(crate) use member::Member;
pub(crate) use messages::RunIdentity;
pub(crate) use part_download::{DownloadedLogs, download};
pub(crate) use part_upload::PartUpload;
pub(crate) use rendezvous::{PORT, Rendezvous, launcher_rendezvous};

use std::time::Duration;

/// The time between the moment at which all clients are ready and the common start. The answer must reach all of them.
const START_DELAY: Duration = Duration::from_millis(500);

/// The time between two beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The most bytes of a record log in one message.
const PIECE_BYTES: usize = 1 << 20;

/// A client whose last message is older than this is lost.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// The name of this host.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
