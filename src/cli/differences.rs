//! Flags of vLLM's clients that are not the same here, each with its reason.
//!
//! The list is short on purpose: every other flag of both clients is here under its names, with its default and its
//! meaning, and `tests/flags.rs` holds the program to that.

use clap::{Arg, ArgMatches, Command};

/// A flag that is not vLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Its name, without dashes; several names where one reason is behind them.
    pub flags: &'static [&'static str],
    /// Whether it works at all.
    pub works: bool,
    /// Why it differs, and what to do instead; its `--help` ends with this.
    pub reason: &'static str,
}

/// The heading of the flags that do not work.
const HEADING: &str = "Flags of vLLM that do not work here";

/// All of them.
pub const DIFFERENCES: [Difference; 10] = [
    Difference {
        flags: &["endpoint"],
        works: true,
        reason: "vLLM's Python client takes /v1/completions whatever the backend, and then refuses to talk to chats",
    },
    Difference {
        flags: &["percentile-metrics"],
        works: true,
        reason: "vLLM's Python client leaves out e2el, which its Rust client shows",
    },
    Difference {
        flags: &["goodput"],
        works: true,
        reason: "vLLM forgives the time that a request waited for its client; --goodput-from sent does so too",
    },
    Difference {
        flags: &["num-runs"],
        works: false,
        reason: "it repeats the same seed, and so measures the prefix cache: run the command once for each of several \
                 --seed, with --save-result",
    },
    Difference {
        flags: &["compare"],
        works: false,
        reason: "it calls any change better or worse, however small: `servebench compare` of two saved results tells a \
                 difference from chance",
    },
    Difference {
        flags: &[
            "sweep-max-concurrency",
            "sweep-request-rate",
            "sweep-num-prompts-factor",
            "sweep-summary-percentiles",
        ],
        works: false,
        reason: "a sweep's points find each other's prompts cached: run the command once for each load, with another \
                 --seed or --reset-prefix-cache; --duration gives every load the same time",
    },
    Difference {
        flags: &["random-cache-hit-fraction", "random-cache-ratio"],
        works: false,
        reason: "only vLLM's Rust client has it: a --workload of two random classes, weighted by the fraction, of which one has a \
                 random-prefix-len, is the same mix, and has a row for each in the report",
    },
    Difference {
        flags: &["random-mm-bucket-config"],
        works: true,
        reason: "vLLM's Rust client leaves out the bucket of videos, which nothing is drawn from",
    },
    Difference {
        flags: &[
            "bfcl-categories",
            "blazedit-min-distance",
            "blazedit-max-distance",
            "asr-min-audio-len-sec",
            "asr-max-audio-len-sec",
        ],
        works: false,
        reason: "vLLM knows a few datasets of the hub by name and filters their rows; --dataset-name hf reads any dataset by its \
                 columns: give it a file of the rows that you want",
    },
    Difference {
        flags: &["timed-trace-chunk-hash-size"],
        works: true,
        reason: "vLLM takes 16 whatever the trace, and sends prompts that are too short and share too little",
    },
];

/// The command with the differences in its help. A flag that does not work is known all the same, so that whoever gives it
/// is told the reason.
pub fn told(mut command: Command) -> Command {
    for Difference { flags, works, reason } in DIFFERENCES {
        for flag in flags {
            command = match works {
                true => command.mut_arg(flag.replace('-', "_"), |arg| {
                    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                    arg.help(format!("{help}. Unlike vLLM: {reason}"))
                }),
                false => command.arg(absent(flag, reason)),
            };
        }
    }
    command
}

fn absent(flag: &'static str, reason: &str) -> Arg {
    let help = format!("Refused: {reason}");
    Arg::new(flag).long(flag).num_args(0..).value_name("VALUE").help(help).help_heading(HEADING)
}

/// The first flag that was given and does not work, with the reason.
pub fn refused(matches: &ArgMatches) -> Option<String> {
    let absent = DIFFERENCES.iter().filter(|difference| !difference.works);
    let mut flags =
        absent.flat_map(|Difference { flags, reason, .. }| flags.iter().map(move |flag| (flag, reason)));
    let (flag, reason) = flags.find(|(flag, _)| matches.contains_id(flag))?;
    Some(format!("--{flag} does not work here: {reason}"))
}
