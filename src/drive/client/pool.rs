//! Open connections that no request is using.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::link::Link;

/// How long a used connection is kept: below the 5 s after which vLLM's server closes it, so that a request does not
/// meet a connection that is just being closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// The idle connections of a thread. The one used last is used first, so that a falling load lets the others expire.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    idle: VecDeque<Idle>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    /// The end of its last request; `None` before its first, when servers wait longer.
    since: Option<Instant>,
}

/// A connection from the pool.
#[derive(Debug)]
pub struct Taken {
    /// The connection.
    pub link: Link,
    /// How long it had been idle; `None` if it never had a request.
    pub idle: Option<Duration>,
}

impl Pool {
    /// Keeps up to so many used connections.
    pub fn new(limit: usize) -> Self {
        Self { limit, idle: VecDeque::new() }
    }

    /// A connection that is fit for a request; those that are not are closed on the way.
    pub fn take(&mut self) -> Option<Taken> {
        let now = Instant::now();
        loop {
            let Idle { mut link, since } = self.idle.pop_back()?;
            let idle = since.map(|since| now.saturating_duration_since(since));
            if idle.is_none_or(|idle| idle < KEEP_IDLE) && link.is_quiet() {
                return Some(Taken { link, idle });
            }
        }
    }

    /// Takes back a connection after a request.
    pub fn put_back(&mut self, link: Link) {
        let now = Instant::now();
        let has_expired =
            |idle: &Idle| idle.since.is_some_and(|since| now.saturating_duration_since(since) >= KEEP_IDLE);
        while self.idle.front().is_some_and(has_expired) {
            self.idle.pop_front();
        }
        if self.idle.len() < self.limit {
            self.idle.push_back(Idle { link, since: Some(now) });
        }
    }

    /// Adds a new connection, whatever the limit: it was asked for.
    pub fn add(&mut self, link: Link) {
        self.idle.push_front(Idle { link, since: None });
    }
}
