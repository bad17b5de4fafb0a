//! Converts the session flags.

use std::time::Duration;

use super::dataset_flags::random;
use super::trace;
use crate::cli::args::values::{Amount, ThinkTime};
use crate::cli::args::{DatasetName, HistoryName, RunArgs, SessionArgs};
use crate::model::run_spec::{
    Dataset, EarlyCancel, HistoryMode, RandomLengths, RandomTurns, SessionSpec, Trace, TurnCount, WaitTime,
};

/// vLLM's default for `--multi-turn-num-turns`.
const TURNS: u32 = 3;

/// Builds the users' behavior.
pub(super) fn sessions(args: &SessionArgs, dataset: &Dataset) -> Result<SessionSpec, String> {
    let shares = matches!(dataset, Dataset::RandomTurns(turns) if turns.has_common_prefixes());
    let delay = Duration::from_millis(args.multi_turn_delay_ms);
    let behaves = args.think_time.is_some() || !delay.is_zero() || args.max_active_sessions.is_some();
    if behaves && !dataset.has_sessions() {
        return Err(
            "--think-time and --max-active-sessions need sessions: add --multi-turn, --input-file with \
                    conversations, or --trace-columns session= to a trace"
                .into(),
        );
    }
    if args.think_time == Some(ThinkTime::Trace) && !matches!(dataset, Dataset::Trace(_)) {
        return Err("--think-time trace needs a trace: --dataset-name trace with --trace-columns session=…,duration=…".into());
    }
    let think = match args.think_time {
        Some(ThinkTime::Law(law)) => Some(law),
        Some(ThinkTime::Trace) => None,
        None => (!delay.is_zero()).then_some(WaitTime::Constant(delay)),
    };
    Ok(SessionSpec {
        history: match args.history {
            // As in vLLM, a shared prefix takes the place of the history.
            _ if shares => HistoryMode::None,
            HistoryName::Real => HistoryMode::Real,
            HistoryName::Fixed => HistoryMode::Fixed,
            HistoryName::None => HistoryMode::None,
        },
        think,
    })
}

/// Returns a trace with the requested history of its sessions; any other dataset is unchanged.
pub(super) fn with_history(dataset: Dataset, args: &SessionArgs) -> Result<Dataset, String> {
    match dataset {
        Dataset::Trace(trace) if trace.has_sessions() => {
            let whole_turns = args.history == HistoryName::None;
            if trace.token_ids && !whole_turns {
                return Err(
                    "--prompt-token-ids cannot send the session history, which is text; add --history none"
                        .into(),
                );
            }
            Ok(Dataset::Trace(Trace { whole_turns, ..trace }))
        }
        other => Ok(other),
    }
}

/// Whether the flags ask for sessions.
pub(super) fn are_wanted(args: &RunArgs) -> bool {
    args.sessions.multi_turn || args.sessions.input_file.is_some() || trace::has_sessions(args)
}

/// Returns the rule for early cancellation by users.
pub(super) fn cancel(args: &SessionArgs) -> Option<EarlyCancel> {
    let (after, share) = (args.cancel_after?, args.cancel_rate?);
    (share > 0.0).then_some(EarlyCancel { share, after })
}

/// Returns the dataset of sessions, if the flags ask for one.
pub(super) fn dataset(args: &RunArgs, name: DatasetName) -> Result<Option<Dataset>, String> {
    let (flags, workload) = (&args.sessions, &args.workload);
    if let Some(path) = &flags.input_file {
        let all = !matches!(workload.num_prompts, Some(Amount::Exactly(_)));
        return Ok(Some(Dataset::Conversations { path: path.clone(), all }));
    }
    if !flags.multi_turn || trace::has_sessions(args) {
        return Ok(None);
    }
    let turns = turn_count(flags)?;
    if flags.history_is_fixed() && name == DatasetName::Random {
        return Err("--history fixed repeats the dataset's answers, and random sessions have none".into());
    }
    Ok(Some(match name {
        DatasetName::Sharegpt => Dataset::SharegptTurns {
            path: workload.dataset_path.clone(),
            output_len: workload.output_len.or(workload.sharegpt_output_len),
            turns,
        },
        DatasetName::Random => {
            Dataset::RandomTurns(random_turns(flags, random(workload)?, turns.unwrap_or(only(TURNS)))?)
        }
        _ => {
            return Err("--multi-turn makes sessions of --dataset-name random or sharegpt; conversations of your own go \
                        with --input-file, a trace with --trace-columns session="
                .into());
        }
    }))
}

fn random_turns(flags: &SessionArgs, first: RandomLengths, turns: TurnCount) -> Result<RandomTurns, String> {
    let (global, session) =
        (flags.multi_turn_prefix_global_ratio, flags.multi_turn_prefix_conversation_ratio);
    if global + session > 1.0 {
        return Err(format!(
            "--multi-turn-prefix-global-ratio {global} and --multi-turn-prefix-conversation-ratio {session} are more than \
             the whole prompt together"
        ));
    }
    if first.token_ids {
        return Err("--prompt-token-ids cannot send sessions: they are repeated as text".into());
    }
    let input_len = if flags.per_turn_input_len == 0 { first.input_len } else { flags.per_turn_input_len };
    Ok(RandomTurns { first, input_len, turns, global_ratio: global, session_ratio: session })
}

fn only(turns: u32) -> TurnCount {
    TurnCount { min: turns, max: turns }
}

/// Returns the number of turns; `None` if no flag gives it.
fn turn_count(flags: &SessionArgs) -> Result<Option<TurnCount>, String> {
    let (min, max) = (flags.multi_turn_min_turns, flags.multi_turn_max_turns);
    match (min, max, flags.multi_turn_num_turns) {
        (0, 0, Some(0)) => Err("--multi-turn-num-turns must be at least 1".into()),
        (0, 0, turns) => Ok(turns.map(only)),
        (min, max, _) if min >= 1 && min <= max => Ok(Some(TurnCount { min, max })),
        _ => Err(format!(
            "--multi-turn-min-turns {min} and --multi-turn-max-turns {max}: give both, the fewest (1 or more) not above \
             the most"
        )),
    }
}

impl SessionArgs {
    fn history_is_fixed(&self) -> bool {
        self.history == HistoryName::Fixed
    }
}
