//! The queue of all streams: it writes to each stream when that is due.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use crate::sim::api::fixed_timing_server::fixed_stream::{FixedStream, StreamStep};
use crate::sim::{fixed_timing::FixedTiming, precise_timer::PreciseTimer};

/// Writes between two polls of the sockets with new requests.
const BATCH: usize = 64;

/// Streams in the order in which they are due.
pub(super) struct DueQueue {
    timing: FixedTiming,
    alarm: PreciseTimer,
    newcomers: UnboundedReceiver<FixedStream>,
    /// Streams with a slow client. A stream whose client is gone yields `None`.
    blocked: JoinSet<Option<FixedStream>>,
    due: BinaryHeap<Reverse<DueStream>>,
    entered: u64,
    /// The buffer of a write, reused so that writes do not allocate.
    buffer: Vec<u8>,
}

struct DueStream {
    at: Instant,
    /// Streams with the same due time are served in the order of their entry.
    turn: u64,
    stream: Box<FixedStream>,
}

impl DueQueue {
    /// Creates the queue and the sender of its streams.
    pub(super) fn new(timing: FixedTiming, alarm: PreciseTimer) -> (Self, UnboundedSender<FixedStream>) {
        let (streams, newcomers) = unbounded_channel();
        let (blocked, due, buffer) = (JoinSet::new(), BinaryHeap::new(), Vec::new());
        (Self { timing, alarm, newcomers, blocked, due, entered: 0, buffer }, streams)
    }

    /// Runs until all senders are dropped.
    pub(super) async fn run(mut self) {
        loop {
            let beaten = (0..BATCH).take_while(|_| self.write_due()).count();
            if beaten == BATCH {
                tokio::task::yield_now().await;
            }
            while let Ok(stream) = self.newcomers.try_recv() {
                self.push_stream(stream.due(), Box::new(stream));
            }
            while let Some(Ok(Some(stream))) = self.blocked.try_join_next() {
                self.push_stream(stream.due(), Box::new(stream));
            }
            if beaten == 0 && !self.wait().await {
                return;
            }
        }
    }

    /// Waits for the next event. Returns false if there can be none any more.
    async fn wait(&mut self) -> bool {
        let Self { alarm, newcomers, blocked, due, .. } = self;
        let beat = async {
            match due.peek() {
                Some(Reverse(entry)) => alarm.sleep_until(entry.at).await,
                None => std::future::pending().await,
            }
        };
        let stream = tokio::select! {
            stream = newcomers.recv() => match stream {
                Some(stream) => Some(stream),
                None => return false,
            },
            Some(Ok(stream)) = blocked.join_next() => stream,
            () = beat => None,
        };
        if let Some(stream) = stream {
            self.push_stream(stream.due(), Box::new(stream));
        }
        true
    }

    fn push_stream(&mut self, at: Instant, stream: Box<FixedStream>) {
        self.entered += 1;
        self.due.push(Reverse(DueStream { at, turn: self.entered, stream }));
    }

    /// Writes to the stream that is due first. Returns whether a stream was due.
    fn write_due(&mut self) -> bool {
        let now = Instant::now();
        if self.due.peek().is_none_or(|Reverse(entry)| entry.at > now) {
            return false;
        }
        let Some(Reverse(DueStream { mut stream, .. })) = self.due.pop() else { return false };
        match stream.write(&self.timing, &mut self.buffer) {
            // A stream that is late gets no precedence over other late streams.
            StreamStep::Due(at) => self.push_stream(at.max(now), stream),
            StreamStep::Blocked => drop(self.blocked.spawn(when_writable(*stream))),
            StreamStep::Over => {}
        }
        true
    }
}

async fn when_writable(stream: FixedStream) -> Option<FixedStream> {
    stream.writable().await.is_ok().then_some(stream)
}

impl Ord for DueStream {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

impl PartialOrd for DueStream {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DueStream {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DueStream {}
