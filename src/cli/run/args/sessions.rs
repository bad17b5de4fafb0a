//! Sessions of several turns, and users who leave early.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::run::values::{self, ThinkTime};
use crate::core::spec::Wait;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HistoryName {
    /// What the server really answered
    Real,
    /// What the dataset answers: the prompts are the same in every run
    Fixed,
    /// Nothing: each turn is a prompt by itself
    None,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionArgs {
    /// Send sessions of several turns: of --dataset-name random, or all turns of sharegpt (those of a trace: --trace-columns
    /// session=). --num-prompts then counts sessions, and --request-rate is their arrivals
    #[arg(long)]
    pub multi_turn: bool,
    /// Sessions from a file of vLLM's multi-turn script: a list of conversations, or a description to make them from
    /// (`generate_conversations`) [without --num-prompts: all of them]
    #[arg(long, short = 'i', value_name = "FILE", conflicts_with_all = ["dataset_name", "dataset_path", "multi_turn"])]
    pub input_file: Option<PathBuf>,
    /// Turns of a session [default: 3, of sharegpt all]
    #[arg(long, value_name = "N", requires = "multi_turn")]
    pub multi_turn_num_turns: Option<u32>,
    /// Fewest turns of a session, for a number drawn between this and --multi-turn-max-turns; 0 draws none
    #[arg(long, value_name = "N", default_value_t = 0, requires = "multi_turn")]
    pub multi_turn_min_turns: u32,
    /// Most turns of a session
    #[arg(long, value_name = "N", default_value_t = 0, requires = "multi_turn")]
    pub multi_turn_max_turns: u32,
    /// At most this many sessions active, thinking included: sessions, not requests (which --max-concurrency limits). With
    /// --request-rate inf a session begins when one ends [default there: --max-concurrency]
    #[arg(
        long,
        value_name = "N",
        visible_alias = "multi-turn-concurrency",
        alias = "max-active-conversations",
        value_parser = values::count
    )]
    pub max_active_sessions: Option<NonZeroUsize>,
    /// Constant time between the end of an answer and the next turn, in milliseconds; --think-time has other laws
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "think_time", value_parser = values::milliseconds)]
    pub multi_turn_delay_ms: u64,
    /// Time between the end of an answer and the next turn: 2s, 1s..5s (uniform), exp:2s (exponential with this mean), or
    /// trace: between two rows of a session, what the duration= of the first one's answer leaves of the time between their
    /// time stamps, or all of it where the trace has no such column [default: trace if it is one, else none]
    #[arg(long, value_name = "TIME", value_parser = values::think_time)]
    pub think_time: Option<ThinkTime>,
    /// What a turn repeats of the turns before it: as messages for chat, as one text for completions
    #[arg(long, value_enum, default_value = "real")]
    pub history: HistoryName,
    /// What each later turn adds, in tokens, of random sessions; 0 is --random-input-len
    #[arg(long, value_name = "TOKENS", default_value_t = 0, requires = "multi_turn", value_parser = values::tokens)]
    pub per_turn_input_len: u32,
    /// Share of each prompt that all random sessions have in common; turns then repeat no history
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::share, requires = "multi_turn")]
    pub multi_turn_prefix_global_ratio: f64,
    /// Share of each prompt that the turns of a random session have in common; turns then repeat no history
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = values::share, requires = "multi_turn")]
    pub multi_turn_prefix_conversation_ratio: f64,
    /// Some users leave this long after sending: 5s, 1s..10s (uniform), exp:5s. Their connections are dropped, as a
    /// browser does; they are counted apart from failures
    #[arg(long, value_name = "TIME", value_parser = values::wait, requires = "cancel_rate")]
    pub cancel_after: Option<Wait>,
    /// The share of requests whose users leave early: 10% or 0.1
    #[arg(long, value_name = "SHARE", value_parser = values::share, requires = "cancel_after")]
    pub cancel_rate: Option<f64>,
}
