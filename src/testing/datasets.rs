//! Creates datasets as Specs describe them.

use std::path::PathBuf;

use crate::model::run_spec::{RandomLengths, Trace, TraceColumns, TraceKind};

/// Random prompts and answers of exactly these lengths.
pub(crate) fn random(input_len: u32, output_len: u32) -> RandomLengths {
    RandomLengths {
        input_len,
        output_len,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    }
}

/// A trace with only the columns that files of its kind have: times and lengths.
pub(crate) fn trace(kind: TraceKind, path: impl Into<PathBuf>) -> Trace {
    let names = match kind {
        TraceKind::Azure => ["TIMESTAMP", "ContextTokens", "GeneratedTokens"],
        TraceKind::Burstgpt => ["Timestamp", "Request tokens", "Response tokens"],
        TraceKind::TimedTrace | TraceKind::Trace => ["timestamp", "input_length", "output_length"],
    };
    let [timestamp, input, output] = names.map(str::to_owned);
    Trace {
        kind,
        path: path.into(),
        columns: TraceColumns {
            timestamp,
            input,
            output,
            hashes: None,
            session: None,
            duration: None,
            prefix: None,
        },
        unit_s: 1.0,
        block_tokens: None,
        timed: true,
        speed: 1.0,
        window: None,
        token_ids: false,
        whole_turns: false,
        lengths: None,
    }
}
