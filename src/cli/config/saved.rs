//! `--like`: the flags of a saved run.

use std::path::Path;

use super::flags::{FlagSet, group};
use super::setting::{FlagSetting, SettingOrigin};
use crate::cli::kept_runs;
use crate::model::run::Run;

/// A saved run to repeat.
pub(crate) struct SavedRun {
    /// The run's flags, with secrets masked, except those that say where its result went.
    pub settings: Vec<FlagSetting>,
    /// The saved run.
    pub run: Run,
}

/// Reads a result file.
///
/// # Errors
/// The file is not a result of this program, or has a flag that this version does not accept.
pub(super) fn read(path: &Path, flags: &FlagSet) -> Result<SavedRun, String> {
    let file = kept_runs::locate(path).map_err(|error| format!("--like: {}", error.message()))?;
    let run = Run::load(&file).map_err(|error| format!("--like: {error}"))?;
    let stored = run.settings.as_ref().ok_or_else(|| {
        format!("--like: {} does not contain the flags of its run; an older version saved it", path.display())
    })?;
    let mut settings = Vec::new();
    for (name, value) in stored {
        let is_delivery = flags.find(name).is_some_and(|arg| group(arg) == "output");
        if is_delivery || name == "dry-run" {
            continue;
        }
        settings.push(FlagSetting::new(flags, name, value, SettingOrigin::Saved(path.to_owned()))?);
    }
    Ok(SavedRun { settings, run })
}
