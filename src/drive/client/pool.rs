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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::drive::client::stamp::StampedStream;

    /// Connections to a server that never accepts, which is as good as one that says nothing.
    struct Silence(TcpListener);

    impl Silence {
        fn new() -> Self {
            Self(TcpListener::bind("127.0.0.1:0").unwrap())
        }

        async fn link(&self) -> Link {
            Link::Plain(StampedStream::connect(self.0.local_addr().unwrap()).await.unwrap())
        }
    }

    /// Tells one connection from another.
    fn name(link: &Link) -> String {
        format!("{link:?}")
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_first_and_new_ones_after_all() {
        let server = Silence::new();
        let mut pool = Pool::new(3);
        let (first, second, fresh) = (server.link().await, server.link().await, server.link().await);
        let expected = [&second, &first, &fresh].map(name);
        pool.add(fresh);
        pool.put_back(first);
        pool.put_back(second);
        let taken: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.iter().map(|taken| name(&taken.link)).collect::<Vec<_>>(), expected);
        assert_eq!(taken.iter().map(|taken| taken.idle.is_some()).collect::<Vec<_>>(), [true, true, false]);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_the_limit() {
        let server = Silence::new();
        let mut pool = Pool::new(1);
        pool.put_back(server.link().await);
        pool.put_back(server.link().await);
        assert!(pool.take().is_some() && pool.take().is_none());
    }

    #[tokio::test]
    async fn a_connection_that_the_server_may_be_closing_is_not_used() {
        let server = Silence::new();
        let mut pool = Pool::new(8);
        let long_ago = Instant::now().checked_sub(KEEP_IDLE).unwrap();
        for _ in 0..2 {
            pool.idle.push_back(Idle { link: server.link().await, since: Some(long_ago) });
        }
        assert!(pool.take().is_none());
        pool.idle.push_back(Idle { link: server.link().await, since: Some(long_ago) });
        pool.put_back(server.link().await);
        assert_eq!(pool.idle.len(), 1, "what has expired does not wait to be asked for");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_is_not_used() {
        let server = Silence::new();
        let mut pool = Pool::new(8);
        let mut link = server.link().await;
        drop(server.0.accept().unwrap());
        while link.is_quiet() {
            tokio::task::yield_now().await;
        }
        pool.put_back(link);
        assert!(pool.take().is_none());
    }
}
