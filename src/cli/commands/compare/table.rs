//! The flags of a table of verdicts: its format, its margins, its rows.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::analysis::compare::{CompareConfig, all_metrics, headline_metrics, stated_metrics};
use crate::cli::args::values;
use crate::cli::commands::plan::fraction;
use crate::cli::defaults;
use crate::model::metric_id::MetricId;
use crate::model::run::Run;

/// A table of calls.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Format of the table
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    format: TableFormat,
    /// Print JSON; `--format json` is the same
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Relative margin: smaller differences from the baseline do not matter
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = fraction::below_one)]
    margin: f64,
    /// Margin in time, for tiny latencies
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = values::seconds)]
    floor: Duration,
    /// Margin for failure rate and goodput ratio, in percentage points
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = fraction::below_one)]
    points: f64,
    /// Probability of calling any row better or worse if the servers are equal
    #[arg(long, value_name = "SHARE", default_value = defaults::ALPHA, value_parser = defaults::alpha)]
    alpha: f64,
    /// Only these rows, such as ttft.p95,tpot.mean
    ///
    /// Fewer rows make smaller differences detectable.
    #[arg(long, value_name = "METRICS", value_delimiter = ',')]
    pub figures: Vec<MetricId>,
    /// All rows: mean and percentiles of every latency, and all rates
    #[arg(long, conflicts_with = "figures")]
    all: bool,
}

impl TableArgs {
    /// Returns the format of the table.
    pub(crate) fn format(&self) -> TableFormat {
        if self.json { TableFormat::Json } else { self.format }
    }

    /// Returns the rows for these runs if no metrics are named.
    pub(crate) fn default_metrics(&self, sides: &[&[Run]]) -> Vec<MetricId> {
        if self.all { all_metrics() } else { headline_metrics(sides) }
    }

    /// Returns the rows for results of other tools if no metrics are named.
    pub(crate) fn stated_metrics(&self) -> Vec<MetricId> {
        if self.all { all_metrics() } else { stated_metrics() }
    }

    /// Returns the margins and the error level.
    pub(crate) fn compare_config(&self) -> CompareConfig {
        CompareConfig { margin: self.margin, floor: self.floor, points: self.points, alpha: self.alpha }
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Text,
    Markdown,
    Json,
    Csv,
}
