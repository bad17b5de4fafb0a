//! Flags that control scraping the server's metrics during the run.

use std::time::Duration;

use clap::Args;

use crate::cli::args::values;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server metrics")]
pub(crate) struct ServerArgs {
    /// Time between scrapes of the server's /metrics (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = values::seconds)]
    pub metrics_interval: Duration,
    /// URLs of the metrics, one for each replica [default: the server's /metrics]
    ///
    /// The default applies if the server has metrics.
    #[arg(long, value_name = "URL", num_args = 1.., value_parser = values::metrics_url)]
    pub metrics_url: Vec<String>,
    /// Do not scrape the server's metrics
    #[arg(long, conflicts_with = "metrics_url")]
    pub no_server_metrics: bool,
}
