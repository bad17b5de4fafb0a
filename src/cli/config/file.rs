//! `--config`: a file of flags in TOML, or in YAML (by its extension) as in vLLM. Keys are the names of flags, with
//! dashes or underscores. Tables named after the groups of `--help` may hold them too.

mod from_toml;
mod from_yaml;

use std::path::Path;

use serde_json::Value;

use super::flags::FlagSet;
use super::setting::{FlagSetting, SettingOrigin};
use crate::model::bounded_file::{self, FileLimit};

pub(super) use from_toml::to_json;

/// Reads the flags in a file.
///
/// # Errors
/// The file cannot be read or parsed, a flag does not exist or does not take its value, or a flag occurs twice. The
/// message is one line that names the place.
pub(super) fn read(path: &Path, flags: &FlagSet) -> Result<Vec<FlagSetting>, String> {
    let text = bounded_file::read_text(path, FileLimit::CONFIG)
        .map_err(|error| format!("--config {}: {error}", path.display()))?;
    let parse = if is_yaml(path) { from_yaml::parse_entries } else { from_toml::parse_entries };
    let entries = parse(&text, &|name| flags.has_group(name));
    let entries = entries
        .map_err(|ConfigSyntaxError { line, why }| format!("{} line {line}: {why}", path.display()))?;
    let mut settings: Vec<FlagSetting> = Vec::new();
    for ConfigEntry { name, line, value } in entries {
        let origin = SettingOrigin::File { path: path.to_owned(), line };
        let setting = FlagSetting::new(flags, &name, &value, origin)?;
        if let Some(other) = settings.iter().find(|other| other.flag == setting.flag) {
            return Err(format!("{}: `{name}` is set already, in {}", setting.origin, other.origin));
        }
        settings.push(setting);
    }
    Ok(settings)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("yaml") || kind.eq_ignore_ascii_case("yml"))
}

/// A flag in a file of either format.
struct ConfigEntry {
    name: String,
    /// Counted from 1.
    line: usize,
    value: Value,
}

/// A syntax error in a file, with its line.
struct ConfigSyntaxError {
    line: usize,
    why: String,
}

/// Whether a name is that of a group of flags.
type IsGroupFn<'a> = dyn Fn(&str) -> bool + 'a;
