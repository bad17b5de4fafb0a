//! Flags of vLLM's clients that are not the same here, each with its reason.
//!
//! The list is short on purpose: every other flag of both clients is here under its names, with its default and its
//! meaning, and `tests/flags.rs` holds the program to that.

use clap::{Arg, ArgMatches, Command};

/// A flag that is not vLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Its name, without dashes.
    pub flag: &'static str,
    /// Whether it works at all.
    pub works: bool,
    /// Why it differs, and what to do instead; its `--help` ends with this.
    pub reason: &'static str,
}

/// The heading of the flags that do not work.
const HEADING: &str = "Flags of vLLM that do not work here";

/// All of them.
pub const DIFFERENCES: [Difference; 9] = [
    Difference {
        flag: "endpoint",
        works: true,
        reason: "vLLM's Python client takes /v1/completions whatever the backend, and then refuses to talk to chats",
    },
    Difference {
        flag: "percentile-metrics",
        works: true,
        reason: "vLLM's Python client leaves out e2el, which its Rust client shows",
    },
    Difference {
        flag: "goodput",
        works: true,
        reason: "vLLM forgives the time that a request waited for its client; --goodput-from sent does so too",
    },
    Difference {
        flag: "num-runs",
        works: false,
        reason: "it repeats the same seed, and so measures the prefix cache: run the command once for each of several \
                 --seed, with --save-result",
    },
    Difference {
        flag: "compare",
        works: false,
        reason: "it calls any change better or worse, however small: hold the 95 % intervals of two reports against \
                 each other, a change within them may be chance",
    },
    Difference {
        flag: "sweep-max-concurrency",
        works: false,
        reason: "its points find each other's prompts cached: run the command once for each --max-concurrency, with \
                 another --seed or --reset-prefix-cache",
    },
    Difference {
        flag: "sweep-request-rate",
        works: false,
        reason: "its points find each other's prompts cached: run the command once for each --request-rate, with \
                 another --seed or --reset-prefix-cache",
    },
    Difference {
        flag: "sweep-num-prompts-factor",
        works: false,
        reason: "there is no --sweep-max-concurrency; --duration gives every load the same time",
    },
    Difference {
        flag: "sweep-summary-percentiles",
        works: false,
        reason: "there are no sweeps here; --metric-percentiles names the percentiles of every run",
    },
];

/// The command with the differences in its help. A flag that does not work is known all the same, so that whoever gives it
/// is told the reason.
pub fn told(mut command: Command) -> Command {
    for Difference { flag, works, reason } in DIFFERENCES {
        command = match works {
            true => command.mut_arg(flag.replace('-', "_"), |arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                arg.help(format!("{help}. Unlike vLLM: {reason}"))
            }),
            false => command.arg(
                Arg::new(flag)
                    .long(flag)
                    .num_args(0..)
                    .value_name("VALUE")
                    .help(format!("Refused: {reason}"))
                    .help_heading(HEADING),
            ),
        };
    }
    command
}

/// The first flag that was given and does not work, with the reason.
pub fn refused(matches: &ArgMatches) -> Option<String> {
    let absent = DIFFERENCES.iter().filter(|difference| !difference.works);
    let mut given = absent.filter(|difference| matches.contains_id(difference.flag));
    given.next().map(|Difference { flag, reason, .. }| format!("--{flag} does not work here: {reason}"))
}
