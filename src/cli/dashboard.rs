//! `servebench dashboard`: writes what Prometheus and Grafana need to show a server.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit::{Exit, Halt};
use super::{stdout, target};
use crate::drive::client::control::Control;
use crate::report::dashboard::{self, Names};
use crate::server::signals::NameSet;

/// Write a dashboard.
#[derive(Debug, Args)]
pub struct DashboardArgs {
    /// The folder to write prometheus.yml, alerts.yml and grafana.json into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Whose names of the metrics [default: those of the server's version, asked from --base-url]
    #[arg(long = "for", value_enum, value_name = "VERSION")]
    version: Option<Version>,
    /// The server that Prometheus is to scrape
    #[arg(long, value_name = "URL", default_value = "http://localhost:8000")]
    base_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Version {
    /// The V0 engine, v0.4.3 to v0.7
    #[value(name = "vllm-0.6")]
    Vllm06,
    /// The V1 engine from v0.11 on
    #[value(name = "vllm-1")]
    Vllm1,
}

/// Runs the command.
pub fn execute(args: &DashboardArgs) -> Result<Exit, Halt> {
    let address = address(&args.base_url)?;
    let names = match args.version {
        Some(Version::Vllm06) => NameSet::Vllm06,
        Some(Version::Vllm1) => NameSet::Vllm1,
        None => asked(&args.base_url)?,
    };
    let unwritable = |error| Halt::usage(format!("cannot write into --out {}: {error}", args.out.display()));
    fs::create_dir_all(&args.out).map_err(unwritable)?;
    let names = Names { label: names.label(), of: names.names() };
    let mut written = Vec::new();
    for page in dashboard::pages(&names, &address) {
        let path = args.out.join(page.name);
        fs::write(&path, page.text).map_err(unwritable)?;
        written.push(path);
    }
    stdout::print(|out| written.iter().try_for_each(|path| writeln!(out, "{}", path.display())))?;
    Ok(Exit::Fine)
}

/// Host and port, as Prometheus wants them.
fn address(url: &str) -> Result<String, Halt> {
    let wrong =
        |why: &str| Halt::usage(format!("--base-url {url}: {why}; write it as http://localhost:8000"));
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    match (parsed.host_str(), parsed.port_or_known_default()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(wrong("it has no host")),
    }
}

fn asked(url: &str) -> Result<NameSet, Halt> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Halt::failed)?;
    let control = Control::new(&target::of_url(url)).map_err(Halt::usage)?;
    let version = runtime.block_on(control.version()).ok_or_else(|| {
        Halt::failed(format!(
            "{url}/version does not answer; --for vllm-1 or --for vllm-0.6 says whose names to use"
        ))
    })?;
    NameSet::of_version(&version).ok_or_else(|| {
        Halt::failed(format!(
            "{url} is version {version}, whose names depend on its engine; --for vllm-1 or --for vllm-0.6 chooses"
        ))
    })
}
