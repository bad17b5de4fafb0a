//! servebench is a load generator and judge for LLM inference servers that speak the OpenAI API (vLLM first).
//!
//! *The [engine](drive::engine) drives a [`Spec`](core::spec::Spec)'s [`Request`](drive::workload::Request)s at their
//! [arrivals](core::arrival) against a [`Target`](core::spec::Target), turns each into a
//! [`Record`](core::record::Record), sums Records into [`Metrics`](core::metrics::Metrics), and saves a
//! [`Run`](core::run::Run).*
//!
//! # The rooms
//!
//! ```text
//!                      cli        flags, exit codes, printing; the program
//!       ┌───────────────┼──────────────┐
//!     drive           report          sim     drive: everything that causes traffic; report: renderers;
//!       │               │                     sim: a simulated vLLM that knows nothing of the rest
//!     server          judge                   server: what is known of the server beyond its answers; judge: findings
//!       │               │                     and verdicts: comparisons, gates, searches, diagnoses, plans
//!       └───── core ────┘                     core: pure values and arithmetic
//! ```
//!
//! A room names only the rooms below it; `tests/layers.rs` holds it to that.
//!
//! # A measurement as a library
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::time::Duration;
//!
//! use servebench::core::arrival::Schedule;
//! use servebench::core::metrics::{Latency, Metrics};
//! use servebench::core::rng::Dice;
//! use servebench::core::spec::{Backend, Connection, Dataset, History, Sampling, Slo, Target, Workload};
//! use servebench::drive::client::stopwatch::{Keep, KeepGaps, KeepText};
//! use servebench::drive::engine::{self, Phase, Plan, Stop};
//! use servebench::drive::workload::{self, bundled};
//! use servebench::sim;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A server: here a simulated one, on a thread of its own.
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! listener.set_nonblocking(true)?;
//! let base_url = format!("http://{}", listener.local_addr()?);
//! let spec = sim::Spec { tokenizer_json: Some(bundled::tokenizer_json().into()), ..sim::Spec::default() };
//! std::thread::spawn(move || {
//!     let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//!     runtime.block_on(async {
//!         let listener = tokio::net::TcpListener::from_std(listener)?;
//!         sim::serve(listener, spec, std::future::pending()).await
//!     })
//! });
//!
//! // What to send: eight of the bundled conversations.
//! let tokenizer = bundled::tokenizer();
//! let dataset = Dataset::Sharegpt { path: None, output_len: Some(8) };
//! let wanted = Workload::new(dataset, 8);
//! let work = workload::prepare(&wanted, &mut Dice::native(0), &tokenizer, &|_| {})?;
//!
//! // Where.
//! let target = Target {
//!     backend: Backend::Openai,
//!     base_url,
//!     endpoint: "/v1/completions".into(),
//!     model: "servebench-sim".into(),
//!     served_model_name: None,
//!     headers: Vec::new(),
//!     request_id_prefix: None,
//!     insecure: false,
//!     connection: Connection::default(),
//!     timeout: Duration::from_secs(60),
//! };
//!
//! // When: whenever one of four slots is free.
//! let plan = Plan {
//!     target: &target,
//!     sampling: &Sampling { ignore_eos: true, ..Sampling::default() },
//!     warmup: None,
//!     measured: Phase { requests: &work.requests, schedule: Schedule::Closed, cycle: false, duration: None },
//!     cap: Some(4),
//!     max_active: None,
//!     history: History::Real,
//!     keep: Keep { text: KeepText::Never, gaps: KeepGaps::Never },
//!     preconnect: 0,
//!     workers: NonZeroUsize::MIN,
//!     keep_going: false,
//!     salter: None,
//! };
//! let outcome = engine::drive(&plan, &tokenizer, &Stop::default(), &mut |_| {})?;
//!
//! let metrics = Metrics::of(&outcome.records, &outcome.meters.itl, &Slo::default(), &[99.0]);
//! assert_eq!((metrics.completed, metrics.failed), (8, 0));
//! assert_eq!(metrics.output_tokens.total, 64);
//! println!("median TTFT {:?}", metrics.latencies[&Latency::Ttft].median);
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod core;
pub mod drive;
pub mod judge;
pub mod report;
pub mod server;
pub mod sim;
