//! `--like`: the flags of a saved run.

use std::path::Path;

use super::flags::{Flags, group};
use super::secret;
use super::setting::{Origin, Setting};
use crate::cli::exit::say;
use crate::core::run::Run;

/// A saved run to do again.
pub struct Saved {
    /// Its flags, but for those that say where its result went. What was not stored, a secret, is told and left out.
    pub settings: Vec<Setting>,
    /// The run itself.
    pub run: Run,
}

/// Reads a result file.
///
/// # Errors
/// When it is none of ours, or has a flag that this program does not take.
pub fn read(path: &Path, flags: &Flags) -> Result<Saved, String> {
    let run = Run::load(path).map_err(|error| format!("--like: {error}"))?;
    let stored = run.settings.as_ref().ok_or_else(|| {
        format!(
            "--like: {} does not say with what flags it was run; an older version saved it",
            path.display()
        )
    })?;
    let mut settings = Vec::new();
    for (name, value) in stored {
        let is_delivery = flags.find(name).is_some_and(|arg| group(arg) == "output");
        if is_delivery || name == "dry-run" {
            continue;
        }
        let (kept, lost) = secret::split(value);
        for key in lost {
            say(format_args!(
                "warning: {}: --{name} {key}=... was not stored; give it again",
                path.display()
            ));
        }
        if let Some(value) = kept {
            settings.push(Setting::new(flags, name, &value, Origin::Saved(path.to_owned()))?);
        }
    }
    Ok(Saved { settings, run })
}
