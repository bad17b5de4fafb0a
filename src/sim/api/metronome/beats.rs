//! The clock of all streams: writes each when it is due.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::stream::{Next, Stream};
use crate::sim::{alarm::Alarm, rhythm::Rhythm};

/// Writes between two looks at the sockets of those who ask.
const BATCH: usize = 64;

/// Streams in the order in which they are due.
pub(super) struct Beats {
    rhythm: Rhythm,
    alarm: Alarm,
    newcomers: UnboundedReceiver<Stream>,
    /// Streams whose client is slow; those whose client is gone do not come back.
    blocked: JoinSet<Option<Stream>>,
    due: BinaryHeap<Reverse<Entry>>,
    entered: u64,
    /// What is being written; kept so that a write allocates nothing.
    buffer: Vec<u8>,
}

struct Entry {
    at: Instant,
    /// Among streams that are due together, first come first served.
    turn: u64,
    stream: Box<Stream>,
}

impl Beats {
    /// The clock and the way to it.
    pub(super) fn new(rhythm: Rhythm, alarm: Alarm) -> (Self, UnboundedSender<Stream>) {
        let (streams, newcomers) = unbounded_channel();
        let (blocked, due, buffer) = (JoinSet::new(), BinaryHeap::new(), Vec::new());
        (Self { rhythm, alarm, newcomers, blocked, due, entered: 0, buffer }, streams)
    }

    /// Ends when nobody can bring a stream any more.
    pub(super) async fn run(mut self) {
        loop {
            let beaten = (0..BATCH).take_while(|_| self.beat()).count();
            if beaten == BATCH {
                tokio::task::yield_now().await;
            }
            while let Ok(stream) = self.newcomers.try_recv() {
                self.enter(stream.due(), Box::new(stream));
            }
            while let Some(Ok(Some(stream))) = self.blocked.try_join_next() {
                self.enter(stream.due(), Box::new(stream));
            }
            if beaten == 0 && !self.wait().await {
                return;
            }
        }
    }

    /// Waits for something to do; says whether there can be any.
    async fn wait(&mut self) -> bool {
        let Self { alarm, newcomers, blocked, due, .. } = self;
        let beat = async {
            match due.peek() {
                Some(Reverse(entry)) => alarm.wait_until(entry.at).await,
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
            self.enter(stream.due(), Box::new(stream));
        }
        true
    }

    fn enter(&mut self, at: Instant, stream: Box<Stream>) {
        self.entered += 1;
        self.due.push(Reverse(Entry { at, turn: self.entered, stream }));
    }

    /// Writes the stream that is due first; says whether one was due.
    fn beat(&mut self) -> bool {
        let now = Instant::now();
        if self.due.peek().is_none_or(|Reverse(entry)| entry.at > now) {
            return false;
        }
        let Some(Reverse(Entry { mut stream, .. })) = self.due.pop() else { return false };
        match stream.write(&self.rhythm, &mut self.buffer) {
            // A stream that is behind has no precedence over the others that are.
            Next::Due(at) => self.enter(at.max(now), stream),
            Next::Blocked => drop(self.blocked.spawn(when_writable(*stream))),
            Next::Over => {}
        }
        true
    }
}

async fn when_writable(stream: Stream) -> Option<Stream> {
    stream.writable().await.is_ok().then_some(stream)
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
