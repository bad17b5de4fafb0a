//! `--config`: a file of flags in TOML, or in YAML by its name, as vLLM's are. Flags stand there by their names, with dashes
//! or underscores; tables named after the groups of `--help` may hold them too.

mod from_toml;
mod from_yaml;

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::flags::Flags;
use super::setting::{Origin, Setting};

pub(super) use from_toml::json;

/// The flags in a file.
///
/// # Errors
/// In one line that names the place: a file that cannot be read or is not in its language, a flag that does not exist or does
/// not take its value, a flag that is there twice.
pub fn read(path: &Path, flags: &Flags) -> Result<Vec<Setting>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("--config {}: {error}", path.display()))?;
    let parse = if is_yaml(path) { from_yaml::entries } else { from_toml::entries };
    let entries = parse(&text, &|name| flags.has_group(name));
    let entries = entries.map_err(|Fault { line, why }| format!("{} line {line}: {why}", path.display()))?;
    let mut settings: Vec<Setting> = Vec::new();
    for Entry { name, line, value } in entries {
        let origin = Origin::File { path: path.to_owned(), line };
        let setting = Setting::new(flags, &name, &value, origin)?;
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

/// A flag in a file, whichever language that is in.
struct Entry {
    name: String,
    /// From 1.
    line: usize,
    value: Value,
}

/// What is wrong with a file, and in which line.
struct Fault {
    line: usize,
    why: String,
}

/// Whether a table of this name is a group of flags.
type IsGroup<'a> = dyn Fn(&str) -> bool + 'a;
