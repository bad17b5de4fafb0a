//! `servegauge quick`: looks for a server, measures it for a minute, and answers in sentences.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tokio::runtime::Builder;

use super::run::RunCommandLine;
use super::search::{self, SearchArgs};
use crate::cli::args::{JsonArgs, values};
use crate::cli::exit::{CliError, ExitReason, print_stderr};
use crate::cli::interrupt::InterruptSignal;
use crate::cli::setting_flags::with_flags;
use crate::cli::stdout::print;
use crate::cli::target;
use crate::client::admin::{AdminClient, AdminError};
use crate::model::rule::MetricRule;
use crate::model::run_spec::Target;
use crate::model::secrets;
use crate::report::quick::QuickReport;

/// The usual ports of servers on one machine, in the order in which they are tried.
const USUAL_PORTS: [(u16, &str); 7] = [
    (8000, "vLLM"),
    (30000, "SGLang"),
    (8080, "llama.cpp, TGI"),
    (11434, "Ollama"),
    (1234, "LM Studio"),
    (4000, "LiteLLM"),
    (8001, "Triton"),
];

/// The time that a server on this machine has for its list of models.
const PATIENCE: Duration = Duration::from_secs(2);

/// A user's requests: a short question, and an answer of a few sentences.
const WORKLOAD: &str = "--dataset-name random --random-input-len 256 --random-output-len 64";

/// What a user of [`WORKLOAD`] does.
const USER: &str = "Each user asks 256 tokens, gets an answer of 64, and asks again at once.";

/// The search: few, short trials. Its interval says what they are worth. A start at 16 leaves time to reach 256 users.
const SEARCH: &str = "--over concurrency --start 16 --max 256 --trial 5s --precision 20%";

/// Look for a server, measure it for a minute, and say how many users it serves
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 success, 1 no server or no answer, 2 usage or I/O error, 3 a measurement is INVALID, 130 interrupted."
)]
pub(crate) struct QuickArgs {
    /// The server [default: the first that answers on a usual port of this machine]
    ///
    /// The ports are 8000 (vLLM), 30000 (SGLang), 8080 (llama.cpp, TGI), 11434 (Ollama), 1234 (LM Studio), 4000
    /// (LiteLLM) and 8001 (Triton). No other machine is asked.
    #[arg(value_name = "URL", conflicts_with = "sim")]
    url: Option<String>,
    /// Measure the embedded simulator, to try the command without a server
    #[arg(long)]
    sim: bool,
    /// Service levels, which must all be met
    #[arg(long, value_name = "RULE", num_args = 1.., default_value = "ttft.p95<500ms")]
    slo: Vec<MetricRule>,
    /// Time limit of all measurements (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = values::seconds)]
    time: Duration,
    #[command(flatten)]
    json: JsonArgs,
    /// After `--`: more flags of `run`, such as --model or another workload
    #[arg(last = true, value_name = "run RUN'S FLAGS")]
    run: Vec<String>,
}

/// The server to measure.
struct QuickTarget {
    /// Its name in sentences.
    name: String,
    /// Its flag of `run`.
    flag: String,
}

/// Runs the command.
pub(crate) fn execute(args: &QuickArgs, interrupts: &InterruptSignal) -> Result<ExitReason, CliError> {
    let server = args.target()?;
    let line = args.run_line(&server)?;
    let question = args.search_args()?;
    search::check(&question, line.clone())?;
    let found = search::find(&question, line, interrupts)?;
    let user = if args.run.is_empty() {
        USER
    } else {
        "Each user sends the next request as soon as the last is answered."
    };
    let report = QuickReport { server: &server.name, user, search: &found.search, answer: &found.answer };
    if let Some(why) = found.why_nothing() {
        return Err(CliError::failed(format!("{}: {why}", server.name)));
    }
    let answer = report.answer();
    let next = args.next_commands(&server, answer.users);
    print(|out| match args.json.is_wanted() {
        true => writeln!(out, "{}", with_flags(&format!("{:#}", report.json(&next)))),
        false => answer.render(&next, out),
    })?;
    Ok(found.exit())
}

impl QuickArgs {
    fn target(&self) -> Result<QuickTarget, CliError> {
        let at = |url: &str| {
            let name = secrets::mask_url(url);
            QuickTarget { flag: format!("--base-url {name}"), name }
        };
        match &self.url {
            _ if self.sim => Ok(QuickTarget { name: "The simulator".into(), flag: "--sim".into() }),
            Some(url) => Ok(at(url)),
            None => find_server().map(|url| at(&url)),
        }
    }

    /// The flags of `run` that describe the requests.
    fn workload(&self) -> String {
        let given = self.run.strip_prefix(&["run".to_owned()]).unwrap_or(&self.run);
        let given = secrets::mask_args(given);
        let given: Vec<_> = given
            .iter()
            .map(|word| shlex::try_quote(word).map_or_else(|_| word.clone(), Into::into))
            .collect();
        [WORKLOAD.to_owned()].into_iter().chain(given).collect::<Vec<String>>().join(" ")
    }

