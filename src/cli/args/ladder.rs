//! Flags of a ladder: several loads, one after the other.

use std::num::NonZeroUsize;

use clap::Args;

use crate::cli::args::values::{self, Percents};
use crate::model::stop_rule::StopRule;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ladder (a list as --max-concurrency or --request-rate)")]
pub(crate) struct LadderArgs {
    /// End the ladder after the step for which this is true: ttft.p95>2s
    ///
    /// Several rules may be given; the first that is true ends the ladder. A step that does not have the metric is
    /// reported, and the ladder goes on.
    #[arg(long, value_name = "RULE", num_args = 1..)]
    pub until: Vec<StopRule>,
    /// Send N times --max-concurrency requests, instead of --num-prompts
    ///
    /// In a ladder, the number of requests of each step is N times its concurrency.
    #[arg(long, visible_alias = "sweep-num-prompts-factor", value_name = "N", value_parser = values::count)]
    pub num_prompts_factor: Option<NonZeroUsize>,
    /// Percentiles of TTFT and TPOT that the table has in addition
    #[arg(long, value_name = "LIST", value_parser = values::percent_list)]
    pub sweep_summary_percentiles: Option<Percents>,
}
