//! Flags of vLLM's clients that differ here, each with its reason.
//!
//! The list is short on purpose. Every other flag of both clients exists here under its names, with its default and
//! its meaning, and `tests/it/flags.rs` checks this.

use clap::{Arg, ArgMatches, Command};

/// A flag that differs from vLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagDifference {
    /// The flag's name without dashes; several names if they share one reason.
    pub flags: &'static [&'static str],
    /// Whether the flag works at all.
    pub works: bool,
    /// Why the flag differs, and what to do instead. The flag's `--help` ends with this.
    pub reason: &'static str,
}

/// The help heading of the flags that do not work.
const UNSUPPORTED_HEADING: &str = "Flags of vLLM that do not work here";

/// All differences.
pub const FLAG_DIFFERENCES: [FlagDifference; 9] = [
    FlagDifference {
        flags: &["endpoint"],
        works: true,
        reason: "vLLM's Python client uses /v1/completions for every backend, and then rejects chat backends",
    },
    FlagDifference {
        flags: &["percentile-metrics"],
        works: true,
        reason: "vLLM's Python client omits e2el, which its Rust client shows",
    },
    FlagDifference {
        flags: &["goodput"],
        works: true,
        reason: "vLLM excludes the time that a request waited in the client; --goodput-from sent does too",
    },
    FlagDifference {
        flags: &["request-id-prefix"],
        works: true,
        reason: "vLLM's own prefix is rejected by servers that require a UUID (llama-cpp-python)",
    },
    FlagDifference {
        flags: &["num-runs", "compare"],
        works: false,
        reason: "--num-runs repeats one seed, so later runs hit the prefix cache, and --compare has no significance test; use \
                 --repeats, which changes the seed and resets the cache, and `servegauge compare`",
    },
    FlagDifference {
        flags: &["random-cache-hit-fraction", "random-cache-ratio"],
        works: false,
        reason: "only vLLM's Rust client has it; a --workload of two random classes, weighted by the fraction, one with a \
                 random-prefix-len, is the same mix, and the report has a row for each class",
    },
    FlagDifference {
        flags: &["random-mm-bucket-config"],
        works: true,
        reason: "vLLM's Rust client omits the bucket of videos, from which nothing is drawn",
    },
    FlagDifference {
        flags: &[
            "bfcl-categories",
            "blazedit-min-distance",
            "blazedit-max-distance",
            "asr-min-audio-len-sec",
            "asr-max-audio-len-sec",
        ],
        works: false,
        reason: "vLLM filters the rows of a few hub datasets that it knows by name; --dataset-name hf reads any dataset by its \
                 columns: give it a file of the rows that you want",
    },
    FlagDifference {
        flags: &["timed-trace-chunk-hash-size"],
        works: true,
        reason: "vLLM uses 16 for every trace, so its prompts are too short and share too little",
    },
];

/// Adds the differences to the command's help. A flag that does not work is still parsed, so that the error can give
/// the reason.
pub(crate) fn annotate_help(mut command: Command) -> Command {
    for FlagDifference { flags, works, reason } in FLAG_DIFFERENCES {
        for flag in flags {
            command = match works {
                true => command.mut_arg(flag.replace('-', "_"), |arg| {
                    let help = arg.get_long_help().or(arg.get_help());
                    let help = help.map(ToString::to_string).unwrap_or_default();
                    arg.long_help(format!("{}. Unlike vLLM: {reason}", help.trim_end_matches('.')))
                }),
                false => command.arg(absent_flag(flag, reason)),
            };
        }
    }
    command
}

fn absent_flag(flag: &'static str, reason: &str) -> Arg {
    let help = format!("Not supported: {reason}");
    Arg::new(flag).long(flag).num_args(0..).value_name("VALUE").help(help).help_heading(UNSUPPORTED_HEADING)
}

/// Returns the first given flag that does not work, with the reason.
pub(crate) fn find_unsupported(matches: &ArgMatches) -> Option<String> {
    let absent = FLAG_DIFFERENCES.iter().filter(|difference| !difference.works);
    let mut flags =
        absent.flat_map(|FlagDifference { flags, reason, .. }| flags.iter().map(move |flag| (flag, reason)));
    let (flag, reason) = flags.find(|(flag, _)| matches.contains_id(flag))?;
    Some(format!("--{flag} does not work here: {reason}"))
}
