//! A server's conditions, as text and as JSON.

pub(crate) mod live_view;

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::server::{
    ImpossibleShare, MeasurementPeriod, ServerSignal, SignalAspect, SignalCondition, SignalKind, SignalStatus,
};
use crate::report::format::{plain_number, share_text};

/// The families of docs/operators-guide.md, each with its last signal in the order of the table.
const FAMILIES: [(&str, ServerSignal); 4] = [
    ("Scheduling", ServerSignal::Preemptions),
    ("KV cache", ServerSignal::PrefixHitRate),
    ("Latency and throughput", ServerSignal::InferenceTime),
    ("By feature", ServerSignal::ProcessStart),
];

/// Returns the family of a signal.
fn family(signal: ServerSignal) -> &'static str {
    let found = FAMILIES.iter().find(|(_, last)| signal <= *last);
    found.map_or("Others", |(family, _)| family)
}

/// Writes a table of the conditions, grouped by family.
pub(crate) fn render(conditions: &[SignalCondition], to: &mut impl Write) -> io::Result<()> {
    for of_family in conditions.chunk_by(|a, b| family(a.signal) == family(b.signal)) {
        of_family.first().map_or(Ok(()), |first| writeln!(to, "{}", family(first.signal)))?;
        of_family.iter().try_for_each(|condition| row(condition, to))?;
    }
    Ok(())
}

fn row(condition: &SignalCondition, to: &mut impl Write) -> io::Result<()> {
    let label = label(condition.signal, condition.aspect);
    let line = format!("  {label:<36}{:>16}  {}", value_text(condition), advice(condition));
    writeln!(to, "{}", line.trim_end())
}

fn label(signal: ServerSignal, aspect: SignalAspect) -> String {
    let label = signal.info().label;
    match aspect {
        SignalAspect::P95 => format!("{label} P95"),
        SignalAspect::Mean => format!("{label} mean"),
        _ => label.to_owned(),
    }
}

fn value_text(condition: &SignalCondition) -> String {
    let SignalCondition { signal, aspect, figure, is_lower_bound, .. } = condition;
    let facts = signal.info();
    if *is_lower_bound && facts.kind == SignalKind::Time {
        let time = if *figure < 1.0 {
            plain_number(Some(1e3 * figure), "ms")
        } else {
            plain_number(Some(*figure), "s")
        };
        return format!("> {time}");
    }
    match (facts.kind, aspect) {
        (_, SignalAspect::Growth) => plain_number(Some(*figure), &format!("{}/s", facts.unit)),
        (SignalKind::Time, _) => plain_number(Some(1e3 * figure), "ms"),
        (SignalKind::Gauge, _) if facts.unit.is_empty() => share_text(*figure),
        (SignalKind::Gauge, _) if figure.fract() == 0.0 => format!("{figure} {}", facts.unit),
        _ => plain_number(Some(*figure), facts.unit),
    }
}

/// A status as text: uppercase marks the worse ones.
fn status_name(state: SignalStatus) -> &'static str {
    match state {
        SignalStatus::Ok => "ok",
        SignalStatus::Hint => "hint",
        SignalStatus::Warn => "WARN",
        SignalStatus::Alert => "ALERT",
    }
}

fn advice(condition: &SignalCondition) -> String {
    if condition.period == MeasurementPeriod::SinceStart {
        return "since the server's start: nothing was counted between the two readings".to_owned();
    }
    let state = status_name(condition.state);
    let Some(limit) = condition.signal.info().limit.filter(|_| condition.state > SignalStatus::Ok) else {
        return state.to_owned();
    };
    let lasted = match condition.lasted {
        lasted if lasted.is_zero() => String::new(),
        lasted => format!(" for {}", duration_text(lasted)),
    };
    format!("{state}{lasted}  {}: {}", limit_text(condition), limit.remedy)
}

/// The violated limit of a condition: `above 90.0 %, if for 1m`.
fn limit_text(condition: &SignalCondition) -> String {
    let Some(limit) = condition.signal.info().limit else { return String::new() };
    let side = if limit.of == SignalAspect::Shortfall { "below" } else { "above" };
    let bound = value_text(&SignalCondition { figure: limit.bound, is_lower_bound: false, ..*condition });
    let lasting = match limit.lasting {
        lasting if lasting.is_zero() => String::new(),
        lasting => format!(", if for {}", humantime::format_duration(lasting)),
    };
    format!("{side} {bound}{lasting}")
}

