//! Traces: requests with the times at which they came.

use std::num::NonZeroU32;

use clap::Args;

use crate::cli::run::values::{self, Pair};
use crate::core::spec::TraceWindow;

#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Send at the trace's time stamps: so by default, except for burstgpt with --request-rate
    #[arg(long, overrides_with = "no_self_timed")]
    pub self_timed: bool,
    /// Take only the lengths from the trace, and send at --request-rate
    #[arg(long, overrides_with = "self_timed")]
    pub no_self_timed: bool,
    /// Replay so many times as fast: 2x
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = values::speed)]
    pub trace_speed: f64,
    /// Only this stretch, by the trace's own time from its first row: 10m..20m, 10m.. or ..20m; without --num-prompts all
    /// of it
    #[arg(long, value_name = "FROM..TO", value_parser = values::window)]
    pub trace_window: Option<TraceWindow>,
    /// Where a trace has what: timestamp=t,input=in,output=out,hashes=h. Rows with the same session=s are the turns of a
    /// session, whose answers took duration=d (see --think-time); prompts with the same prefix=p continue one text, each at
    /// its own time
    #[arg(long, value_name = "WHAT=COLUMN,…", value_delimiter = ',', value_parser = values::pair)]
    pub trace_columns: Vec<Pair>,
    /// How many tokens a block hash stands for [default: what fits the trace, or 16]
    #[arg(long, value_name = "TOKENS")]
    pub timed_trace_chunk_hash_size: Option<NonZeroU32>,
    /// How many seconds a time stamp's unit is: 0.001 for milliseconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::factor)]
    pub timed_trace_sec_multiplier: f64,
    /// timed_trace's key of the time stamp
    #[arg(long, value_name = "KEY", default_value = "timestamp")]
    pub timed_trace_label_timestamp: String,
    /// timed_trace's key of the prompt length
    #[arg(long, value_name = "KEY", default_value = "input_length")]
    pub timed_trace_label_input_length: String,
    /// timed_trace's key of the output length
    #[arg(long, value_name = "KEY", default_value = "output_length")]
    pub timed_trace_label_output_length: String,
    /// timed_trace's key of the block hashes
    #[arg(long, value_name = "KEY", default_value = "hash_ids")]
    pub timed_trace_label_hash_ids: String,
}