    /// The flags of `run`: ours, then the user's, which count where both set one.
    fn run_line(&self, server: &QuickTarget) -> Result<RunCommandLine, CliError> {
        let target = match &self.url {
            Some(url) => vec!["--base-url".to_owned(), url.clone()],
            None => server.flag.split(' ').map(ToOwned::to_owned).collect(),
        };
        let ours = target.into_iter().chain(WORKLOAD.split(' ').map(ToOwned::to_owned));
        let given = self.run.strip_prefix(&["run".to_owned()]).unwrap_or(&self.run);
        let words: Vec<String> = ours.chain(given.iter().cloned()).collect();
        RunCommandLine::parse(&words)
            .map_err(|why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`")))
    }

    /// The commands to type next. Without a known number of users, they take one.
    fn next_commands(&self, server: &QuickTarget, users: Option<u64>) -> Vec<String> {
        let run = format!("run {} {}", server.flag, self.workload());
        let load = format!("--max-concurrency {}", users.unwrap_or(1));
        let slo: Vec<String> = self.slo.iter().map(|rule| format!("'{rule}'")).collect();
        vec![
            format!("servegauge {run} {load} --duration 60s --html report.html"),
            format!("servegauge search --over concurrency --slo {} -- {run}", slo.join(" ")),
            format!("servegauge gate init --out baseline --rules gate.toml -- {run} {load} --duration 60s"),
        ]
    }

    fn search_args(&self) -> Result<SearchArgs, CliError> {
        let time = format!("{}s", self.time.as_secs_f64());
        let words = SEARCH.split(' ').map(ToOwned::to_owned).chain(["--time".to_owned(), time]);
        let rules = self.slo.iter().flat_map(|rule| ["--slo".to_owned(), rule.to_string()]);
        let words: Vec<String> = words.chain(rules).collect();
        SearchArgs::parse(&words).map(|(args, _)| args).map_err(CliError::usage)
    }
}

/// A server that answers on a usual port of this machine.
#[derive(Debug, PartialEq, Eq)]
struct FoundServer {
    url: String,
    /// The engine whose usual port it is.
    engine: &'static str,
    /// The first model that it lists.
    model: String,
}

/// Returns the URL of the first server of this machine that lists models on a usual port.
fn find_server() -> Result<String, CliError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    let mut found = runtime.block_on(ask_ports(&USUAL_PORTS)).into_iter();
    let Some(FoundServer { url, engine, model }) = found.next() else {
        let ports: Vec<String> = USUAL_PORTS.iter().map(|(port, _)| port.to_string()).collect();
        return Err(CliError::failed(format!(
            "no server answers on this machine (ports {}): give its URL, `servegauge quick URL`, or try it without a server: \
             `servegauge quick --sim`",
            ports.join(", ")
        )));
    };
    print_stderr(format_args!("found {url} (the usual port of {engine}), model {model}"));
    for FoundServer { url: other, .. } in found {
        print_stderr(format_args!("note: {other} answers too; to measure it: servegauge quick {other}"));
    }
    Ok(url)
}

/// Asks all ports of this machine at once; those that answer are in the given order.
async fn ask_ports(ports: &[(u16, &'static str)]) -> Vec<FoundServer> {
    let asked = ports.iter().map(|&(port, engine)| async move {
        let url = format!("http://127.0.0.1:{port}");
        let model = first_model(&url).await?;
        Some(FoundServer { url, engine, model })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The first model that a server lists; `None` if it does not answer as a server of models does.
async fn first_model(url: &str) -> Option<String> {
    let target = Target { timeout: PATIENCE, ..target::of_url(url) };
    match AdminClient::new(&target).ok()?.models().await {
        Ok(models) => models.into_iter().next().map(|model| model.id),
        Err(AdminError::Refused { status: 401 | 403, .. }) => Some("unknown (it asks for a key)".to_owned()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::embedded_sim::EmbeddedSim;

    #[test]
    fn a_server_on_one_of_the_ports_is_found_and_named() {
        let simulator = EmbeddedSim::with_bundled_tokenizer().unwrap();
        let url = simulator.base_url();
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(ask_ports(&[(1, "nothing"), (port, "vLLM")]));
        let model = found[0].model.clone();
        assert_eq!(found, [FoundServer { url, engine: "vLLM", model: model.clone() }]);
        assert!(!model.is_empty());
    }

    #[test]
    fn the_flags_of_the_search_and_of_the_run_are_flags() {
        let args = QuickArgs {
            url: Some("http://127.0.0.1:1".into()),
            sim: false,
            slo: vec!["ttft.p95<1s".parse().unwrap(), "failure_rate<1%".parse().unwrap()],
            time: Duration::from_secs(30),
            json: JsonArgs::default(),
            run: vec!["run".into(), "--random-input-len".into(), "8".into()],
        };
        let question = args.search_args().unwrap().question().unwrap();
        assert_eq!((question.time.as_secs(), question.criteria.len()), (30, 2));
        let server = args.target().unwrap();
        let line = args.run_line(&server).unwrap();
        assert_eq!(line.args.target.base_url.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(line.settings["random-input-len"], 8, "the last value counts");
        assert!(args.workload().ends_with("--random-output-len 64 --random-input-len 8"));
    }
}