/// Formats whole seconds as `2m 10s`.
fn duration_text(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().round() as u64)).to_string()
}

/// Renders the conditions as JSON, with the shares that are left out.
pub(crate) fn json(conditions: &[SignalCondition], impossible: &[ImpossibleShare]) -> Value {
    let worst = conditions.iter().map(|condition| condition.state).max().unwrap_or(SignalStatus::Ok);
    let mut object = json!({ "state": worst, "signals": conditions.iter().map(signal).collect::<Vec<_>>() });
    if !impossible.is_empty() {
        object["left_out"] = impossible.iter().map(ToString::to_string).collect();
    }
    object
}

fn signal(condition: &SignalCondition) -> Value {
    let limit = condition.signal.info().limit;
    let mut signal = json!({
        "signal": condition.signal,
        "of": aspect(condition.aspect),
        "value": condition.figure,
        "unit": condition.signal.info().unit,
        "state": condition.state,
        "period": condition.period,
        "for_s": condition.lasted.as_secs_f64(),
        "limit": limit.map(|limit| limit.bound),
        "lasting_s": limit.map(|limit| limit.lasting.as_secs_f64()),
    });
    if condition.is_lower_bound {
        // The exact value is unknown: only a lower bound is.
        (signal["value"], signal["above"]) = (Value::Null, condition.figure.into());
    }
    signal
}

fn aspect(aspect: SignalAspect) -> &'static str {
    match aspect {
        SignalAspect::Value | SignalAspect::Shortfall => "value",
        SignalAspect::Growth => "per_second",
        SignalAspect::Mean => "mean",
        SignalAspect::P95 => "p95",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::server::MeasuredValue;

    fn conditions() -> [SignalCondition; 7] {
        let e2e = SignalCondition::since_start(ServerSignal::E2e, SignalAspect::Mean, 9.375.into());
        let [a, b, c, d, e, f] = [
            (ServerSignal::Running, SignalAspect::Value, 38.0),
            (ServerSignal::Waiting, SignalAspect::Value, 17.0),
            (ServerSignal::Preemptions, SignalAspect::Growth, 0.0),
            (ServerSignal::KvUsage, SignalAspect::Value, 0.934),
            (ServerSignal::PrefixHitRate, SignalAspect::Shortfall, 0.05),
            (ServerSignal::Ttft, SignalAspect::P95, 0.25),
        ]
        .map(|(signal, aspect, figure)| SignalCondition::new(signal, aspect, figure, Duration::ZERO));
        [a, b, c, d, e, f, e2e]
    }

    #[test]
    fn the_table_is_this_to_the_letter() {
        let mut text = Vec::new();
        render(&conditions(), &mut text).unwrap();
        let expected = "\
Scheduling
  Requests running                         38 requests  ok
  Requests waiting                         17 requests  ALERT  above 10 requests: add capacity
  Preemptions                                     0 /s  ok
KV cache
  KV cache usage                                93.4 %  WARN  above 90.0 %, if for 1m: expand the KV cache
  Prefix cache hit rate                          5.0 %  hint  below 40.0 %: low for conversations: check that --enable-prefix-caching is on
Latency and throughput
  TTFT P95                                      250 ms  ok
  E2E mean                                     9375 ms  since the server's start: nothing was counted between the two readings
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn a_value_that_is_only_known_to_be_larger_is_told_as_that() {
        let above = |value: f64| {
            let figure = MeasuredValue { value, is_lower_bound: true };
            SignalCondition::new(ServerSignal::Ttft, SignalAspect::P95, figure, Duration::ZERO)
        };
        let mut text = Vec::new();
        render(&[above(10.0), above(0.25)], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("> 10 s  ALERT  above 500 ms: ") && text.contains("> 250 ms  ALERT"), "{text}");
        let json = json(&[above(10.0)], &[]);
        let signal = &json["signals"][0];
        assert_eq!(
            (&signal["value"], &signal["above"], &json["state"]),
            (&Value::Null, &10.0.into(), &"alert".into())
        );
    }

    #[test]
    fn the_worst_state_is_the_servers() {
        let json = json(&conditions(), &[]);
        assert_eq!(json["state"], "alert");
        assert_eq!(
            (&json["signals"][1]["signal"], &json["signals"][1]["limit"]),
            (&"waiting".into(), &10.0.into())
        );
        let periods = [5, 6].map(|at| &json["signals"][at]["period"]);
        assert_eq!(periods, ["now", "since_start"]);
    }
}
