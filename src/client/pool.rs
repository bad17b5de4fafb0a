//! Open connections that are not in use.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::connection::HttpConnection;

/// How long a used connection stays in the pool. It is below the 5 s after which vLLM's server closes a connection, so
/// that a request does not meet a connection that is just being closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(4);

/// The idle connections of a thread. The pool reuses the most recently used connection first, so that the others expire
/// when the load falls.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    limit: usize,
    idle: VecDeque<IdleConnection>,
}

#[derive(Debug)]
struct IdleConnection {
    link: HttpConnection,
    /// The end of the connection's last request; `None` before its first, when servers wait longer.
    since: Option<Instant>,
}

/// A connection from the pool.
#[derive(Debug)]
pub(super) struct PooledConnection {
    /// The open connection.
    pub link: HttpConnection,
    /// How long the connection was idle; `None` if it has carried no request.
    pub idle: Option<Duration>,
}

impl ConnectionPool {
    /// Creates a pool that keeps up to `limit` used connections.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, idle: VecDeque::new() }
    }

    /// Takes a usable connection. Connections that are not usable are closed.
    pub(super) fn take(&mut self) -> Option<PooledConnection> {
        let now = Instant::now();
        loop {
            let IdleConnection { mut link, since } = self.idle.pop_back()?;
            let idle = since.map(|since| now.saturating_duration_since(since));
            if idle.is_none_or(|idle| idle < MAX_IDLE_TIME) && link.is_idle() {
                return Some(PooledConnection { link, idle });
            }
        }
    }

    /// Puts a connection back after a request.
    pub(super) fn put_back(&mut self, link: HttpConnection) {
        let now = Instant::now();
        let has_expired = |idle: &IdleConnection| {
            idle.since.is_some_and(|since| now.saturating_duration_since(since) >= MAX_IDLE_TIME)
        };
        while self.idle.front().is_some_and(has_expired) {
            self.idle.pop_front();
        }
        if self.idle.len() < self.limit {
            self.idle.push_back(IdleConnection { link, since: Some(now) });
        }
    }

    /// Adds a new connection regardless of the limit, because the caller asked for it.
    pub(super) fn add(&mut self, link: HttpConnection) {
        self.idle.push_front(IdleConnection { link, since: None });
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::client::rx_timestamp::TimestampedStream;

    /// Opens connections to a listener that never accepts, which behaves like a server that sends nothing.
    struct Silence(TcpListener);

    impl Silence {
        fn new() -> Self {
            Self(TcpListener::bind("127.0.0.1:0").unwrap())
        }

        async fn link(&self) -> HttpConnection {
            HttpConnection::Plain(TimestampedStream::connect(self.0.local_addr().unwrap()).await.unwrap())
        }
    }

    /// A name that distinguishes connections.
    fn name(link: &HttpConnection) -> String {
        format!("{link:?}")
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_first_and_new_ones_after_all() {
        let server = Silence::new();
        let mut pool = ConnectionPool::new(3);
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
        let mut pool = ConnectionPool::new(1);
        pool.put_back(server.link().await);
        pool.put_back(server.link().await);
        assert!(pool.take().is_some() && pool.take().is_none());
    }

    #[tokio::test]
    async fn a_connection_that_the_server_may_be_closing_is_not_used() {
        let server = Silence::new();
        let mut pool = ConnectionPool::new(8);
        let long_ago = Instant::now().checked_sub(MAX_IDLE_TIME).unwrap();
        for _ in 0..2 {
            pool.idle.push_back(IdleConnection { link: server.link().await, since: Some(long_ago) });
        }
        assert!(pool.take().is_none());
        pool.idle.push_back(IdleConnection { link: server.link().await, since: Some(long_ago) });
        pool.put_back(server.link().await);
        assert_eq!(pool.idle.len(), 1, "what has expired does not wait to be asked for");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_is_not_used() {
        let server = Silence::new();
        let mut pool = ConnectionPool::new(8);
        let mut link = server.link().await;
        drop(server.0.accept().unwrap());
        while link.is_idle() {
            tokio::task::yield_now().await;
        }
        pool.put_back(link);
        assert!(pool.take().is_none());
    }
}
