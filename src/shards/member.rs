//! A client of a run other than the first.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tracing::info;

use super::clock::{ClockMapping, ROUND_TRIPS, RoundTrip};
use super::messages::{
    Beat, Clocks, Join, Joined, Order, PATH, PROTOCOL, Ready, Refusal, RunIdentity, Start,
};
use super::{BEAT_INTERVAL, LOST_AFTER};
use crate::client::{tls, transport_error};
use crate::model::record_log::RunShare;
use crate::model::shard::Shard;
use crate::runner::StopHandle;

/// The time between two attempts to join.
const JOIN_INTERVAL: Duration = Duration::from_millis(200);

/// The size of the pieces in which a record log is sent.
const CHUNK_BYTES: u64 = 1 << 16;

/// The timeout of a short message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that has joined a run.
pub(crate) struct Member {
    link: Link,
    share: RunShare,
    mapping: ClockMapping,
    runtime: Runtime,
    beats: Option<JoinHandle<()>>,
    is_leader_lost: Arc<AtomicBool>,
}

/// The connection to shard 0.
#[derive(Clone)]
struct Link {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Link {
    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn post<T: serde::Serialize>(&self, path: &str, message: &T) -> RequestBuilder {
        self.request(self.http.post(format!("{}{path}", self.base)).json(message))
    }
}

/// Why a message has no answer.
enum NoAnswer {
    /// Shard 0 does not answer.
    Silent(String),
    /// Shard 0 refuses.
    Refused(String),
}

impl NoAnswer {
    fn into_message(self) -> String {
        match self {
            Self::Silent(why) => format!("shard 0 does not answer: {why}"),
            Self::Refused(why) => why,
        }
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, NoAnswer> {
    let silent = |error| NoAnswer::Silent(transport_error::causes(error));
    let response = request.send().await.map_err(silent)?;
    let status = response.status();
    let body = response.bytes().await.map_err(silent)?;
    if status.is_success() {
        let body: &[u8] = if status == StatusCode::NO_CONTENT { b"null" } else { &body };
        return serde_json::from_slice(body)
            .map_err(|error| NoAnswer::Refused(format!("this is not shard 0 of a run: {error}")));
    }
    let refusal = serde_json::from_slice(&body).map(|Refusal { error }| error);
    Err(NoAnswer::Refused(refusal.unwrap_or_else(|_| format!("this is not shard 0 of a run: HTTP {status}"))))
}

impl Member {
    /// Joins the run at an address, which may begin to listen later.
    ///
    /// # Errors
    /// Why the client cannot join, in a sentence.
    pub(crate) fn join(
        address: &str,
        shard: Shard,
        token: Option<String>,
        timeout: Duration,
        stop: &StopHandle,
    ) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot join the other shards: {error}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shards")
            .enable_all()
            .build()
            .map_err(cannot)?;
        tls::install_provider();
        // A proxy is for the server under test.
        let http = Client::builder().no_proxy().build().map_err(transport_error::causes)?;
        let link = Link { http, base: format!("http://{address}{PATH}"), token };
        let host = host_name();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let join = Join { protocol: PROTOCOL, shard, version, host: host.clone() };
        let began = Instant::now();
        let joined = loop {
            let request = link.post("/join", &join).timeout(MESSAGE_TIMEOUT);
            match runtime.block_on(answer::<Joined>(request)) {
                Ok(joined) => break joined,
                Err(NoAnswer::Silent(_)) if began.elapsed() < timeout && !stop.is_requested() => {
                    std::thread::sleep(JOIN_INTERVAL);
                }
                Err(error) => return Err(format!("{address}: {}", error.into_message())),
            }
        };
        let mapping = runtime.block_on(measure_clocks(&link)).map_err(NoAnswer::into_message)?;
        info!(run = %joined.run, uncertainty = ?mapping.uncertainty(), "joined the other shards");
        let clock = Some(mapping.wall_offset());
        let share = RunShare { shard, run: joined.run, host, clock };
        Ok(Self { link, share, mapping, runtime, beats: None, is_leader_lost: Arc::default() })
    }

    /// The client's share of the run.
    pub(crate) fn share(&self) -> &RunShare {
        &self.share
    }

    /// Waits until all clients are ready, and returns the instant of the common start, or why there is none.
    pub(crate) fn wait_for_start(
        &self,
        identity: RunIdentity,
        timeout: Duration,
        stop: &StopHandle,
    ) -> Result<Instant, String> {
        let ready = Ready { shard: self.share.shard, identity };
        let request = self.link.post("/ready", &ready).timeout(timeout + MESSAGE_TIMEOUT);
        let start = self.runtime.block_on(async {
            let interrupted = async {
                while !stop.is_requested() {
                    tokio::time::sleep(JOIN_INTERVAL).await;
                }
            };
            tokio::select! {
                start = answer::<Start>(request) => start.map_err(NoAnswer::into_message),
                () = interrupted => Err("interrupted".to_owned()),
            }
        })?;
        Ok(self.mapping.instant(start.monotonic_ns))
    }

    /// Tells shard 0 each second that this client is alive. When shard 0 says so, the load is stopped.
    pub(crate) fn begin_beats(&mut self, stop: StopHandle) {
        let (link, shard) = (self.link.clone(), self.share.shard);
        let is_leader_lost = Arc::clone(&self.is_leader_lost);
        self.beats = Some(self.runtime.spawn(async move {
            let mut answered = Instant::now();
            loop {
                let request = link.post("/beat", &Beat { shard }).timeout(MESSAGE_TIMEOUT);
                match answer::<Order>(request).await {
                    Ok(Order { stop: false }) => answered = Instant::now(),
                    Ok(Order { stop: true }) => {
                        answered = Instant::now();
                        stop.request();
                    }
                    Err(_) if answered.elapsed() > LOST_AFTER => {
                        is_leader_lost.store(true, Ordering::Relaxed);
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(BEAT_INTERVAL).await;
            }
        }));
    }

    /// Sends the record log of this client to shard 0.
    ///
    /// # Errors
    /// Why shard 0 did not take it, in a sentence.
    pub(crate) fn send_log(self, log: &Path) -> Result<(), String> {
        if self.is_leader_lost.load(Ordering::Relaxed) {
            return Err(format!("shard 0 has not answered for {} s", LOST_AFTER.as_secs()));
        }
        let index = self.share.shard.to_string().replace('/', "-");
        let sent = self.runtime.block_on(async {
            let in_file = |error| NoAnswer::Refused(format!("cannot read {}: {error}", log.display()));
            let mut file = std::fs::File::open(log).map_err(in_file)?;
            // This thread does nothing else, so it may wait for the disk.
            let chunks = std::iter::from_fn(move || next_chunk(&mut file).transpose());
            let stream = futures_util::stream::iter(chunks);
            let request = self.link.http.put(format!("{}/log/{index}", self.link.base));
            let request = self.link.request(request).body(reqwest::Body::wrap_stream(stream));
            answer::<()>(request).await
        });
        self.beats.iter().for_each(JoinHandle::abort);
        sent.map_err(NoAnswer::into_message)
    }
}

/// Relates the clocks by round trips over one connection.
async fn measure_clocks(link: &Link) -> Result<ClockMapping, NoAnswer> {
    let mut trips = Vec::new();
    for _ in 0..ROUND_TRIPS {
        let request = link.request(link.http.get(format!("{}/time", link.base))).timeout(MESSAGE_TIMEOUT);
        let sent = Instant::now();
        let clocks: Clocks = answer(request).await?;
        trips.push(RoundTrip { sent, answered: Instant::now(), wall: SystemTime::now(), clocks });
    }
    ClockMapping::from_round_trips(trips).ok_or_else(|| NoAnswer::Silent("no round trip".to_owned()))
}

/// Reads the next piece of a file; `None` at its end.
fn next_chunk(file: &mut std::fs::File) -> std::io::Result<Option<Vec<u8>>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES as usize);
    file.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then_some(chunk))
}

/// The name of this host.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
