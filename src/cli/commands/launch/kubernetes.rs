//! `servegauge launch kubernetes`: the manifests of an Indexed Job.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::job_objects::{JobObjects, Spread, tls_flags};
use super::shared_run::{SharedRun, job_name, passed_variables};
use crate::cli::args::values;
use crate::cli::exit::{CliError, print_stderr};
use crate::model::units::Secret;
use crate::report::yaml;
use crate::shards::variables::TOKEN;

/// Print the manifests of an Indexed Job.
#[derive(Debug, Args)]
pub(super) struct KubernetesArgs {
    /// Pods that send the run together
    #[arg(long, value_name = "N", value_parser = values::threads)]
    shards: NonZeroUsize,
    /// Container image with the program as its entry point
    #[arg(long)]
    image: String,
    /// Name of the Job, its Service and its Secret
    #[arg(long, default_value = "servegauge", value_parser = job_name)]
    name: String,
    /// Namespace [default: that of kubectl's context]
    #[arg(long, value_parser = job_name)]
    namespace: Option<String>,
    /// CPUs of each pod, as request and limit
    #[arg(long, default_value = "2")]
    cpus: String,
    /// Memory of each pod, as request and limit
    #[arg(long, default_value = "2Gi")]
    memory: String,
    /// Allow several pods on one node
    #[arg(long)]
    share_nodes: bool,
    /// Keep results on this PersistentVolumeClaim, at /data [default: they go with the pod]
    #[arg(long, value_name = "NAME")]
    results_claim: Option<String>,
    /// Take the token and the API keys from this Secret, and print none
    #[arg(long, value_name = "NAME", conflicts_with = "pass_env")]
    secret: Option<String>,
    /// Let the pods talk with TLS, with tls.crt, tls.key and ca.crt of this Secret
    ///
    /// The certificate must be valid for the name of the first pod, such as servegauge-0.servegauge.
    #[arg(long, value_name = "NAME", value_parser = secret_name)]
    tls_secret: Option<String>,
    /// Environment variables to put into the Secret; OPENAI_API_KEY and HF_TOKEN are put there anyway
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pass_env: Vec<String>,
    /// How long the finished Job stays, with its logs
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = values::seconds)]
    keep: Duration,
    /// After `--`: `run` with its flags
    #[arg(last = true, required = true, value_name = "run RUN'S FLAGS")]
    run: Vec<String>,
}

/// The manifests as YAML, after a comment that says how to use them.
pub(super) fn manifests(args: &KubernetesArgs) -> Result<String, CliError> {
    let run = SharedRun::parse(&words_of_run(args), args.shards)?;
    note_what_pods_lack(&run);
    let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut secrets = vec![(TOKEN.to_owned(), Secret::new(token))];
    secrets.extend(passed_variables(&run, &args.pass_env)?);
    let documents = objects(args, &run, secrets).documents();
    let mut text = usage(args);
    for document in &documents {
        yaml::write_quoted(document, &mut text).map_err(CliError::io)?;
    }
    Ok(text)
}

/// The words of the run, with the certificate of `--tls-secret`. The run's own flags for a certificate override it.
fn words_of_run(args: &KubernetesArgs) -> Vec<String> {
    if args.tls_secret.is_none() {
        return args.run.clone();
    }
    let flags = args.run.strip_prefix(&["run".to_owned()]).unwrap_or(&args.run);
    tls_flags().chain(flags.iter().cloned()).collect()
}

/// The objects of the Job.
fn objects(args: &KubernetesArgs, run: &SharedRun, secrets: Vec<(String, Secret)>) -> JobObjects {
    let name = &args.name;
    JobObjects {
        name: name.clone(),
        namespace: args.namespace.clone(),
        image: args.image.clone(),
        shards: args.shards,
        args: run.words_of_each(Some(&first_pod(name))),
        secrets,
        existing_secret: args.secret.clone(),
        cpus: args.cpus.clone(),
        memory: args.memory.clone(),
        spread: if args.share_nodes { Spread::Preferred } else { Spread::Required },
        results_claim: args.results_claim.clone(),
        tls_secret: args.tls_secret.clone(),
        keep: args.keep,
    }
}

/// Reads the name of a Secret, which Kubernetes restricts to these characters.
fn secret_name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    match !text.is_empty() && text.len() <= 253 && text.chars().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("the name of a Secret has only a-z, 0-9, - and ., such as servegauge-tls".into()),
    }
}

/// The host of shard 0. The pods of an Indexed Job have the host names NAME-0, NAME-1 and so on.
fn first_pod(name: &str) -> String {
    format!("{name}-0.{name}")
}

/// How to start the Job, and how to get its report.
fn usage(args: &KubernetesArgs) -> String {
    let name = &args.name;
    let kubectl = match &args.namespace {
        Some(namespace) => format!("kubectl --namespace {namespace}"),
        None => "kubectl".to_owned(),
    };
    let result = match &args.results_claim {
        Some(claim) => format!("# Files of the run, such as that of --out, are on the claim {claim}.\n"),
        None => "# Files of the run go with its pods: --results-claim keeps them. With --json, the result is the line of the \
                 log that begins with {.\n"
            .to_owned(),
    };
    let tls = args.tls_secret.as_ref().map(|secret| {
        format!(
            "# Before: {kubectl} create secret generic {secret} --from-file=tls.crt --from-file=tls.key --from-file=ca.crt\n\
             # tls.crt must be valid for {}.\n",
            first_pod(name)
        )
    });
    let tls = tls.unwrap_or_default();
    format!(
        "{tls}# Start:  {kubectl} apply -f FILE
# Report: {kubectl} logs --follow --tail=-1 \
         --selector=batch.kubernetes.io/job-name={name},batch.kubernetes.io/job-completion-index=0
# End:    {kubectl} delete -f FILE
{result}"
    )
}

/// Notes what the command means otherwise in a pod than here.
fn note_what_pods_lack(run: &SharedRun) {
    let url = &run.spec.target.base_url;
    if ["://127.", "://localhost", "://[::1]"].iter().any(|local| url.contains(local)) {
        print_stderr(format_args!(
            "warning: {url} is each pod itself: name the server's service with --base-url"
        ));
    }
    for (flag, value) in &run.line.settings {
        let Value::String(path) = value else { continue };
        if path.contains(['/', '.']) && Path::new(path).exists() {
            print_stderr(format_args!(
                "note: --{flag} {path} is a file here: the image needs it at the same place"
            ));
        }
    }
}
