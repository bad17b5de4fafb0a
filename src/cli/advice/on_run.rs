//! Advice about a run's errors and warnings: names the flags of `run` that help.

use super::{by_message, on_admin_error, on_failure, on_setup_failure};
use crate::cli::exit::CliError;
use crate::runner::{EMPTY, Error, NoTokenizer, Note, ScrapeError, Warning};
use crate::server::metrics_text::PageOrigin;

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let message = on_error(&error);
        match error {
            Error::Interrupted => Self::interrupted(),
            Error::System(_)
            | Error::Client(_)
            | Error::Tokenizer(_)
            | Error::Dataset(_)
            | Error::Spool(_)
            | Error::NothingToMeasure
            | Error::UnsupportedRequest { .. }
            | Error::MetricsInterval
            | Error::RecordLogExists { .. }
            | Error::RecordLog { .. }
            | Error::RecordsNotCopied(_)
            | Error::NotOneRun { .. }
            | Error::EmptyRecordLog
            | Error::LimitNotSplit { .. }
            | Error::MetricsListen { .. } => Self::usage(message),
            Error::NotHandedOver { .. } => Self::invalid(message),
            Error::ModelNotNamed(_)
            | Error::NoModel { .. }
            | Error::NotReady { .. }
            | Error::WrongProtocol(_)
            | Error::Refused { .. }
            | Error::PrefixCache(_)
            | Error::Load(_)
            | Error::WrongSetup { .. } => Self::failed(message),
        }
    }
}

/// Describes an error and its remedy in one line.
fn on_error(error: &Error) -> String {
    match error {
        Error::UnsupportedRequest { .. } => format!("{error} (see `--backend` in --help)"),
        Error::ModelNotNamed(cause) => {
            let advice = on_admin_error(cause).unwrap_or_else(|| "name it with --model NAME".to_owned());
            format!("{error}; {advice}")
        }
        Error::WrongProtocol(cause) => format!("{cause}; {}", by_message(cause).unwrap_or_default()),
        Error::Refused { failure, .. } => format!("{error}; {}", on_failure(failure)),
        Error::WrongSetup { url, setup } => on_setup_failure(setup, url),
        Error::RecordLogExists { .. } => format!("--record-log: {error}"),
        Error::MetricsListen { .. } => format!("--metrics-listen: {error}"),
        other => other.to_string(),
    }
}

/// Describes a warning and its remedy.
pub(crate) fn on_warning(warning: &Warning) -> String {
    match warning {
        Warning::InsecureTls => "--insecure: TLS certificates are not checked".to_owned(),
        Warning::EstimatedLengths { no_local, no_remote } => format!(
            "prompt lengths are ESTIMATED from the text; --tokenizer PATH gives true ones\n  \
             no tokenizer of the model: {}\n  no tokenizer of the server: {no_remote}",
            on_no_tokenizer(no_local)
        ),
        Warning::NoChatTemplate { tokenizer } => format!(
            "no chat template beside tokenizer {tokenizer}: prompts are sent unchanged; --skip-chat-template confirms \
             that"
        ),
        Warning::WarmupFailed { failed, sent } => format!("{failed} of {sent} warm-up requests failed"),
        Warning::MetricsNotRead { url, error } => format!("{url}: {}", on_scrape_error(error)),
        Warning::EmptyMetrics => EMPTY.to_owned(),
        Warning::RecordLog { path, cause } => {
            format!("cannot write the record log {path}: {cause}; the run continues without it")
        }
        Warning::PushFailed(problem) => format!("--push-metrics: {problem}"),
        Warning::Dataset(text)
        | Warning::Profiler(text)
        | Warning::UnreadOutput(text)
        | Warning::Server(text)
        | Warning::Shards(text) => text.clone(),
    }
}

fn on_no_tokenizer(why: &NoTokenizer) -> String {
    match why {
        NoTokenizer::Skipped => "--skip-tokenizer-init".to_owned(),
        NoTokenizer::NoModelName => "the model's name is unknown; set it with --model".to_owned(),
        NoTokenizer::NotAName(name) => format!("`{name}` is neither a path nor a hub id"),
        NoTokenizer::Unreadable(error) => error.to_string(),
    }
}

