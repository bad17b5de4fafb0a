//! Everything that determines a run, and nothing that performs one.
//!
//! A [`Spec`] is stored with the result: two runs with the same Spec against the same server are repeats.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::units::{Rate, Secret, number_or_inf, seconds};

/// The whole description of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Where requests go.
    pub target: Target,
    /// What is sent.
    pub workload: Workload,
    /// How the model is asked to generate.
    pub sampling: Sampling,
    /// When it is sent, and how much of it.
    pub load: Load,
    /// What counts as good service.
    pub slo: Slo,
    /// The share of failed requests above which a run is INVALID.
    pub max_failure_rate: f64,
    /// Seeds the workload, the arrivals and nothing else.
    pub seed: u64,
    /// Whose random numbers the seed gives. Results from before there was a choice have our own.
    #[serde(default)]
    pub rng: Rng,
}

/// Whose random numbers a seed gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rng {
    /// Those of vLLM's Python client: the same seed gives the same prompts at the same times.
    Python,
    /// Our own: asking for more requests keeps the first ones, and prompts are written on all cores.
    #[default]
    Native,
}

/// The server under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The protocol.
    pub backend: Backend,
    /// Scheme, host and port, without a path: `http://localhost:8000`.
    pub base_url: String,
    /// The path of the measured endpoint: `/v1/completions`.
    pub endpoint: String,
    /// The model's name or path; the tokenizer's default name.
    pub model: String,
    /// The name sent in the `model` field, where it differs from `model`.
    pub served_model_name: Option<String>,
    /// Extra request headers; their values are never stored.
    pub headers: Vec<(String, Secret)>,
    /// Accept any TLS certificate.
    pub insecure: bool,
    /// How measured connections are made.
    #[serde(default)]
    pub connection: Connection,
    /// The time one request may take.
    #[serde(rename = "timeout_s", with = "seconds")]
    pub timeout: Duration,
}

impl Target {
    /// The `model` field of a request.
    pub fn model_field(&self) -> &str {
        self.served_model_name.as_deref().unwrap_or(&self.model)
    }

    /// The measured URL.
    pub fn url(&self) -> String {
        format!("{}{}", self.base_url, self.endpoint)
    }
}

/// How connections to the server are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// PEM file with certificates of authorities to trust beside the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM file with the certificate (and its chain) that we show to the server.
    pub client_cert: Option<PathBuf>,
    /// PEM file with the private key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Use a connection for one request after another.
    pub keepalive: bool,
    /// Take the kernel's receive time of a token instead of our own, where the system has it.
    pub kernel_stamps: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self { ca_cert: None, client_cert: None, client_key: None, keepalive: true, kernel_stamps: true }
    }
}

/// The protocols, under vLLM's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// OpenAI completions.
    Openai,
    /// The same: vLLM's older name.
    Vllm,
    /// OpenAI chat completions.
    OpenaiChat,
}

impl Backend {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Vllm => "vllm",
            Self::OpenaiChat => "openai-chat",
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Where prompts come from.
    pub dataset: Dataset,
    /// The tokenizer as asked for: a file, a directory or a hub id; `None` means the model's.
    pub tokenizer: Option<String>,
    /// How many requests to prepare.
    pub num_prompts: usize,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Dataset {
    /// First two turns of ShareGPT conversations.
    Sharegpt {
        /// The file; `None` is the bundled one.
        path: Option<PathBuf>,
        /// Ask for this many output tokens instead of the answer's length.
        output_len: Option<u32>,
    },
    /// Random tokens of given lengths.
    Random(RandomLengths),
}

impl Dataset {
    /// vLLM's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sharegpt { .. } => "sharegpt",
            Self::Random(_) => "random",
        }
    }
}

/// The parameters of the `random` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomLengths {
    /// Prompt length, without the prefix.
    pub input_len: u32,
    /// Output length.
    pub output_len: u32,
    /// Length of the prefix that all prompts share.
    pub prefix_len: u32,
    /// Input lengths are uniform in `len·(1−r) ..= len·(1+r)`.
    pub input_range_ratio: f64,
    /// The same for output lengths.
    pub output_range_ratio: f64,
}

