//! Flags that export the client's own metrics while it measures.

use clap::Args;

use crate::cli::args::values;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The client's own metrics")]
pub(crate) struct PublishArgs {
    /// Serve the client's own metrics during the run at http://ADDRESS/metrics
    ///
    /// `:19400` is port 19400 of all interfaces. `127.0.0.1:19400` is reachable from this machine only.
    #[arg(long, value_name = "ADDRESS", value_parser = values::listen_address)]
    pub metrics_listen: Option<String>,
    /// Push the client's own metrics to a Prometheus Pushgateway
    ///
    /// The metrics are pushed each second, and once at the end. Write http://host:9091, or `:9091` for this machine.
    #[arg(long, value_name = "URL", value_parser = values::gateway)]
    pub push_metrics: Option<String>,
}