/// Describes a note and its remedy.
pub(crate) fn on_note(note: &Note) -> String {
    match note {
        Note::MetricsUnavailable(error) => {
            format!("note: the server's metrics are not read: {error}; --no-server-metrics does not request them")
        }
        Note::AsksWhetherTokensAreCounted => {
            "many long answers at once: asking for one token first, to see whether the server counts tokens"
                .to_owned()
        }
        Note::ProfileIsWritten => {
            "the server is writing its profile, which may take minutes; Ctrl-C stops waiting, and the server continues".to_owned()
        }
        Note::CacheNotReset(why) => format!(
            "note: the server does not reset its prefix cache between the runs ({why}); their prompts differ anyway"
        ),
        Note::PromptsInCommon { runs, requests, candidates } => format!(
            "note: {runs} runs of {requests} prompts from a dataset of {candidates} have prompts in common: \
             --unique-prompts begins each prompt with unique words"
        ),
        Note::PromptsMayBeCached { looked_up } => format!(
            "note: the server has looked up {looked_up} prompt tokens in its prefix cache since its start; if this draw was among \
             them, it knows these prompts: --unique-prompts, or --reset-prefix-cache (vLLM: VLLM_SERVER_DEV_MODE=1)"
        ),
        Note::MetricsServed { url } => format!("the client's own metrics: {url}"),
        Note::ServerStarting { name, elapsed, line } => {
            let line = line.as_ref().map(|line| format!(": {line}")).unwrap_or_default();
            format!("  {name} is starting, {} s{line}", elapsed.as_secs())
        }
    }
}

/// Explains why a metrics page cannot be read, and names the flag that helps.
pub(crate) fn on_scrape_error(error: &ScrapeError) -> String {
    match error {
        ScrapeError::NoKey => {
            "HTTP 401: the server needs an API key: set OPENAI_API_KEY or --header".to_owned()
        }
        ScrapeError::Unknown(_, PageOrigin::Router) => format!("{error} (for a run, with --metrics-url)"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::AdminError;
    use crate::dataset::DatasetError;
    use crate::loadgen::LoadError;
    use crate::model::record::{Failure, FailureClass};
    use crate::tokenizer::{TokenizeError, TokenizerError};

    const PATH: &str = "a.jsonl";

    fn refused() -> AdminError {
        AdminError::Refused { url: "http://a/b".into(), status: 404, body: "Not Found".into() }
    }

    #[test]
    fn an_error_names_a_setting_and_the_command_line_its_flag() {
        let cases: [(Error, &str); 17] = [
            (Error::NothingToMeasure, "--num-warmups"),
            (Error::UnsupportedRequest { backend: "tgi", what: "chat messages" }, "--backend tgi cannot"),
            (Error::NoModel { url: "http://a/v1/models".into() }, "--model"),
            (Error::ModelNotNamed(refused()), "--model"),
            (Error::PrefixCache(refused()), "--reset-prefix-cache: "),
            (Error::MetricsInterval, "--metrics-interval must"),
            (Error::RecordLogExists { path: PATH.into() }, "--record-log: "),
            (
                Error::Load(LoadError::Preconnect(Failure::new(FailureClass::Refused, "a:1: refused"))),
                "--preconnect: ",
            ),
            (Error::Tokenizer(TokenizerError::BadName { name: "a b".into() }), "--tokenizer"),
            (TokenizerError::OtherFormat { path: PATH.into(), what: "weights" }.into(), "--tokenizer"),
            (TokenizerError::Config { path: PATH.into(), cause: "x".into() }.into(), "--skip-chat-template"),
            (
                DatasetError::from(TokenizeError::Server { origin: "http://a".into(), cause: "x".into() })
                    .into(),
                "--tokenizer",
            ),
            (
                DatasetError::NotFound { path: PATH.into(), named_by: "`dataset.path`" }.into(),
                "--dataset-path",
            ),
            (DatasetError::NoWords("a".into()).into(), "--tokenizer"),
            (DatasetError::Unsalted("recordings").into(), "--unique-prompts"),
            (
                DatasetError::Hub { id: "a/b".into(), url: "http://a".into(), cause: "x".into() }.into(),
                "--dataset-path",
            ),
            (
                DatasetError::Template { origin: PATH.into(), cause: "x".into() }.into(),
                "--skip-chat-template",
            ),
        ];
        for (error, flag) in cases {
            let text = error.to_string();
            assert!(!text.contains("--"), "{text}");
            let printed = CliError::from(error);
            assert!(printed.message().contains(flag), "{}", printed.message());
        }
    }
}
