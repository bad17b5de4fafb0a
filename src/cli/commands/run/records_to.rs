//! `--records-to`: copies of the record logs in a store, written while the runs are.

use std::sync::Arc;

use crate::cli::args::ShardArgs;
use crate::cli::exit::{CliError, print_stderr};
use crate::model::secrets;
use crate::runner::CopyLog;
use crate::shards::PartUpload;
use crate::storage::PartStore;

/// Copies record logs to the store that the flags name; `None` without one.
pub(super) fn copy_log(flags: &ShardArgs) -> Result<Option<Box<CopyLog>>, CliError> {
    let Some(url) = &flags.records_to else { return Ok(None) };
    let shown = secrets::mask_url(url);
    let wrong = |error| format!("--records-to {shown}: {error}");
    let store = Arc::new(PartStore::open(url).map_err(|error| CliError::usage(wrong(error)))?);
    let place = shown.trim_end_matches('/').to_owned();
    Ok(Some(Box::new(move |run, shard, log| {
        let upload = PartUpload::start(Arc::clone(&store), run, shard, log);
        let upload = upload.map_err(|error| format!("--records-to {place}: {error}"))?;
        let place = format!("{place}/{run}");
        Ok(Box::new(move || match upload.finish() {
            Ok(()) => print_stderr(format_args!("records are at {place}")),
            Err(error) => {
                print_stderr(format_args!("warning: the records at {place} are not complete: {error}"))
            }
        }))
    })))
}
