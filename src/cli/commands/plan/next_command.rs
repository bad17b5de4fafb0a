//! The prediction that goes on where a plan ends: the same requests and the wanted rate, simulated with a model.

use std::path::Path;

use super::PlanArgs;
use crate::cli::commands::predict::{EngineArgs, LoadedModel};
use crate::cli::exit::CliError;

/// The command line that predicts the load of a plan.
///
/// # Errors
/// The file is no model.
pub(super) fn prediction(model: &Path, args: &PlanArgs) -> Result<String, CliError> {
    LoadedModel::load(model, &EngineArgs::default())?;
    let mut words = ["servegauge", "predict"].map(ToOwned::to_owned).to_vec();
    words.push(model.display().to_string());
    if let Some(rate) = args.wanted_rate {
        words.extend(["--request-rate".to_owned(), rate.to_string()]);
    }
    match (&args.result[..], args.prompt_tokens.zip(args.output_tokens)) {
        ([like, ..], _) => words.extend(["--like".to_owned(), like.display().to_string()]),
        ([], Some((prompt, output))) => {
            let lengths =
                format!("--dataset-name random --random-input-len {prompt} --random-output-len {output}");
            words.push("--".to_owned());
            words.extend(lengths.split(' ').map(ToOwned::to_owned));
        }
        ([], None) => {
            words.push("--".to_owned());
            words.extend(args.dataset.iter().cloned());
        }
    }
    Ok(shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" ")))
}
