//! What the server says of itself meanwhile.

use std::time::Duration;

use clap::Args;

use crate::cli::run::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Server metrics")]
pub struct ServerArgs {
    /// How often the server's /metrics is read during the run (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = values::seconds)]
    pub metrics_interval: Duration,
    /// Where the metrics are, of several replicas one after the other [default: /metrics of the server, if it has one]
    #[arg(long, value_name = "URL", num_args = 1.., value_parser = values::metrics_url)]
    pub metrics_url: Vec<String>,
    /// Read no metrics during the run
    #[arg(long, conflicts_with = "metrics_url")]
    pub no_server_metrics: bool,
}
