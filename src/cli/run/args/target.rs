//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::run::values::{self, Pair};
use crate::core::spec::Backend;

#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Start the embedded simulator on a free port and measure that; then the defaults are the bundled dataset and
    /// tokenizer, and 20 requests per second
    #[arg(long, conflicts_with_all = ["base_url", "host", "port"])]
    pub sim: bool,
    /// The protocol to speak; each has its usual path. Embeddings, pooling and reranking have no stream: E2E is what is measured
    #[arg(long, value_name = "NAME", value_parser = values::backend(), default_value = "openai")]
    pub backend: Backend,
    /// Scheme, host and port of the server, e.g. http://localhost:8000; overrides --host and --port
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Host of the server
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port of the server
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Path of the measured endpoint [default: the backend's]
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Name of the model [default: the first that /v1/models lists]
    #[arg(long)]
    pub model: Option<String>,
    /// Name of the model in requests, where it differs from --model
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Extra request headers; never stored. OPENAI_API_KEY is sent as bearer
    #[arg(long, value_name = "K=V", num_args = 0.., value_parser = values::pair)]
    pub header: Vec<Pair>,
    /// How every x-request-id begins; the request's number follows [default: bench-########-, the digits new for each run]
    #[arg(long, value_name = "PREFIX")]
    pub request_id_prefix: Option<String>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub insecure: bool,
    /// Trust the authorities in this PEM file too, beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Show the certificate in this PEM file to the server
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The private key of --client-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Open a connection for each request
    #[arg(long)]
    pub no_keepalive: bool,
    /// Take the time of a token when it is read, instead of the kernel's time of its arrival: less true, for comparison
    #[arg(long)]
    pub no_kernel_stamps: bool,
    /// The time one request may take from sent to its end (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::seconds)]
    pub timeout: Duration,
}
