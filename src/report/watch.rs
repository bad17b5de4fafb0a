//! A server's conditions, for people and for scripts.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::figures::{plain, share};
use crate::core::server::{Aspect, Condition, Kind, Period, Signal, State};

pub mod live;

/// The families of the operator's chapter, each with its last signal in the order of the table.
const FAMILIES: [(&str, Signal); 4] = [
    ("Scheduling", Signal::Preemptions),
    ("KV cache", Signal::PrefixHitRate),
    ("Latency and throughput", Signal::InferenceTime),
    ("By feature", Signal::ProcessStart),
];

/// The family that a signal belongs to.
fn family(signal: Signal) -> &'static str {
    let found = FAMILIES.iter().find(|(_, last)| signal <= *last);
    found.map_or("Others", |(family, _)| family)
}

/// Writes a table, family by family.
pub fn render(conditions: &[Condition], to: &mut impl Write) -> io::Result<()> {
    for of_family in conditions.chunk_by(|a, b| family(a.signal) == family(b.signal)) {
        of_family.first().map_or(Ok(()), |first| writeln!(to, "{}", family(first.signal)))?;
        of_family.iter().try_for_each(|condition| row(condition, to))?;
    }
    Ok(())
}

fn row(condition: &Condition, to: &mut impl Write) -> io::Result<()> {
    let label = label(condition.signal, condition.aspect);
    let line = format!("  {label:<36}{:>16}  {}", figure(condition), advice(condition));
    writeln!(to, "{}", line.trim_end())
}

fn label(signal: Signal, aspect: Aspect) -> String {
    let label = signal.facts().label;
    match aspect {
        Aspect::P95 => format!("{label} P95"),
        Aspect::Mean => format!("{label} mean"),
        _ => label.to_owned(),
    }
}

fn figure(Condition { signal, aspect, figure, .. }: &Condition) -> String {
    let facts = signal.facts();
    match (facts.kind, aspect) {
        (_, Aspect::Growth) => plain(Some(*figure), &format!("{}/s", facts.unit)),
        (Kind::Time, _) => plain(Some(1e3 * figure), "ms"),
        (Kind::Gauge, _) if facts.unit.is_empty() => share(*figure),
        (Kind::Gauge, _) if figure.fract() == 0.0 => format!("{figure} {}", facts.unit),
        _ => plain(Some(*figure), facts.unit),
    }
}

/// A state's name, the louder the worse.
fn name(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Hint => "hint",
        State::Warn => "WARN",
        State::Alert => "ALERT",
    }
}

fn advice(condition: &Condition) -> String {
    if condition.period == Period::SinceStart {
        return "since the server's start: nothing was counted between the two readings".to_owned();
    }
    let state = name(condition.state);
    let Some(limit) = condition.signal.facts().limit.filter(|_| condition.state > State::Ok) else {
        return state.to_owned();
    };
    let lasted = match condition.lasted {
        lasted if lasted.is_zero() => String::new(),
        lasted => format!(" for {}", span(lasted)),
    };
    format!("{state}{lasted}  {}: {}", bound(condition), limit.remedy)
}

/// The limit that a figure is beyond: `above 90.0 %, if for 1m`.
fn bound(condition: &Condition) -> String {
    let Some(limit) = condition.signal.facts().limit else { return String::new() };
    let side = if limit.of == Aspect::Shortfall { "below" } else { "above" };
    let bound = figure(&Condition { figure: limit.bound, ..*condition });
    let lasting = match limit.lasting {
        lasting if lasting.is_zero() => String::new(),
        lasting => format!(", if for {}", humantime::format_duration(lasting)),
    };
    format!("{side} {bound}{lasting}")
}

/// Whole seconds: `2m 10s`.
fn span(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs_f64().round() as u64)).to_string()
}

/// The same for scripts.
pub fn json(conditions: &[Condition]) -> Value {
    let worst = conditions.iter().map(|condition| condition.state).max().unwrap_or(State::Ok);
    json!({ "state": worst, "signals": conditions.iter().map(signal).collect::<Vec<_>>() })
}

fn signal(condition: &Condition) -> Value {
    let limit = condition.signal.facts().limit;
    json!({
        "signal": condition.signal,
        "of": aspect(condition.aspect),
        "value": condition.figure,
        "unit": condition.signal.facts().unit,
        "state": condition.state,
        "period": condition.period,
        "for_s": condition.lasted.as_secs_f64(),
        "limit": limit.map(|limit| limit.bound),
        "lasting_s": limit.map(|limit| limit.lasting.as_secs_f64()),
    })
}

fn aspect(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Value | Aspect::Shortfall => "value",
        Aspect::Growth => "per_second",
        Aspect::Mean => "mean",
        Aspect::P95 => "p95",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn conditions() -> [Condition; 7] {
        let e2e = Condition::since_start(Signal::E2e, Aspect::Mean, 9.375);
        let [a, b, c, d, e, f] = [
            (Signal::Running, Aspect::Value, 38.0),
            (Signal::Waiting, Aspect::Value, 17.0),
            (Signal::Preemptions, Aspect::Growth, 0.0),
            (Signal::KvUsage, Aspect::Value, 0.934),
            (Signal::PrefixHitRate, Aspect::Shortfall, 0.05),
            (Signal::Ttft, Aspect::P95, 0.25),
        ]
        .map(|(signal, aspect, figure)| Condition::of(signal, aspect, figure, Duration::ZERO));
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
  Prefix cache hit rate                          5.0 %  hint  below 40.0 %: conversations find more: --enable-prefix-caching
Latency and throughput
  TTFT P95                                      250 ms  ok
  E2E mean                                     9375 ms  since the server's start: nothing was counted between the two readings
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn the_worst_state_is_the_servers() {
        let json = json(&conditions());
        assert_eq!(json["state"], "alert");
        assert_eq!(
            (&json["signals"][1]["signal"], &json["signals"][1]["limit"]),
            (&"waiting".into(), &10.0.into())
        );
        let periods = [5, 6].map(|at| &json["signals"][at]["period"]);
        assert_eq!(periods, ["now", "since_start"]);
    }
}
