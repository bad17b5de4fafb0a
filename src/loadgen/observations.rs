//! What the client observed of itself and of the answers during a load, besides the Records.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::request_timer::StreamStats;
use crate::model::validity::{TextClaims, TimestampSource};
use crate::model::wall_time::WallTime;
use crate::seconds;

/// What the client observed during a load, besides the Records. The observations of several clients add up in any
/// order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientObservations {
    /// t0 by the wall clock; every offset counts from it. If the run ended during the warm-up, this is the warm-up's
    /// start.
    pub t0: WallTime,
    /// The combined stream statistics of the measured requests, failed ones included.
    pub stream_stats: StreamStats,
    /// The source of the arrival times of bytes.
    pub timestamp_source: TimestampSource,
    /// The largest step of the wall clock during the run; zero if there was none.
    #[serde(rename = "clock_step_s", with = "seconds")]
    pub clock_step: Duration,
    /// The number of files and sockets that the process may have open; `None` means no limit.
    pub descriptors: Option<u64>,
    /// How our prompt lengths compare with the server's.
    pub agreement: TokenAgreement,
    /// How the server's counts of output tokens compare with the texts of the answers.
    pub(crate) claims: TextClaims,
    /// The counts of unmeasured requests.
    pub warmup: WarmupCount,
    /// The share of a core that each worker used over the busiest five seconds of its measured phase. Time that the
    /// worker spins for a due time is not included.
    pub worker_cpu: Vec<f64>,
    /// Whether [`StopHandle`](super::StopHandle) ended the run early.
    pub interrupted: bool,
    /// Errors of the client itself that ended the run early: errors of the system, and panics.
    pub client_errors: Vec<String>,
}

impl ClientObservations {
    /// Observations of a load that began at `t0`, without any worker's.
    pub(crate) fn new(t0: WallTime) -> Self {
        Self {
            t0,
            stream_stats: StreamStats::default(),
            timestamp_source: TimestampSource::Kernel,
            clock_step: Duration::ZERO,
            descriptors: None,
            agreement: TokenAgreement::default(),
            claims: TextClaims::default(),
            warmup: WarmupCount::default(),
            worker_cpu: Vec::new(),
            interrupted: false,
            client_errors: Vec::new(),
        }
    }

    /// Adds the observations of another client of the same run.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.stream_stats.merge(&other.stream_stats);
        self.timestamp_source = self.timestamp_source.max(other.timestamp_source);
        self.clock_step = self.clock_step.max(other.clock_step);
        self.descriptors = [self.descriptors, other.descriptors].into_iter().flatten().min();
        self.agreement.merge(other.agreement);
        self.claims.merge(other.claims);
        self.warmup.add(other.warmup);
        self.worker_cpu.extend(&other.worker_cpu);
        self.interrupted |= other.interrupted;
        self.client_errors.extend(other.client_errors.iter().cloned());
    }
}

/// Compares our counts of prompt tokens with the server's usage, over the requests that both counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAgreement {
    /// Whether our counts are estimates, because there is no tokenizer.
    pub is_estimate: bool,
    /// The number of prompts that both counted.
    pub prompts: u64,
    /// The number of tokens by our count.
    pub ours: u64,
    /// The number of tokens by the server's usage.
    pub servers: u64,
    /// The total number of tokens by which the server's counts exceed ours.
    pub more: u64,
    /// The total number of tokens by which the server's counts are below ours.
    pub less: u64,
}

impl TokenAgreement {
    fn merge(&mut self, other: Self) {
        self.is_estimate |= other.is_estimate;
        self.prompts += other.prompts;
        self.ours += other.ours;
        self.servers += other.servers;
        self.more += other.more;
        self.less += other.less;
    }
}

/// The counts of the unmeasured requests of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmupCount {
    /// The number of requests sent.
    pub sent: usize,
    /// The number of requests that failed.
    pub failed: usize,
}

impl WarmupCount {
    /// Adds the counts of other requests.
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
    }
}
