//! Sends one request over a connection and reads the answer as it arrives. Each read has the time at which its bytes
//! arrived.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::pool::{ConnectionPool, PooledConnection};
use super::proxy::Proxy;
use super::url::base_url;
use super::{ClientError, RequestIdentity};
use crate::client::clock::WallClockMapper;
use crate::client::connection::HttpConnection;
use crate::client::connector::Connector;
use crate::client::request_timer::{ConnectStep, RequestTimer};
use crate::client::response::ResponseReader;
use crate::client::rx_timestamp::{ReadTime, RxTimestampGuard};
use crate::client::transport_error::{self, BEFORE_ANY_BYTE};
use crate::model::record::{Failure, FailureClass, TimeoutPhase};
use crate::model::run_spec::Target;
use crate::model::validity::TimestampSource;

/// How long to wait for the rest of an answer whose outcome is known: reading it to its end lets the next request reuse
/// the connection.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the next request waits for that rest. Servers write the end of the chunked coding right after the last
/// event, and a connection that is free a moment later is better than a new one. A server that omits the end delays no
/// request for longer.
const MAX_DRAIN_DELAY: Duration = Duration::from_millis(5);

/// The size of the read buffer, in bytes: a hundred times the events that one request receives in one step of the
/// server.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// The number of connections that are opened at a time before the run.
const PRECONNECT_BATCH: usize = 64;

/// A measured endpoint and the connections to it, for one thread.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    connector: Connector,
    pool: RefCell<ConnectionPool>,
    /// The bytes of the latest read by any request. They are parsed before another request reads.
    buf: RefCell<Box<[u8]>>,
    last_read: Cell<Instant>,
    wall_clock: WallClockMapper,
    timestamp_source: TimestampSource,
    _rx_timestamps: Option<RxTimestampGuard>,
}

impl Transport {
    /// Creates a transport for a target. It keeps up to `idle` unused connections, and uses the environment's proxy if
    /// there is one.
    pub(crate) fn new(target: &Target, idle: usize) -> Result<Self, ClientError> {
        let proxy = Proxy::from_env(&base_url(target)?)?;
        Self::with_proxy(proxy.as_ref(), target, idle)
    }

    fn with_proxy(proxy: Option<&Proxy>, target: &Target, idle: usize) -> Result<Self, ClientError> {
        let endpoint = Endpoint::new(target, proxy)?;
        let dialer = Connector::new(target, &endpoint, proxy)?;
        let stamping = RxTimestampGuard::start();
        let by_kernel = target.connection.kernel_stamps && stamping.is_some();
        Ok(Self {
            endpoint,
            connector: dialer,
            pool: RefCell::new(ConnectionPool::new(if target.connection.keepalive { idle } else { 0 })),
            buf: RefCell::new(vec![0; READ_BUFFER_BYTES].into()),
            last_read: Cell::new(Instant::now()),
            wall_clock: WallClockMapper::default(),
            timestamp_source: if by_kernel { TimestampSource::Kernel } else { TimestampSource::Reader },
            _rx_timestamps: stamping,
        })
    }

    /// Where the arrival times of bytes come from.
    pub(crate) fn timestamp_source(&self) -> TimestampSource {
        self.timestamp_source
    }

    /// When any request last read a socket.
    pub(crate) fn last_read(&self) -> Instant {
        self.last_read.get()
    }

    /// The largest step of the wall clock that was detected; zero if there was none.
    pub(crate) fn clock_step(&self) -> Duration {
        self.wall_clock.largest_step()
    }

    /// Opens `count` connections for later requests.
    pub(crate) async fn preconnect(&self, count: usize) -> Result<(), Failure> {
        let mut opening = stream::iter(0..count)
            .map(|_| async { self.connector.open_connection(&mut |_| {}).await })
            .buffer_unordered(PRECONNECT_BATCH);
        while let Some(link) = opening.next().await {
            self.pool.borrow_mut().add(link?);
        }
        Ok(())
    }

