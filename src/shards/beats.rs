//! The beats of a client: each second it tells the first one that it is alive, and sends the new bytes of its record
//! log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::link::{Link, NoAnswer};
use super::messages::{Beat, Order};
use super::{BEAT_INTERVAL, LOST_AFTER, PIECE_BYTES};
use crate::loadgen::LoadEnd;
use crate::model::shard::Shard;
use crate::runner::{LoadProgress, StopHandle};

/// The beats of a client, until it is dropped.
pub(super) struct Beats {
    state: Arc<Mutex<BeatState>>,
    /// Calls for the next beat before its time.
    now: Arc<Notify>,
}

/// What the beats say, and what was answered.
pub(super) struct BeatState {
    /// The latest progress of this client.
    pub progress: LoadProgress,
    /// How the load is to end.
    pub end: LoadEnd,
    /// Whether all of the log has arrived, or why not; `None` while it is sent.
    pub outcome: Option<Result<(), String>>,
    log: Option<SentLog>,
    /// When shard 0 last answered.
    answered: Instant,
}

/// The record log that is being sent.
struct SentLog {
    number: u64,
    path: PathBuf,
    /// The number of bytes that have arrived.
    received: u64,
    /// Whether nothing more is written to it.
    is_complete: bool,
}

/// A beat as it is sent.
struct BeatMessage {
    bytes: Vec<u8>,
    /// Whether it has all bytes that the log has now.
    has_all: bool,
    /// The length of the log, if it has its last bytes.
    end: Option<u64>,
}

impl BeatState {
    /// Sends the log of run `number` from now on.
    pub(super) fn begin_log(&mut self, number: u64, path: &Path) {
        self.progress = LoadProgress::default();
        self.end = LoadEnd::Planned;
        self.outcome = None;
        self.log = Some(SentLog { number, path: path.to_owned(), received: 0, is_complete: false });
    }

    /// How long shard 0 has been silent.
    pub(super) fn silence(&self) -> Duration {
        self.answered.elapsed()
    }

    /// The next message.
    fn next_beat(&self, shard: Shard) -> io::Result<BeatMessage> {
        let LoadProgress { sent, gaps, .. } = self.progress;
        let mut beat = Beat { shard, number: 0, sent: sent as u64, gaps, offset: 0, is_end: false };
        let Some(log) = &self.log else {
            return Ok(BeatMessage { bytes: beat.encode(&[])?, has_all: true, end: None });
        };
        let (bytes, has_all) = read_piece(&log.path, log.received)?;
        (beat.number, beat.offset, beat.is_end) = (log.number, log.received, log.is_complete && has_all);
        let end = beat.is_end.then(|| beat.offset + bytes.len() as u64);
        Ok(BeatMessage { bytes: beat.encode(&bytes)?, has_all, end })
    }

    /// Takes the answer to a message. `end` is the length of the log if the message had its last bytes.
    fn take_answer(&mut self, answer: Result<Order, NoAnswer>, end: Option<u64>, stop: &StopHandle) {
        match answer {
            Ok(order) => {
                self.answered = Instant::now();
                self.end = self.end.max(order.end);
                self.log.iter_mut().for_each(|log| log.received = log.received.max(order.received));
                if order.is_interrupted {
                    stop.request();
                }
                if end.is_some_and(|end| order.received >= end) {
                    self.conclude(Ok(()));
                }
            }
            Err(NoAnswer::Refused(why)) => {
                self.answered = Instant::now();
                // A run that shard 0 has ended needs no more requests.
                self.end = LoadEnd::Abort;
                self.conclude(Err(why));
            }
            Err(NoAnswer::Silent(_)) if self.silence() > LOST_AFTER && self.is_complete() => {
                self.conclude(Err(format!("shard 0 has not answered for {} s", self.silence().as_secs())));
            }
            Err(NoAnswer::Silent(_)) => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_complete)
    }

    fn conclude(&mut self, outcome: Result<(), String>) {
        if self.log.take().is_some() {
            self.outcome = Some(outcome);
        }
    }
}

impl Beats {
    /// Begins with messages that only say that this client is alive.
    pub(super) fn begin(runtime: &Runtime, link: Link, shard: Shard, stop: StopHandle) -> Self {
        let state = BeatState {
            progress: LoadProgress::default(),
            end: LoadEnd::Planned,
            outcome: None,
            log: None,
            answered: Instant::now(),
        };
        let beats = Self { state: Arc::new(Mutex::new(state)), now: Arc::default() };
        let (state, now) = (Arc::clone(&beats.state), Arc::clone(&beats.now));
        runtime.spawn(async move {
            loop {
                let message = lock(&state).next_beat(shard);
                let waits = match message {
                    Ok(BeatMessage { bytes, has_all, end }) => {
                        let answer = link.post_bytes("/beat", bytes).await;
                        let is_answered = answer.is_ok();
                        lock(&state).take_answer(answer, end, &stop);
                        has_all || !is_answered
                    }
                    Err(error) => {
                        lock(&state).conclude(Err(format!("cannot read the record log: {error}")));
                        true
                    }
                };
                if waits {
                    let _ = tokio::time::timeout(BEAT_INTERVAL, now.notified()).await;
                }
            }
        });
        beats
    }

    /// What the beats say, and what was answered.
    pub(super) fn state(&self) -> MutexGuard<'_, BeatState> {
        lock(&self.state)
    }

    /// Sends the rest of the log, to which nothing more is written.
    pub(super) fn send_rest(&self) {
        self.state().log.iter_mut().for_each(|log| log.is_complete = true);
        self.now.notify_one();
    }
}

fn lock(state: &Mutex<BeatState>) -> MutexGuard<'_, BeatState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the next piece of a log, and whether it reaches the end of the file.
fn read_piece(path: &Path, offset: u64) -> io::Result<(Vec<u8>, bool)> {
    let file = File::open(path)?;
    let left = file.metadata()?.len().saturating_sub(offset);
    let length = PIECE_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok((bytes, length as u64 == left))
}
