//! The steady state in JSON: `{"window": …, "metrics": …, "before": …}`, or `{"absent": {"reason": "too_short", …}}`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::SteadyState;
use crate::model::steady_state::NoSteadyState;

/// Writes the steady state, or the reason why there is none.
pub(super) fn serialize<S: Serializer>(
    steady: &Result<SteadyState, NoSteadyState>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Absent {
        absent: NoSteadyState,
    }
    match *steady {
        Ok(ref steady) => steady.serialize(to),
        Err(absent) => Absent { absent }.serialize(to),
    }
}

/// Reads the steady state. In schema 1 it was under `Ok`, or the reason under `Err`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Result<SteadyState, NoSteadyState>, D::Error> {
    let mut saved = Value::deserialize(from)?;
    let absent = match saved.get_mut("Err") {
        Some(reason) => Some(flat_reason(reason.take())),
        None => saved.get_mut("absent").map(Value::take),
    };
    let read = match absent {
        Some(reason) => serde_json::from_value(reason).map(Err),
        None => {
            let found = saved.get_mut("Ok").map(Value::take);
            serde_json::from_value(found.unwrap_or(saved)).map(Ok)
        }
    };
    read.map_err(serde::de::Error::custom)
}

/// Moves the reason into the object: in schema 1 it was a text, or the key of its details.
fn flat_reason(saved: Value) -> Value {
    let Value::Object(object) = saved else { return json!({ "reason": saved }) };
    let Some((reason, mut details)) = object.into_iter().next() else { return Value::Null };
    if let Some(details) = details.as_object_mut() {
        details.insert("reason".to_owned(), reason.into());
    }
    details
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::sample_run;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Steady(#[serde(with = "super")] Result<SteadyState, NoSteadyState>);

    #[test]
    fn why_there_is_no_steady_state_is_read_in_both_forms() {
        let second = Duration::from_secs(1);
        let too_short = NoSteadyState::TooShort { requests: 3, length: second, needed: 5 * second };
        let cases = [
            (too_short, json!({"Err": {"too_short": {"requests": 3, "length_s": 1.0, "needed_s": 5.0}}})),
            (NoSteadyState::NotLookedFor, json!({"Err": "not_looked_for"})),
        ];
        for (reason, old) in cases {
            let steady = Steady(Err(reason));
            let new = serde_json::to_value(&steady).unwrap();
            assert!(new["absent"]["reason"].is_string(), "{new}");
            for form in [new, old] {
                assert_eq!(serde_json::from_value::<Steady>(form).unwrap(), steady);
            }
        }
        for wrong in
            [json!({}), json!(null), json!({"Err": {}}), json!({"absent": "later"}), json!({"Ok": 1})]
        {
            assert!(serde_json::from_value::<Steady>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_steady_state_is_read_in_both_forms() {
        let metrics = sample_run::run(false).metrics;
        let window = serde_json::from_value(json!({"start_s": 1.0, "end_s": 2.0, "requests": 2})).unwrap();
        let steady = Steady(Ok(SteadyState { window, metrics, before: Default::default() }));
        let new = serde_json::to_value(&steady).unwrap();
        assert_eq!(new["window"]["start_s"], 1.0);
        for form in [new.clone(), json!({ "Ok": new })] {
            assert_eq!(serde_json::from_value::<Steady>(form).unwrap(), steady);
        }
    }
}
