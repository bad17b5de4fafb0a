//! Flags of sessions with several turns, and of users who leave early.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::values::{self, ThinkTime};
use crate::model::run_spec::WaitTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistoryName {
    /// The server's actual responses
    Real,
    /// The dataset's responses, so that the prompts are the same in every run
    Fixed,
    /// No history: each turn is a separate prompt
    None,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sessions")]
pub(crate) struct SessionArgs {
    /// Send sessions of several turns; --num-prompts then counts sessions
    ///
    /// Sessions come from --dataset-name random, or are all turns of sharegpt. (For those of a trace, see
    /// --trace-columns session=.) --request-rate is then the arrival rate of sessions.
    #[arg(long)]
    pub multi_turn: bool,
    /// Sessions from a file of vLLM's multi-turn script
    ///
    /// The file is a list of conversations, or a description to generate them from (`generate_conversations`).
    /// Without --num-prompts, all of them are sent.
    #[arg(long, short = 'i', value_name = "FILE", conflicts_with_all = ["dataset_name", "dataset_path", "multi_turn"])]
    pub input_file: Option<PathBuf>,
    /// Turns of a session [default: 3, for sharegpt all]
    #[arg(long, value_name = "N", requires = "multi_turn", value_parser = values::number::<u32>)]
    pub multi_turn_num_turns: Option<u32>,
    /// Fewest turns of a session; 0 disables drawing the number
    ///
    /// The number is drawn between this and --multi-turn-max-turns.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "multi_turn", value_parser = values::number::<u32>)]
    pub multi_turn_min_turns: u32,
    /// Most turns of a session
    #[arg(long, value_name = "N", default_value_t = 0, requires = "multi_turn", value_parser = values::number::<u32>)]
    pub multi_turn_max_turns: u32,
    /// The most active sessions, including those that think
    ///
    /// This counts sessions, while --max-concurrency counts requests. With --request-rate inf, a session begins when
    /// another ends, and the default is --max-concurrency.
    #[arg(
        long,
        value_name = "N",
        visible_alias = "multi-turn-concurrency",
        alias = "max-active-conversations",
        value_parser = values::count
    )]
    pub max_active_sessions: Option<NonZeroUsize>,
    /// Constant think time between turns, in milliseconds
    ///
    /// It starts at the end of a response. --think-time has other distributions.
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "think_time", value_parser = values::milliseconds)]
    pub multi_turn_delay_ms: u64,
    /// Think time between turns: 2s, 1s..5s, exp:2s, or trace
    ///
    /// It starts at the end of a response. 1s..5s is uniform, and exp:2s is exponential with this mean. `trace` takes
    /// it from two rows of a session: the difference of their time stamps, minus the duration= of the first response
    /// if the trace has that column. The default is `trace` for a trace, else none.
    #[arg(long, value_name = "TIME", value_parser = values::think_time)]
    pub think_time: Option<ThinkTime>,
    /// What a turn repeats of earlier turns (as messages for chat, else as text)
    #[arg(long, value_enum, default_value = "real")]
    pub history: HistoryName,
    /// Tokens that each later turn of a random session adds [0: --random-input-len]
    #[arg(long, value_name = "TOKENS", default_value_t = 0, requires = "multi_turn", value_parser = values::tokens)]
    pub per_turn_input_len: u32,
    /// Share of each prompt that all random sessions have in common
    ///
    /// Turns then repeat no history.
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::share, requires = "multi_turn")]
    pub multi_turn_prefix_global_ratio: f64,
    /// Share of each prompt that the turns of a random session have in common
    ///
    /// Turns then repeat no history.
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::share, requires = "multi_turn")]
    pub multi_turn_prefix_conversation_ratio: f64,
    /// Cancel some requests this long after sending: 5s, 1s..10s (uniform), exp:5s
    ///
    /// Their connections are closed, as a browser does when its user leaves. They are counted apart from failures.
    #[arg(long, value_name = "TIME", value_parser = values::wait, requires = "cancel_rate")]
    pub cancel_after: Option<WaitTime>,
    /// Share of requests to cancel early: 10% or 0.1
    #[arg(long, value_name = "SHARE", value_parser = values::share, requires = "cancel_after")]
    pub cancel_rate: Option<f64>,
}
