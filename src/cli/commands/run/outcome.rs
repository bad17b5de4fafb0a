//! The exit code of a run, and the reason if it produced no result.

use crate::cli::exit::{ExitReason, print_stderr};
use crate::model::metrics::FailureCount;
use crate::model::record::Failure;
use crate::model::run::Run;

/// Returns the exit code; for a failed run, also prints the reason.
pub(super) fn exit_status(run: &Run, allow_invalid: bool) -> ExitReason {
    let metrics = &run.metrics;
    if run.interrupted {
        return ExitReason::Interrupted;
    }
    if metrics.completed > 0 {
        for FailureCount { class, count, advice, .. } in &metrics.failures {
            advice.iter().for_each(|advice| {
                print_stderr(format_args!("note: requests that failed with {class}: {count}; {advice}"));
            });
        }
        let believed = run.validity.valid || allow_invalid;
        return if believed { ExitReason::Success } else { ExitReason::Invalid };
    }
    print_stderr(format_args!("error: {}", failure_reason(run)));
    ExitReason::Failed
}

/// Returns why a run produced no result.
pub(crate) fn failure_reason(run: &Run) -> String {
    let metrics = &run.metrics;
    match metrics.failures.first() {
        Some(failure) => format!(
            "all {} requests failed, {} of them with: {} (POST {}){}",
            metrics.failed,
            failure.count,
            Failure::new(failure.class, failure.example.as_str()),
            run.spec.target.display_url(),
            failure.advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default()
        ),
        None if metrics.abandoned > 0 => {
            format!("all {} requests were abandoned before their end", metrics.abandoned)
        }
        None => "no request was due within the duration".to_owned(),
    }
}

/// Returns the worse of two exit codes.
pub(super) fn worse(a: ExitReason, b: ExitReason) -> ExitReason {
    let rank = |exit: ExitReason| match exit {
        ExitReason::Success => 0,
        ExitReason::Invalid => 1,
        ExitReason::Failed | ExitReason::Usage => 2,
        ExitReason::Interrupted => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}
