//! `--preset`: flags that people set together.

use clap::ArgMatches;
use serde_json::Value;

use super::flags::FlagSet;
use super::setting::{FlagSetting, SettingOrigin};
use crate::cli::presets;

/// Reads the flags of the preset that was named, except for those that the given flags replace.
///
/// # Errors
/// There is no such preset.
pub(super) fn read(
    typed: &ArgMatches,
    flags: &FlagSet,
    given: &[String],
) -> Result<Vec<FlagSetting>, String> {
    let Some(name) = typed.get_one::<String>("preset") else { return Ok(Vec::new()) };
    let preset = presets::find(name)?;
    let setting = |(flag, value): (&str, &str)| {
        FlagSetting::new(flags, flag, &Value::from(value), SettingOrigin::Preset(preset.name))
    };
    presets::flags_beside(preset, given).map(setting).collect()
}
