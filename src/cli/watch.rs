//! `servebench watch`: how a server is, without load.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Halt};
use super::run::{Pair, metrics_url, pair, seconds};
use crate::core::server::State;
use crate::core::spec::{Backend, Connection, Target};
use crate::core::units::Secret;
use crate::drive::client::control::Control;
use crate::report::watch;
use crate::server::health::conditions;
use crate::server::page::Page;
use crate::server::signals::Reading;

/// Look at a server.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 fine, 1 an alert or no answer, 2 usage.")]
pub struct WatchArgs {
    /// The server, or its /metrics
    #[arg(value_name = "URL", default_value = "http://localhost:8000", value_parser = metrics_url)]
    url: String,
    /// Look once and end
    #[arg(long, required = true)]
    once: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The time between the two readings that rates are from (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Extra request headers
    #[arg(long, value_name = "K=V", num_args = 1.., value_parser = pair)]
    header: Vec<Pair>,
    /// Accept any TLS certificate
    #[arg(long)]
    insecure: bool,
}

/// Runs the command.
pub fn execute(args: &WatchArgs) -> Result<Exit, Halt> {
    if args.interval.is_zero() {
        return Err(Halt::usage("--interval must be above 0"));
    }
    let control = Control::new(&target(args)).map_err(Halt::usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    let read = || runtime.block_on(reading(&control, &args.url));
    let (before, start) = (read()?, std::time::Instant::now());
    std::thread::sleep(args.interval);
    let conditions = conditions(&before, &read()?, start.elapsed());
    let mut out = std::io::stdout().lock();
    let written = match args.json {
        true => writeln!(out, "{}", watch::json(&conditions)),
        false => watch::render(&conditions, &mut out),
    };
    written.map_err(Halt::failed)?;
    let alert = conditions.iter().any(|condition| condition.state == State::Alert);
    Ok(if alert { Exit::Failed } else { Exit::Fine })
}

async fn reading(control: &Control, url: &str) -> Result<Reading, Halt> {
    let page = control.metrics().await;
    let page = page.ok_or_else(|| Halt::failed(format!("{url}: no metrics; is the server running?")))?;
    let reading = Reading::of(&Page::parse(&page));
    match reading.is_empty() {
        true => Err(Halt::failed(format!(
            "{url}: none of the metrics that vLLM, SGLang, TGI, llama.cpp or TensorRT-LLM have"
        ))),
        false => Ok(reading),
    }
}

fn target(args: &WatchArgs) -> Target {
    let header = |pair: &Pair| (pair.key.clone(), Secret::new(pair.value.clone()));
    Target {
        backend: Backend::Openai,
        base_url: args.url.trim_end_matches("/metrics").to_owned(),
        endpoint: "/metrics".into(),
        model: String::new(),
        served_model_name: None,
        headers: args.header.iter().map(header).collect(),
        request_id_prefix: None,
        insecure: args.insecure,
        connection: Connection::default(),
        timeout: Duration::from_secs(30),
    }
}