    /// Posts a body and passes the answer to the request timer until the outcome is known. It calls `settled` with the
    /// time of the outcome when the connection can take another request, or after a short wait.
    ///
    /// State that is used once is boxed. Inline, it would lie between the few bytes that every event needs, and
    /// thousands of streams share the processor's cache.
    pub(crate) fn send<'a>(
        &'a self,
        id: RequestIdentity<'a>,
        body: Bytes,
        timer: &'a mut RequestTimer,
        settled: impl FnOnce(Duration),
    ) -> impl Future<Output = Result<(), Failure>> {
        let beginning = Box::pin(self.begin_exchange(id, body, timer));
        async move {
            let (mut exchange, timer) = beginning.await?;
            let followed = poll_fn(|cx| exchange.poll_receive(cx, timer)).await;
            let ended = timer.stop_at(followed.is_ok());
            if followed.is_ok() && exchange.response.should_drain() {
                Box::pin(exchange.drain(timer, || settled(ended))).await;
            } else {
                settled(ended);
            }
            let idle = exchange.idle;
            exchange.finish(followed).map_err(|failure| annotate_early_end(failure, idle, timer))
        }
    }

    /// Writes a request on a connection from the pool or on a new one.
    async fn begin_exchange<'a>(
        &'a self,
        id: RequestIdentity<'a>,
        body: Bytes,
        timer: &'a mut RequestTimer,
    ) -> Result<(HttpExchange<'a>, &'a mut RequestTimer), Failure> {
        timer.mark_sent(timer.now());
        let taken = self.pool.borrow_mut().take();
        let (link, idle) = match taken {
            Some(PooledConnection { link, idle }) => (link, idle),
            None => (self.open_connection(timer).await?, None),
        };
        let head = self.endpoint.head(id, body.len());
        let mut exchange = HttpExchange::new(self, link, idle);
        exchange.write_progress = poll_fn(|cx| exchange.poll_send(cx, [&head, &body], timer)).await;
        Ok((exchange, timer))
    }

    async fn open_connection(&self, timer: &mut RequestTimer) -> Result<HttpConnection, Failure> {
        timer.mark_step(ConnectStep::Connecting, timer.now());
        let link = self.connector.open_connection(&mut |step| timer.mark_step(step, timer.now())).await?;
        timer.mark_step(ConnectStep::Ready, timer.now());
        Ok(link)
    }

    /// When the bytes of a read arrived.
    fn read_instant(&self, reading: ReadTime, timer: &mut RequestTimer) -> Instant {
        let read = reading.read;
        self.last_read.set(read);
        let stamp = reading.stamp.map(|stamp| self.wall_clock.instant(stamp, read));
        timer.on_socket_read(stamp.map(|stamp| read.saturating_duration_since(stamp)));
        match self.timestamp_source {
            TimestampSource::Kernel => stamp.unwrap_or(read),
            TimestampSource::Reader => read,
        }
    }
}

/// A request on its connection.
struct HttpExchange<'t> {
    transport: &'t Transport,
    link: HttpConnection,
    response: ResponseReader,
    /// The last read of the socket, and the offset at which its bytes arrived.
    last: Option<(ReadTime, Duration)>,
    /// How long the connection was idle; `None` if it has carried no request before.
    idle: Option<Duration>,
    /// The number of bytes of the request that were written.
    written: usize,
    /// How much of the request was written, or the error that stopped the write.
    write_progress: io::Result<WriteProgress>,
}

/// How much of a request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteProgress {
    Complete,
    /// The outcome was known before the write was complete.
    Partial,
}

impl<'t> HttpExchange<'t> {
    fn new(transport: &'t Transport, link: HttpConnection, idle: Option<Duration>) -> Self {
        let answer = ResponseReader::default();
        Self {
            transport,
            link,
            response: answer,
            last: None,
            idle,
            written: 0,
            write_progress: Ok(WriteProgress::Partial),
        }
    }

