//! The parsed command line of `run`, which the program or a measuring command has received.

use std::ffi::OsString;
use std::fmt::Display;

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Parser};
use serde_json::{Map, Value};

use super::session::RunSession;
use crate::cli::args::RunArgs;
use crate::cli::config::{self, FlagSet};
use crate::cli::exit::CliError;
use crate::cli::flag_spelling;
use crate::cli::interrupt::InterruptSignal;
use crate::cli::to_spec;
use crate::cli::vllm_compat;
use crate::model::run::Run;
use crate::model::run_spec::Spec;
use crate::runner::{Invocation, RecordDetail};

/// Flags of `run` that decide what happens with a single result.
const RESULT_FLAGS: [&str; 10] = [
    "save-result",
    "save-detailed",
    "save-records",
    "append-result",
    "result-dir",
    "result-filename",
    "plot-timeline",
    "plot-dataset-stats",
    "report",
    "json",
];

/// The flags of `run` without the program around them.
#[derive(Debug, Parser)]
#[command(name = "servegauge run", no_binary_name = true)]
struct RunParser {
    #[command(flatten)]
    args: RunArgs,
}

/// The parsed flags of `run`.
#[derive(Debug, Clone)]
pub(crate) struct RunCommandLine {
    /// All flags, with the defaults.
    pub args: Box<RunArgs>,
    /// The flags that were given, as a Run stores them: with secrets masked.
    pub settings: Map<String, Value>,
}

/// Applies the conventions of all flags to the command `run`.
///
/// The last of two values of a flag counts, as in vLLM's Python client, so that a script can append the flags that it
/// received to its own. A negative number is allowed wherever a value is expected.
pub(crate) fn with_conventions(run: Command) -> Command {
    let lenient = |arg: clap::Arg| {
        let takes_values = arg.get_action().takes_values();
        if takes_values { arg.allow_negative_numbers(true) } else { arg }
    };
    vllm_compat::annotate_help(run.args_override_self(true).mut_args(lenient))
}

/// Returns the flags of `run`, indexed by name.
pub(crate) fn run_flags() -> FlagSet {
    FlagSet::new(command())
}

fn command() -> Command {
    with_conventions(RunParser::command())
}

/// Refuses the flags of a ladder: the commands that take flags of `run` measure one load, or choose the loads.
fn refuse_ladder(args: &RunArgs) -> Result<(), String> {
    let flag = args.load.ladder_flag().or_else(|| args.ladder.until.first().map(|_| "--until"));
    match flag {
        Some(flag) => Err(format!(
            "{flag} makes a ladder, which only `servegauge run` measures: give one load here (`servegauge search` finds the \
             highest good one, `servegauge sweep` measures several)"
        )),
        None => Ok(()),
    }
}

/// Returns the words after `run`, if that is the first.
fn without_run(words: &[String]) -> &[String] {
    words.strip_prefix(&["run".to_owned()]).unwrap_or(words)
}