/// How the model is asked to generate. What is `None` is not sent: the server's default holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Generate to the token limit whatever the model says.
    pub ignore_eos: bool,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `top_k`.
    pub top_k: Option<i64>,
    /// `min_p`.
    pub min_p: Option<f64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f64>,
    /// `repetition_penalty`.
    pub repetition_penalty: Option<f64>,
    /// Merged last into every body: wins over everything else in it.
    pub extra_body: Map<String, Value>,
}

/// When requests are sent, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Arrivals per second.
    pub request_rate: Rate,
    /// Shape of the gamma law of the gaps: 1 is Poisson, below 1 is burstier, above is more even, infinite is constant.
    #[serde(with = "number_or_inf")]
    pub burstiness: f64,
    /// Scale the arrivals so that the last falls on n / rate, as vLLM does.
    pub normalize_arrivals: bool,
    /// At most this many requests in flight.
    pub max_concurrency: Option<NonZeroUsize>,
    /// Send nothing that is due after this.
    #[serde(rename = "duration_s", with = "seconds::option")]
    pub duration: Option<Duration>,
    /// Start over when the prompts are used up, until `duration` ends the run.
    pub cycle: bool,
    /// Unmeasured requests before the run.
    pub num_warmups: usize,
    /// Unmeasured traffic for this long before the run.
    #[serde(rename = "warmup_s", with = "seconds::option")]
    pub warmup: Option<Duration>,
    /// Connections opened before the run.
    pub preconnect: usize,
    /// How many threads send.
    pub workers: NonZeroUsize,
}

impl Load {
    /// Whether a request is due when another has ended (a cap and no pace) rather than at a time of its own.
    pub fn is_closed_loop(&self) -> bool {
        self.max_concurrency.is_some() && !self.request_rate.is_finite()
    }

    /// Enough requests for this time at the rate; `None` without a finite rate.
    ///
    /// Arrivals as drawn vary by the root of their number: five deviations more than the mean is always enough, and what
    /// is due after the end is not sent.
    pub fn due_within(&self, time: Duration) -> Option<usize> {
        let mean = time.as_secs_f64() * self.request_rate.get();
        let enough = if self.normalize_arrivals { mean } else { mean + 5.0 * mean.sqrt() };
        self.request_rate.is_finite().then_some((enough.ceil() as usize).max(1))
    }

    /// How many prompts the warm-up needs: a closed loop goes round in twice as many as it has slots.
    pub fn warmup_prompts(&self) -> usize {
        match self.warmup {
            Some(time) => {
                let slots = self.max_concurrency.map_or(1, usize::from);
                self.due_within(time).unwrap_or(2 * slots)
            }
            None => self.num_warmups,
        }
    }
}

/// What counts as good service; a request must meet every limit that is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slo {
    /// Limit of the time to first token.
    #[serde(rename = "ttft_s", with = "seconds::option")]
    pub ttft: Option<Duration>,
    /// Limit of the time per output token.
    #[serde(rename = "tpot_s", with = "seconds::option")]
    pub tpot: Option<Duration>,
    /// Limit of the end-to-end time.
    #[serde(rename = "e2e_s", with = "seconds::option")]
    pub e2e: Option<Duration>,
    /// Where TTFT and E2E are measured from.
    pub from: SloFrom,
}

/// Where the latencies that an SLO limits begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloFrom {
    /// When the request was due: what a user who arrived on schedule felt.
    #[default]
    Due,
    /// When it was sent: vLLM's way, in which waiting for the client is no fault.
    Sent,
}

impl Slo {
    /// Whether any limit is set.
    pub fn is_set(&self) -> bool {
        [self.ttft, self.tpot, self.e2e].iter().any(Option::is_some)
    }
}
