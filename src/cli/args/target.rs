//! Flags that say where requests go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::args::values::{self, Pair};
use crate::model::run_spec::Backend;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8000;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// Start the embedded simulator on a free port and measure it
    ///
    /// The defaults are then the bundled dataset and tokenizer, and 20 requests per second.
    #[arg(long, conflicts_with_all = ["base_url", "host", "port"])]
    pub sim: bool,
    /// API protocol, each with its usual path
    ///
    /// Embeddings, pooling and reranking have no stream, so only E2E is measured.
    #[arg(long, value_name = "NAME", value_parser = values::backend(), default_value = "openai")]
    pub backend: Backend,
    /// URL of the server, e.g. http://localhost:8000
    ///
    /// The URL of its API (…/v1) or of the endpoint works too. It overrides --host and --port.
    #[arg(long, alias = "url", value_name = "URL")]
    pub base_url: Option<String>,
    /// Host of the server
    #[arg(long, default_value = DEFAULT_HOST)]
    pub host: String,
    /// Port of the server
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = values::port)]
    pub port: u16,
    /// Path of the measured endpoint [default: the backend's]
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Name of the model [default: the first in /v1/models]
    #[arg(long)]
    pub model: Option<String>,
    /// Name of the model in requests, if it differs from --model
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Extra request headers; they are never stored
    ///
    /// OPENAI_API_KEY is sent as the bearer token.
    #[arg(long, value_name = "K=V", num_args = 0.., value_parser = values::pair)]
    pub header: Vec<Pair>,
    /// Prefix of x-request-id, before the number [default: a UUID with the number]
    #[arg(long, value_name = "PREFIX")]
    pub request_id_prefix: Option<String>,
    /// Send no x-request-id, for servers that reject it
    #[arg(long, conflicts_with = "request_id_prefix")]
    pub no_request_id: bool,
    /// Count a response with this finish reason as a success; repeatable
    ///
    /// This overrides docs/answers.md. `none` is a response without a finish reason.
    #[arg(long, value_name = "NAME")]
    pub accept_finish_reason: Vec<String>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub insecure: bool,
    /// Trust the CAs in this PEM file in addition to the system's
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// Client certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The private key of --client-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Open a new connection for each request
    #[arg(long)]
    pub no_keepalive: bool,
    /// Take a token's time when it is read, instead of the kernel's receive time
    ///
    /// This is less accurate, and serves for comparison.
    #[arg(long)]
    pub no_kernel_stamps: bool,
    /// Time limit of a request, from sending it (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::seconds)]
    pub timeout: Duration,
}

impl TargetArgs {
    /// Whether the flags name a server, rather than leaving it to the defaults.
    pub(crate) fn names_server(&self) -> bool {
        self.sim || self.base_url.is_some() || self.host != DEFAULT_HOST || self.port != DEFAULT_PORT
    }
}
