//! A client of shared runs other than the first.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tracing::info;
use uuid::Uuid;

use super::beats::Beats;
use super::clock::{ClockMapping, ROUND_TRIPS, RoundTrip};
use super::link::{Link, NoAnswer};
use super::messages::{
    Clocks, Failed, Join, Next, NextRun, PROTOCOL, Ready, RunIdentity, RunOrder, Start, WorkloadOffer,
    WorkloadQuery,
};
use super::rendezvous::Rendezvous;
use super::{LOST_AFTER, host_name};
use crate::client::clock::wall_time;
use crate::loadgen::LoadEnd;
use crate::model::record_log::{ClockRelation, RunShare};
use crate::model::run::RunInputs;
use crate::model::run_spec::Spec;
use crate::model::shard::Shard;
use crate::runner::{Exchange, LoadProgress, Membership, ReceivedLogs, SharedWorkload, StopHandle};

/// The time between two attempts to join, and between two questions for the next run.
const JOIN_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two questions for the start: the answer must come well before it.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// A client that has joined.
pub(crate) struct Member {
    link: Link,
    shard: Shard,
    identity: RunIdentity,
    /// Whether the process of shard 0 started this one, so that it prepares the requests for both.
    is_child: bool,
    stop: StopHandle,
    round: Mutex<Round>,
    beats: Beats,
    runtime: Runtime,
}

/// The run that the client takes part in.
struct Round {
    number: u64,
    share: RunShare,
    /// How the clocks related when the client was ready.
    mapping: Option<ClockMapping>,
}

