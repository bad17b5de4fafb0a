//! One request over a connection: written, then read as it comes, each read with the time its bytes were there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::answer::Answer;
use super::dial::Dialer;
use super::endpoint::{Endpoint, base_url};
use super::fault;
use super::link::Link;
use super::pool::{Pool, Taken};
use super::proxy::Proxy;
use super::stamp::{Reading, Stamping};
use super::stopwatch::{Step, Stopwatch};
use super::{ClientError, Identity};
use crate::core::record::{Failure, FailureClass, Phase};
use crate::core::spec::Target;
use crate::core::validity::Stamps;
use crate::drive::clock::Wall;

/// How long to wait for the rest of an answer that can change nothing any more: reading it to its end lets the next
/// request use the connection.
const LEFTOVER_WAIT: Duration = Duration::from_secs(1);

/// How long the next request is kept waiting for that. Servers write the end of the chunked coding right after the last
/// event, and a connection that is free a moment later is better than a new one; one that forgets it holds up nobody.
const LEFTOVER_HOLD: Duration = Duration::from_millis(5);

/// Room for one read, in bytes: a step's events of one request fit a hundred times over.
const ROOM: usize = 64 << 10;

/// How many connections are opened at a time before the run.
const OPENING: usize = 64;

/// A measured endpoint and the connections to it, for one thread.
#[derive(Debug)]
pub struct Transport {
    endpoint: Endpoint,
    dialer: Dialer,
    pool: RefCell<Pool>,
    /// What was just read, by whichever request: it is taken apart before anybody else reads.
    room: RefCell<Box<[u8]>>,
    last_read: Cell<Instant>,
    wall: Wall,
    stamps: Stamps,
    _stamping: Option<Stamping>,
}

impl Transport {
    /// For a target, keeping up to `idle` unused connections; through the environment's proxy, if there is one.
    pub fn new(target: &Target, idle: usize) -> Result<Self, ClientError> {
        let proxy = Proxy::from_env(&base_url(target)?)?;
        Self::through(proxy.as_ref(), target, idle)
    }

    fn through(proxy: Option<&Proxy>, target: &Target, idle: usize) -> Result<Self, ClientError> {
        let endpoint = Endpoint::new(target, proxy)?;
        let dialer = Dialer::new(target, &endpoint, proxy)?;
        let stamping = Stamping::start();
        let by_kernel = target.connection.kernel_stamps && stamping.is_some();
        Ok(Self {
            endpoint,
            dialer,
            pool: RefCell::new(Pool::new(if target.connection.keepalive { idle } else { 0 })),
            room: RefCell::new(vec![0; ROOM].into()),
            last_read: Cell::new(Instant::now()),
            wall: Wall::default(),
            stamps: if by_kernel { Stamps::Kernel } else { Stamps::Reader },
            _stamping: stamping,
        })
    }

    /// Who says when bytes arrived.
    pub fn stamps(&self) -> Stamps {
        self.stamps
    }

    /// When a socket was last read.
    pub fn last_read(&self) -> Instant {
        self.last_read.get()
    }

    /// The largest step of the wall clock that was noticed; zero for none.
    pub fn clock_step(&self) -> Duration {
        self.wall.largest_step()
    }

    /// Opens so many connections for requests to come.
    pub async fn preconnect(&self, count: usize) -> Result<(), Failure> {
        let mut opening = stream::iter(0..count)
            .map(|_| async { self.dialer.dial(&mut |_| {}).await })
            .buffer_unordered(OPENING);
        while let Some(link) = opening.next().await {
            self.pool.borrow_mut().add(link?);
        }
        Ok(())
    }

    /// Posts a body and gives what comes back to the stopwatch, until the outcome is settled. `settled` hears when that was,
    /// as soon as the connection can take another request, or a moment later.
    ///
    /// What happens once is in boxes: its room would lie between the few bytes that every event needs, and thousands of
    /// streams share the processor's cache.
    pub fn send<'a>(
        &'a self,
        id: Identity<'a>,
        body: Bytes,
        watch: &'a mut Stopwatch,
        settled: impl FnOnce(Duration),
    ) -> impl Future<Output = Result<(), Failure>> {
        let beginning = Box::pin(self.begin(id, body, watch));
        async move {
            let (mut exchange, watch) = beginning.await?;
            let followed = poll_fn(|cx| exchange.poll_follow(cx, watch)).await;
            let ended = watch.settle(followed.is_ok());
            if followed.is_ok() && exchange.answer.wants_rest() {
                Box::pin(exchange.read_rest(watch, || settled(ended))).await;
            } else {
                settled(ended);
            }
            let idle = exchange.idle;
            exchange.conclude(followed).map_err(|failure| match idle {
                Some(idle) => on_idle_connection(failure, idle, watch),
                None => failure,
            })
        }
    }

    /// Writes a request on a connection.
    async fn begin<'a>(
        &'a self,
        id: Identity<'a>,
        body: Bytes,
        watch: &'a mut Stopwatch,
    ) -> Result<(Exchange<'a>, &'a mut Stopwatch), Failure> {
        watch.sending(watch.now());
        let taken = self.pool.borrow_mut().take();
        let (link, idle) = match taken {
            Some(Taken { link, idle }) => (link, idle),
            None => (self.dial(watch).await?, None),
        };
        let head = self.endpoint.head(id, body.len());
        let mut exchange = Exchange::new(self, link, idle);
        exchange.asked = poll_fn(|cx| exchange.poll_ask(cx, [&head, &body], watch)).await;
        Ok((exchange, watch))
    }

    async fn dial(&self, watch: &mut Stopwatch) -> Result<Link, Failure> {
        watch.reached(Step::Connecting, watch.now());
        let link = self.dialer.dial(&mut |step| watch.reached(step, watch.now())).await?;
        watch.reached(Step::Ready, watch.now());
        Ok(link)
    }

    /// When the bytes of a read were there.
    fn moment(&self, reading: Reading, watch: &mut Stopwatch) -> Instant {
        let read = reading.read;
        self.last_read.set(read);
        let stamp = reading.stamp.map(|stamp| self.wall.instant(stamp, read));
        watch.socket_read(stamp.map(|stamp| read.saturating_duration_since(stamp)));
        match self.stamps {
            Stamps::Kernel => stamp.unwrap_or(read),
            Stamps::Reader => read,
        }
    }
}

