//! Every flag as an environment variable: `--request-rate 20` is `SERVEBENCH_REQUEST_RATE=20`.

use serde_json::Value;
use toml::de::DeTable;

use super::file;
use super::flags::{Flags, Takes, takes};
use super::setting::{Origin, Setting};
use crate::cli::exit::say;

const PREFIX: &str = "SERVEBENCH_";

/// The flags in these variables. One that is no flag is told and otherwise ignored: it may be another program's.
///
/// # Errors
/// When a flag does not take its value; the message names the variable.
pub fn read(
    variables: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        let Some(flag) = name.strip_prefix(PREFIX).map(str::to_lowercase) else { continue };
        match flags.find(&flag) {
            Some(arg) => {
                let value = if takes(arg) == Takes::Many { list(&value) } else { Value::String(value) };
                settings.push(Setting::new(flags, &flag, &value, Origin::Environment(name))?);
            }
            None => {
                let nearest = flags.nearest(&flag).map(|flag| variable(&flag));
                let advice = nearest.map(|name| format!("; is it {name}?")).unwrap_or_default();
                say(format_args!("warning: environment variable {name} is no flag and is ignored{advice}"));
            }
        }
    }
    Ok(settings)
}

/// Several values are written as a TOML list, `["a=1", "b=2"]`; anything else is one value.
fn list(text: &str) -> Value {
    let document = format!("list = {text}");
    let table = DeTable::parse(&document).ok().filter(|_| text.trim_start().starts_with('['));
    let items = table.as_ref().and_then(|table| table.get_ref().get("list"));
    items.map_or_else(|| Value::String(text.to_owned()), |items| file::json(items.get_ref()))
}

fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}
