//! `servegauge audit`: whether results are believable.

use std::path::PathBuf;

use clap::Args;

use crate::analysis::audit::Audit;
use crate::cli::exit::{CliError, ExitReason};
use crate::cli::saved_results::{self, SavedResult};
use crate::cli::stdout;
use crate::cli::user_text::UserTextWriter;
use crate::report::audit::{self, AuditedResult};
use crate::report::text;

/// Check whether results are believable.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Result files of any tool, or names of kept runs
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON, a result a line
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn execute(args: &AuditArgs) -> Result<ExitReason, CliError> {
    let mut audited = Vec::new();
    for path in &args.files {
        let results = saved_results::load_named(path)?;
        audited.extend(results.into_iter().map(|(name, result)| audit_result(name, &result)));
    }
    if args.json {
        stdout::print(|out| audited.iter().try_for_each(|result| audit::json(result, out)))?;
    } else {
        let render =
            |out: &mut UserTextWriter<'_>| audited.iter().try_for_each(|result| audit::text(result, out));
        stdout::print_report(render, text::colored)?;
    }
    let is_believable = audited.iter().all(|result| result.believable);
    Ok(if is_believable { ExitReason::Success } else { ExitReason::Failed })
}

fn audit_result(file: String, result: &SavedResult) -> AuditedResult {
    let (tool, audit) = match result {
        SavedResult::Run(run) => {
            let predicted = if run.is_predicted() { ", predicted" } else { "" };
            (format!("servegauge {}{predicted}", run.version), Audit::of_run(run))
        }
        SavedResult::Stated(result) => (result.tool_name(), Audit::of_stated(result)),
    };
    AuditedResult { file, tool, believable: audit.is_believable(), audit }
}
