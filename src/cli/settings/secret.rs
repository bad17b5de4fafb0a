//! What is stored and printed of flags whose values are secret: that they were given.

use serde_json::Value;

use crate::core::units::Secret;

/// The flags whose values are `KEY=secret`.
const SECRET: [&str; 1] = ["header"];

/// Whether a flag's values are secret.
pub fn is_secret(flag: &str) -> bool {
    SECRET.contains(&flag)
}

/// `KEY=VALUE` without the value.
pub fn masked(pair: &str) -> String {
    let key = pair.split_once('=').map_or("", |(key, _)| key);
    format!("{key}={}", Secret::MASK)
}

/// Of a stored list of values those that are whole, if there are any, and the keys of those that were masked.
pub fn split(value: &Value) -> (Option<Value>, Vec<String>) {
    let Value::Array(items) = value else { return (Some(value.clone()), Vec::new()) };
    let key =
        |item: &Value| Some(item.as_str()?.strip_suffix(Secret::MASK)?.trim_end_matches('=').to_owned());
    let (lost, kept): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|item| key(item).is_some());
    let kept: Vec<Value> = kept.into_iter().cloned().collect();
    ((!kept.is_empty()).then_some(Value::Array(kept)), lost.into_iter().filter_map(key).collect())
}
