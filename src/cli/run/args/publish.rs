//! Who else sees the client's figures while it measures.

use clap::Args;

use crate::cli::run::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "The client's own metrics")]
pub struct PublishArgs {
    /// Let Prometheus fetch the client's own figures during the run: from http://ADDRESS/metrics. `:9400` is port 9400 of
    /// all interfaces, `127.0.0.1:9400` can be reached from this machine only
    #[arg(long, value_name = "ADDRESS", value_parser = values::listen_address)]
    pub metrics_listen: Option<String>,
    /// Push them to a Prometheus Pushgateway each second, and once at the end: http://host:9091, or `:9091` on this machine
    #[arg(long, value_name = "URL", value_parser = values::gateway)]
    pub push_metrics: Option<String>,
}
