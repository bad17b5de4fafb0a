//! Every flag as an environment variable: `--request-rate 20` is `SERVEGAUGE_REQUEST_RATE=20`.

use serde_json::Value;
use toml::de::DeTable;

use super::file;
use super::flags::{FlagArity, FlagSet, arity};
use super::setting::{FlagSetting, SettingOrigin};
use crate::cli::exit::print_stderr;
use crate::cli::kept_runs;
use crate::shards::variables as shards;

const VARIABLE_PREFIX: &str = "SERVEGAUGE_";

/// The variables with the prefix that are no flags.
const OTHER_VARIABLES: [&str; 3] = [kept_runs::VARIABLE, shards::TOKEN, shards::COUNT];

/// Reads the flags in these variables. A variable with the prefix that names no flag causes a warning, since it may
/// belong to another program.
///
/// # Errors
/// A flag does not take its value; the message names the variable.
pub(super) fn read(
    variables: impl Iterator<Item = (String, String)>,
    flags: &FlagSet,
) -> Result<Vec<FlagSetting>, String> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let Some(flag) = name.strip_prefix(VARIABLE_PREFIX).map(str::to_lowercase) else { continue };
        match flags.find(&flag) {
            Some(arg) => {
                let value =
                    if arity(arg) == FlagArity::Many { parse_list(&value) } else { Value::String(value) };
                settings.push(FlagSetting::new(flags, &flag, &value, SettingOrigin::Environment(name))?);
            }
            None => {
                let nearest = flags.nearest(&flag).map(|flag| variable_name(&flag));
                let advice = nearest.map(|name| format!("; is it {name}?")).unwrap_or_default();
                print_stderr(format_args!(
                    "warning: environment variable {name} is not a flag and is ignored{advice}"
                ));
            }
        }
    }
    Ok(settings)
}

/// Parses a value. A TOML list such as `["a=1", "b=2"]` has several values; anything else is one value.
fn parse_list(text: &str) -> Value {
    let document = format!("list = {text}");
    let table = DeTable::parse(&document).ok().filter(|_| text.trim_start().starts_with('['));
    let items = table.as_ref().and_then(|table| table.get_ref().get("list"));
    items.map_or_else(|| Value::String(text.to_owned()), |items| file::to_json(items.get_ref()))
}

fn variable_name(flag: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", flag.replace('-', "_").to_uppercase())
}