    /// Writes the message, and reads while the socket cannot take more bytes: a server may refuse a request before it
    /// has read all of it.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: [&[u8]; 2],
        timer: &mut RequestTimer,
    ) -> Poll<io::Result<WriteProgress>> {
        if let Poll::Ready(written) = self.link.poll_write(cx, message, &mut self.written) {
            timer.mark_step(ConnectStep::Written, timer.now());
            return Poll::Ready(written.map(|()| WriteProgress::Complete));
        }
        ready!(self.poll_receive(cx, timer))?;
        Poll::Ready(Ok(WriteProgress::Partial))
    }

    /// Reads the answer until the outcome is known.
    fn poll_receive(&mut self, cx: &mut Context<'_>, timer: &mut RequestTimer) -> Poll<io::Result<()>> {
        while !self.response.is_outcome_known(timer) {
            ready!(self.poll_read(cx, timer))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the rest of an answer whose outcome is known, if it arrives soon; otherwise the rest is dropped. It calls
    /// `go_on` when the rest has arrived, or when the next request has waited long enough.
    async fn drain(&mut self, timer: &mut RequestTimer, go_on: impl FnOnce()) {
        let mut rest = pin!(async {
            while self.response.should_drain() && poll_fn(|cx| self.poll_read(cx, timer)).await.is_ok() {}
        });
        let came = timeout(MAX_DRAIN_DELAY, &mut rest).await;
        go_on();
        if came.is_err() {
            let _ = timeout(DRAIN_TIMEOUT, rest).await;
        }
    }

    /// Returns the result of the exchange, and puts the connection back into the pool if it can be reused.
    fn finish(self, followed: io::Result<()>) -> Result<(), Failure> {
        match (&self.write_progress, followed) {
            // A server that closes the connection while the client writes may have sent the reason before.
            (Err(error), Err(_)) => return Err(transport_error::io_failure(error)),
            (Err(error), Ok(())) if self.response.is_empty() => {
                return Err(transport_error::io_failure(error));
            }
            (_, followed) => followed.map_err(|error| transport_error::io_failure(&error))?,
        }
        if self.response.keeps_alive() && matches!(self.write_progress, Ok(WriteProgress::Complete)) {
            self.transport.pool.borrow_mut().put_back(self.link);
        }
        self.response.finish()
    }

    /// Reads once, and passes on the bytes with their arrival time.
    fn poll_read(&mut self, cx: &mut Context<'_>, timer: &mut RequestTimer) -> Poll<io::Result<()>> {
        let room = &mut *self.transport.buf.borrow_mut();
        let count = ready!(self.link.poll_read(cx, room))?;
        if count == 0 {
            timer.on_close();
            self.response.close();
            return Poll::Ready(Ok(()));
        }
        let at = self.read_offset(timer);
        self.response.push(at, &room[..count], timer);
        Poll::Ready(Ok(()))
    }

    /// When the bytes of the last read arrived. TLS returns the bytes of one socket read in several pieces.
    fn read_offset(&mut self, timer: &mut RequestTimer) -> Duration {
        let reading = self.link.last_read_time();
        match self.last {
            Some((last, at)) if last == reading => at,
            _ => {
                let instant = self.transport.read_instant(reading, timer);
                let at = timer.offset(instant);
                self.last = Some((reading, at));
                at
            }
        }
    }
}

/// Adds notes to a failure before the first byte of an answer. A connection that had been idle may be the cause.
fn annotate_early_end(mut failure: Failure, idle: Option<Duration>, timer: &RequestTimer) -> Failure {
    if failure.class != FailureClass::BrokenStream || timer.phase() != TimeoutPhase::Headers {
        return failure;
    }
    if failure.detail.ends_with("reset by peer") || failure.detail.ends_with("broken pipe") {
        failure.detail += &format!(" {BEFORE_ANY_BYTE}");
    }
    if let Some(idle) = idle {
        let advice = "`target.connection.keepalive = false` opens one for each request";
        failure.detail += &format!(
            " (the server closed a connection that it had kept open after an earlier answer, idle for {idle:.1?}; {advice})"
        );
    }
    failure
}

#[cfg(test)]
mod tests;
