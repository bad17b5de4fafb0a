//! One run from several clients. Each sends its share of one schedule, all begin at one instant, and the first makes the
//! Run of all.
//!
//! The clients meet at the first one, shard 0: it listens ([`Coordinator`]), the others join it ([`Member`]). Messages
//! are JSON over HTTP:
//!
//! 1. `join`: a client names its shard and version, and receives the id of the run.
//! 2. `time`: 20 round trips relate the clocks ([`clock::ClockMapping`]).
//! 3. `ready`: a client has prepared its requests. The answer comes when all are ready, and has the common start.
//! 4. `beat`: each second of the load. The answer says whether to stop.
//! 5. `log`: the record log of a client whose load has ended.
//!
//! No latency crosses hosts: every time of a request is from the clock of the client that sent it.

mod clock;
mod coordinator;
mod launcher;
mod listen;
mod member;
mod messages;
mod rendezvous;
mod shared_hosts;
mod state;
pub(crate) mod variables;

pub(crate) use coordinator::{Coordinator, ReceivedLogs};
pub(crate) use launcher::{Launcher, launcher_shard};
pub(crate) use member::Member;
pub(crate) use messages::RunIdentity;
pub(crate) use rendezvous::{PORT, Rendezvous, launcher_rendezvous};

use std::time::Duration;

/// The time between the moment at which all clients are ready and the common start. The answer must reach all of them.
const START_DELAY: Duration = Duration::from_millis(500);

/// The time between two beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A client whose last message is older than this is lost.
const LOST_AFTER: Duration = Duration::from_secs(15);
