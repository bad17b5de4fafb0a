//! `servegauge dashboard`: writes what Prometheus and Grafana need to show a server.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::exit::{CliError, ExitReason};
use crate::cli::setting_flags::with_flags;
use crate::cli::{stdout, target};
use crate::client::admin::AdminClient;
use crate::model::secrets;
use crate::report::dashboard::{self, MetricNames};
use crate::server::signals::VersionNames;

/// Write a dashboard.
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// Folder for prometheus.yml, alerts.yml and grafana.json
    #[arg(long, alias = "output", value_name = "DIR")]
    out: PathBuf,
    /// Metric names of this version [default: the version that --base-url reports]
    #[arg(long = "for", value_enum, value_name = "VERSION")]
    version: Option<DashboardVersion>,
    /// The server that Prometheus scrapes
    #[arg(long, alias = "url", value_name = "URL", default_value = "http://localhost:8000")]
    base_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DashboardVersion {
    /// The V0 engine, v0.4.3 to v0.7
    #[value(name = "vllm-0.6")]
    Vllm06,
    /// The V1 engine from v0.11 on
    #[value(name = "vllm-1")]
    Vllm1,
}

/// Runs the command.
pub(crate) fn execute(args: &DashboardArgs) -> Result<ExitReason, CliError> {
    let address = host_and_port(&args.base_url)?;
    let names = match args.version {
        Some(DashboardVersion::Vllm06) => VersionNames::Vllm06,
        Some(DashboardVersion::Vllm1) => VersionNames::Vllm1,
        None => detect_names(&args.base_url)?,
    };
    let unwritable =
        |error| CliError::usage(format!("cannot write into --out {}: {error}", args.out.display()));
    fs::create_dir_all(&args.out).map_err(unwritable)?;
    let names = MetricNames { label: names.label(), of: names.names() };
    let mut written = Vec::new();
    for page in dashboard::dashboard_files(&names, &address) {
        let path = args.out.join(page.name);
        fs::write(&path, with_flags(&page.text)).map_err(unwritable)?;
        written.push(path);
    }
    stdout::print(|out| written.iter().try_for_each(|path| writeln!(out, "{}", path.display())))?;
    Ok(ExitReason::Success)
}

/// Returns host and port in the form that Prometheus expects.
fn host_and_port(url: &str) -> Result<String, CliError> {
    let wrong = |why: &str| {
        CliError::usage(format!(
            "--base-url {}: {why}; write it as http://localhost:8000",
            secrets::mask_url(url)
        ))
    };
    let parsed = reqwest::Url::parse(url).map_err(|_| wrong("that is not a URL"))?;
    match (parsed.host_str(), parsed.port_or_known_default()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(wrong("it has no host")),
    }
}

fn detect_names(url: &str) -> Result<VersionNames, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::io)?;
    let control = AdminClient::new(&target::of_url(url)).map_err(CliError::usage)?;
    let url = secrets::mask_url(url);
    let version = runtime.block_on(control.version()).ok_or_else(|| {
        CliError::usage(format!(
            "{url}/version does not answer; --for vllm-1 or --for vllm-0.6 chooses the metric names"
        ))
    })?;
    VersionNames::for_version(&version).ok_or_else(|| {
        CliError::usage(format!(
            "{url} is version {version}, whose names depend on its engine; --for vllm-1 or --for vllm-0.6 chooses"
        ))
    })
}
