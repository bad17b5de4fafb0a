//! The flags of a table of calls: how it is written, how strict it is, which rows it has.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::plan::share;
use crate::cli::run::values;
use crate::core::figure::Figure;
use crate::core::run::Run;
use crate::judge::compare::{Settings, figures, headline_figures};

/// A table of calls.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// How the table is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The share of the baseline's value below which a difference does not matter
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share::below_one)]
    margin: f64,
    /// The same in time, for tiny latencies
    #[arg(long, value_name = "TIME", default_value = "100us", value_parser = values::seconds)]
    floor: Duration,
    /// The same for failure rate and goodput ratio, in percentage points
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share::below_one)]
    points: f64,
    /// The chance that a table of equal servers calls any row better or worse
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = level)]
    alpha: f64,
    /// Only these rows, such as ttft.p95,tpot.mean: with fewer to look at, smaller differences are found
    #[arg(long, value_name = "FIGURES", value_delimiter = ',')]
    pub figures: Vec<Figure>,
    /// All rows: mean and percentiles of every latency, and all rates
    #[arg(long, conflicts_with = "figures")]
    all: bool,
}

impl TableArgs {
    /// The rows where no figures are named, for runs of these sides.
    pub fn default_figures(&self, sides: &[&[Run]]) -> Vec<Figure> {
        if self.all { figures() } else { headline_figures(sides) }
    }

    /// How strict it is.
    pub fn settings(&self) -> Settings {
        Settings { margin: self.margin, floor: self.floor, points: self.points, alpha: self.alpha }
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    Json,
    Csv,
}

fn level(text: &str) -> Result<f64, String> {
    share::below_one(text)
        .and_then(|level| if level > 0.0 { Ok(level) } else { Err("must be greater than 0".into()) })
}