impl Member {
    /// Joins at an address, which may begin to listen later, with TLS if there is a configuration for it, and
    /// reports to shard 0 from then on that it is alive. When shard 0 is interrupted, `stop` is requested.
    ///
    /// # Errors
    /// Why the client cannot join, in a sentence.
    pub(crate) fn join(
        Rendezvous { address, token }: Rendezvous,
        shard: Shard,
        tls: Option<ClientConfig>,
        (timeout, stop): (Duration, &StopHandle),
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shards")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot join the other shards: {error}"))?;
        let link = Link::new(&address, token, tls)?;
        let host = host_name();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let process = Uuid::new_v4();
        let join = Join { protocol: PROTOCOL, shard, version, host: host.clone(), process };
        let began = Instant::now();
        loop {
            match runtime.block_on(link.post::<()>("/join", &join)) {
                Ok(()) => break,
                Err(NoAnswer::Silent(silence))
                    if !silence.is_lasting && began.elapsed() < timeout && !stop.is_requested() =>
                {
                    std::thread::sleep(JOIN_INTERVAL);
                }
                Err(error) => return Err(format!("{address}: {}", error.into_message())),
            }
        }
        info!(%shard, address, "joined the other shards");
        let share = RunShare { shard, run: Uuid::nil(), host, clock: None };
        let beats = Beats::begin(&runtime, link.clone(), shard, stop.clone());
        let (identity, stop) = (RunIdentity::default(), stop.clone());
        let round = Mutex::new(Round { number: 0, share, mapping: None });
        Ok(Self { link, shard, identity, is_child: false, stop, round, beats, runtime })
    }

    /// Says that the process of shard 0 started this one.
    pub(crate) fn set_child(&mut self) {
        self.is_child = true;
    }

    /// Sets what the flags ask for, which must be equal in all clients.
    pub(crate) fn set_identity(&mut self, identity: RunIdentity) {
        self.identity = identity;
    }

    /// The client's shard.
    pub(crate) fn shard(&self) -> Shard {
        self.shard
    }

    /// Waits for the next run. Returns its Spec, without secrets, and the index of its server; `None` if there is no
    /// further run, or if the user has asked for the end.
    ///
    /// # Errors
    /// If shard 0 does not answer, in a sentence.
    pub(crate) fn next_run(&self) -> Result<Option<(Spec, usize)>, String> {
        let next = Next { shard: self.shard, after: self.round().number };
        let order = loop {
            if self.stop.is_requested() {
                return Ok(None);
            }
            match self.runtime.block_on(self.link.post("/next", &next)) {
                Ok(NextRun::Over) => return Ok(None),
                Ok(NextRun::Begin(order)) => break order,
                Ok(NextRun::Wait) => {}
                Err(NoAnswer::Refused(why)) => return Err(why),
                Err(NoAnswer::Silent(_)) => self.require_first()?,
            }
            std::thread::sleep(JOIN_INTERVAL);
        };
        let RunOrder { number, run, spec, server } = *order;
        let mapping = self.measure_clocks()?;
        info!(%run, number, uncertainty = ?mapping.uncertainty(), "the next run of all shards");
        let mut round = self.round();
        round.number = number;
        round.share.run = run;
        round.share.clock = Some(mapping.wall_offset());
        Ok(Some((spec, server)))
    }

    /// Tells shard 0 that this client cannot take part in the run.
    pub(crate) fn report_failure(&self, error: &str) {
        let failed = Failed { shard: self.shard, number: self.round().number, error: error.to_owned() };
        // A shard 0 that does not answer has no run either.
        let _ = self.runtime.block_on(self.link.post::<()>("/failed", &failed));
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if shard 0 is lost.
    fn require_first(&self) -> Result<(), String> {
        match self.beats.state().silence() {
            silence if silence > LOST_AFTER => {
                Err(format!("shard 0 is lost: silent for {} s", silence.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Relates the clocks by round trips over one connection.
    fn measure_clocks(&self) -> Result<ClockMapping, String> {
        let mut trips = Vec::new();
        while trips.len() < ROUND_TRIPS {
            let sent = Instant::now();
            match self.runtime.block_on(self.link.get::<Clocks>("/time")) {
                Ok(clocks) => {
                    let answered = Instant::now();
                    trips.push(RoundTrip { sent, answered, wall_ns: wall_time().unix_ns, clocks });
                }
                Err(NoAnswer::Refused(why)) => return Err(why),
                Err(NoAnswer::Silent(_)) => {
                    self.require_first()?;
                    std::thread::sleep(READY_INTERVAL);
                }
            }
        }
        ClockMapping::from_round_trips(trips).ok_or_else(|| "no round trip".to_owned())
    }
}

impl Membership for Member {
    /// The first client has begun the run.
    fn begin_run(&self, _spec: &Spec, _server: usize) {}

    fn share(&self) -> RunShare {
        self.round().share.clone()
    }

    /// The first client offers them.
    fn offer_workload(&self, _workload: &dyn Fn() -> Option<SharedWorkload>) {}

    fn shared_workload(&self) -> Result<Option<SharedWorkload>, String> {
        if !self.is_child {
            return Ok(None);
        }
        let query = WorkloadQuery { shard: self.shard, number: self.round().number };
        loop {
            if self.stop.is_requested() {
                return Err("interrupted".to_owned());
            }
            match self.runtime.block_on(self.link.post("/workload", &query)) {
                Ok(WorkloadOffer::Wait) => {}
                Ok(WorkloadOffer::Prepare) => return Ok(None),
                Ok(WorkloadOffer::Take(workload)) => return Ok(Some(*workload)),
                Err(NoAnswer::Refused(why)) => return Err(why),
                Err(NoAnswer::Silent(_)) => self.require_first()?,
            }
            std::thread::sleep(READY_INTERVAL);
        }
    }

    fn wait_for_start(
        &self,
        inputs: &RunInputs,
        log: &Path,
        _notify: &dyn Fn(String),
    ) -> Result<Instant, String> {
        let mapping = self.measure_clocks()?;
        let number = self.round().number;
        let ready = Ready { shard: self.shard, number, identity: self.identity.with_inputs(inputs) };
        let start = loop {
            if self.stop.is_requested() {
                return Err("interrupted".to_owned());
            }
            match self.runtime.block_on(self.link.post::<Option<Start>>("/ready", &ready)) {
                Ok(Some(start)) => break start,
                Ok(None) => {}
                Err(NoAnswer::Refused(why)) => return Err(why),
                Err(NoAnswer::Silent(_)) => self.require_first()?,
            }
            std::thread::sleep(READY_INTERVAL);
        };
        self.round().mapping = Some(mapping);
        self.beats.state().begin_log(number, log);
        Ok(mapping.instant(start.monotonic_ns))
    }

    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    fn exchange(&self, own: LoadProgress, _end: LoadEnd) -> Exchange {
        let mut state = self.beats.state();
        state.progress = own;
        Exchange { end: state.end, ..Exchange::default() }
    }

    fn awaits_others(&self) -> bool {
        false
    }

    fn clocks(&self) -> Option<ClockRelation> {
        let before = self.round().mapping?;
        self.require_first().ok()?;
        Some(before.relation(&self.measure_clocks().ok()?))
    }

    fn finish(&self) -> Result<Option<ReceivedLogs>, String> {
        self.beats.send_rest();
        loop {
            if let Some(outcome) = self.beats.state().outcome.take() {
                return outcome.map(|()| None);
            }
            std::thread::sleep(READY_INTERVAL);
        }
    }
}
