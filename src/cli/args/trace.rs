//! Flags of traces, which are requests with arrival times.

use std::num::NonZeroU32;

use clap::{Args, ValueEnum};

use crate::cli::args::values::{self, Pair};
use crate::model::run_spec::TraceWindow;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceLengthsName {
    /// The whole prompt, including the history
    Prompt,
    /// What the turn adds to the history
    Turn,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceArgs {
    /// Follow the trace's time stamps
    ///
    /// This is the default, except for burstgpt with --request-rate.
    #[arg(long, overrides_with = "no_self_timed")]
    pub self_timed: bool,
    /// Take only the lengths from the trace, and send at --request-rate
    #[arg(long, overrides_with = "self_timed")]
    pub no_self_timed: bool,
    /// Speed factor of the replay: 2x
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = values::speed)]
    pub trace_speed: f64,
    /// Part of the trace to replay: 10m..20m, 10m.. or ..20m
    ///
    /// Times count from the trace's first row. Without --num-prompts, the whole part is sent.
    #[arg(long, value_name = "FROM..TO", value_parser = values::window)]
    pub trace_window: Option<TraceWindow>,
    /// Names of the trace's columns: timestamp=t,input=in,output=out,hashes=h
    ///
    /// Rows with the same session=s are the turns of a session, with response times duration=d (see --think-time).
    /// Rows with the same value in the column prefix=p share one growing prompt, each sent at its own time.
    #[arg(long, value_name = "WHAT=COLUMN,…", value_delimiter = ',', value_parser = values::pair)]
    pub trace_columns: Vec<Pair>,
    /// What the prompt lengths of a session's rows count [default: the whole prompt]
    ///
    /// A value that the rows contradict is refused.
    #[arg(long, value_enum, value_name = "OF")]
    pub trace_lengths: Option<TraceLengthsName>,
    /// Tokens per block hash [default: what fits the trace, or 16]
    #[arg(long, value_name = "TOKENS", value_parser = values::number::<NonZeroU32>)]
    pub timed_trace_chunk_hash_size: Option<NonZeroU32>,
    /// Seconds per unit of the time stamps: 0.001 for milliseconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::time_unit)]
    pub timed_trace_sec_multiplier: f64,
    /// Key of the time stamp in timed_trace
    #[arg(long, value_name = "KEY", default_value = "timestamp")]
    pub timed_trace_label_timestamp: String,
    /// Key of the prompt length in timed_trace
    #[arg(long, value_name = "KEY", default_value = "input_length")]
    pub timed_trace_label_input_length: String,
    /// Key of the output length in timed_trace
    #[arg(long, value_name = "KEY", default_value = "output_length")]
    pub timed_trace_label_output_length: String,
    /// Key of the block hashes in timed_trace
    #[arg(long, value_name = "KEY", default_value = "hash_ids")]
    pub timed_trace_label_hash_ids: String,
}