impl RunCommandLine {
    /// Parses the words of a run: flags, which `run` may precede. The error is a clause that fits into another
    /// sentence.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let line = Self::parse_with_ladder(words)?;
        refuse_ladder(&line.args)?;
        Ok(line)
    }

    /// Parses the words of a run that may be a ladder.
    pub(crate) fn parse_with_ladder(words: &[String]) -> Result<Self, String> {
        let words = without_run(words);
        let words: Vec<OsString> = flag_spelling::normalize_flags(words.iter().map(OsString::from)).collect();
        let typed = command().try_get_matches_from(&words).map_err(config::first_line)?;
        let preset = config::preset_words(&run_flags(), &typed)?;
        let matches = match preset.is_empty() {
            true => typed,
            false => {
                command().try_get_matches_from(preset.into_iter().chain(words)).map_err(config::first_line)?
            }
        };
        let parsed = RunParser::from_arg_matches(&matches).map_err(config::first_line)?;
        Self::new(Box::new(parsed.args), &matches)
    }

    /// Parses the words of a run, with the flags that the environment, `--config` and `--like` add.
    pub(crate) fn parse_with_layers(words: &[String]) -> Result<Self, String> {
        let words = without_run(words);
        let words: Vec<OsString> = flag_spelling::normalize_flags(words.iter().map(OsString::from)).collect();
        let typed = command().ignore_errors(true).try_get_matches_from(&words);
        let typed = typed.map_err(config::first_line)?;
        let added = config::added(&run_flags(), &typed)?.words;
        let all: Vec<String> =
            added.into_iter().chain(words).map(|word| word.to_string_lossy().into_owned()).collect();
        Self::parse(&all)
    }

    /// Wraps the flags that clap found. The error is a clause that fits into another sentence.
    pub(crate) fn new(args: Box<RunArgs>, matches: &ArgMatches) -> Result<Self, String> {
        match vllm_compat::find_unsupported(matches) {
            Some(reason) => Err(reason),
            None => Ok(Self { args, settings: config::effective_settings(&run_flags(), matches) }),
        }
    }

    /// Whether a flag was given.
    pub(crate) fn gives(&self, flag: &str) -> bool {
        self.settings.contains_key(flag)
    }

    /// Returns the first of these flags that was given.
    pub(crate) fn first_of<'f>(&self, flags: &[&'f str]) -> Option<&'f str> {
        flags.iter().copied().find(|flag| self.gives(flag))
    }

    /// Returns the first given flag that decides what happens with a result. A command that measures several runs
    /// decides that itself.
    pub(crate) fn first_result_flag(&self) -> Option<&'static str> {
        self.first_of(&RESULT_FLAGS)
    }

    /// Refuses a Parquet file of requests, which is that of a single run. The error is a clause that fits into another
    /// sentence.
    pub(crate) fn refuse_records_file(&self) -> Result<(), String> {
        match self.gives("save-records") {
            true => Err("--save-records is of one run: save the runs with --save-detailed, then \
                         `servegauge report FILE --save-records OUT.parquet` writes the requests of one"
                .to_owned()),
            false => Ok(()),
        }
    }

    /// Refuses to share runs with other clients, where a command cannot. The error is a clause that fits into another
    /// sentence.
    pub(crate) fn refuse_shards(&self) -> Result<(), String> {
        match self.shard_flag() {
            Some(flag) => Err(format!(
                "--{flag}: several clients send the runs of `run`, `search`, `gate` and `ab`, not of this command"
            )),
            None => Ok(()),
        }
    }

    /// Returns the flag that shares runs with other clients, if it was given.
    pub(crate) fn shard_flag(&self) -> Option<&'static str> {
        self.first_of(&["shard", "local-shards"])
    }

    /// Records a flag's value that was not given on the command line, to be stored with the Run.
    pub(crate) fn record(&mut self, flag: &str, value: impl Display) {
        self.settings.insert(flag.to_owned(), config::parse_plain_value(&value.to_string()));
    }

    /// Returns the same flags for the server at this URL.
    pub(crate) fn at(&self, base_url: &str) -> Self {
        let mut line = self.clone();
        line.args.target.base_url = Some(base_url.to_owned());
        line.record("base-url", base_url);
        line
    }

    /// Builds the Spec, as far as that is possible without asking a server.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        to_spec::selection(&self.args)?;
        to_spec::spec(&self.args)
    }

    /// Returns what each request must record for the Run that is saved.
    pub(crate) fn detail(&self) -> RecordDetail {
        if self.args.output.save_detailed { RecordDetail::ALL } else { RecordDetail::NONE }
    }

    /// Returns the invocation that a run with this seed stores.
    pub(crate) fn invocation(&self, command: Vec<String>, seed: u64) -> Invocation {
        let mut settings = self.settings.clone();
        settings.insert("seed".to_owned(), seed.into());
        Invocation { command, settings, record_log: None }
    }

    /// Measures one run of these flags with this seed. It prints only warnings and progress. The Run has its Records
    /// if the flags ask for them.
    pub(crate) fn measure(
        &self,
        seed: u64,
        command: Vec<String>,
        interrupts: &InterruptSignal,
    ) -> Result<Run, CliError> {
        let mut spec = self.spec().map_err(CliError::usage)?;
        spec.seed = seed;
        let session = RunSession::connect(&self.args, &mut spec, self.detail(), interrupts)?;
        let measured = session.runner().run(spec, &self.invocation(command, seed));
        session.close();
        let (mut run, records) = measured?;
        run.records = self.args.output.save_detailed.then(|| records.into_sample());
        Ok(run)
    }
}