/// A request on its connection.
struct Exchange<'t> {
    transport: &'t Transport,
    link: Link,
    answer: Answer,
    /// The last read of the socket, and the time of its bytes.
    last: Option<(Reading, Duration)>,
    /// How long the connection had been idle, if it had a request before.
    idle: Option<Duration>,
    /// Of the request, in bytes.
    written: usize,
    /// How far the request was written, or why no further.
    asked: io::Result<Asked>,
}

/// How far a request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Wholly,
    /// The answer was settled before.
    Partly,
}

impl<'t> Exchange<'t> {
    fn new(transport: &'t Transport, link: Link, idle: Option<Duration>) -> Self {
        let answer = Answer::default();
        Self { transport, link, answer, last: None, idle, written: 0, asked: Ok(Asked::Partly) }
    }

    /// Writes the message, and reads where there is no room for more: a server may refuse before it has read it all.
    fn poll_ask(
        &mut self,
        cx: &mut Context<'_>,
        message: [&[u8]; 2],
        watch: &mut Stopwatch,
    ) -> Poll<io::Result<Asked>> {
        if let Poll::Ready(written) = self.link.poll_write(cx, message, &mut self.written) {
            watch.reached(Step::Written, watch.now());
            return Poll::Ready(written.map(|()| Asked::Wholly));
        }
        ready!(self.poll_follow(cx, watch))?;
        Poll::Ready(Ok(Asked::Partly))
    }

    /// Reads the answer until the outcome is settled.
    fn poll_follow(&mut self, cx: &mut Context<'_>, watch: &mut Stopwatch) -> Poll<io::Result<()>> {
        while !self.answer.is_settled(watch) {
            ready!(self.poll_read(cx, watch))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is left of a settled answer, if it comes soon; what does not come is not missed. `go_on` is called when it
    /// is there, or has kept the next request waiting for long enough.
    async fn read_rest(&mut self, watch: &mut Stopwatch, go_on: impl FnOnce()) {
        let mut rest = pin!(async {
            while self.answer.wants_rest() && poll_fn(|cx| self.poll_read(cx, watch)).await.is_ok() {}
        });
        let came = timeout(LEFTOVER_HOLD, &mut rest).await;
        go_on();
        if came.is_err() {
            let _ = timeout(LEFTOVER_WAIT, rest).await;
        }
    }

    /// How it went; gives the connection back if it can be used again.
    fn conclude(self, followed: io::Result<()>) -> Result<(), Failure> {
        match (&self.asked, followed) {
            // A server that hangs up while we write may have said why before.
            (Err(error), Err(_)) => return Err(fault::broken(error)),
            (Err(error), Ok(())) if self.answer.is_missing() => return Err(fault::broken(error)),
            (_, followed) => followed.map_err(|error| fault::broken(&error))?,
        }
        if self.answer.keeps_alive() && matches!(self.asked, Ok(Asked::Wholly)) {
            self.transport.pool.borrow_mut().put_back(self.link);
        }
        self.answer.conclude()
    }

    /// Reads once, and hands on what came with the time it was there.
    fn poll_read(&mut self, cx: &mut Context<'_>, watch: &mut Stopwatch) -> Poll<io::Result<()>> {
        let room = &mut *self.transport.room.borrow_mut();
        let count = ready!(self.link.poll_read(cx, room))?;
        if count == 0 {
            watch.closed();
            self.answer.close();
            return Poll::Ready(Ok(()));
        }
        let at = self.moment(watch);
        self.answer.push(at, &room[..count], watch);
        Poll::Ready(Ok(()))
    }

    /// When the bytes of the last read were there. TLS hands out those of one read of the socket piece by piece.
    fn moment(&mut self, watch: &mut Stopwatch) -> Duration {
        let reading = self.link.reading();
        match self.last {
            Some((last, at)) if last == reading => at,
            _ => {
                let instant = self.transport.moment(reading, watch);
                let at = watch.offset(instant);
                self.last = Some((reading, at));
                at
            }
        }
    }
}

/// A failure before the first byte of an answer, on a connection that had been idle, may be the connection's.
fn on_idle_connection(mut failure: Failure, idle: Duration, watch: &Stopwatch) -> Failure {
    if failure.class == FailureClass::BrokenStream && watch.phase() == Phase::Headers {
        let advice = "--no-keepalive opens one for each request";
        failure.detail += &format!(" (on a connection that had been idle for {idle:.1?}; {advice})");
    }
    failure
}

#[cfg(test)]
mod tests;
