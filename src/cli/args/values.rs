//! Parsers of flag values: durations with units, pairs, lists, JSON objects.

mod bounds;
mod media;
mod place;
mod value_list;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::protocol::{PROTOCOLS, Protocol};
use crate::model::metrics::Latency;
use crate::model::run_spec::{Backend, RateStep, TraceWindow, WaitTime};
use crate::report::plot::timeline::MAX_THRESHOLDS;
pub(crate) use bounds::{
    batch_size, bounded, count, count_or_zero, factor, milliseconds, number, port, threads, time_unit, tokens,
};
pub(crate) use media::{MediaBuckets, MediaLimits, media_buckets, media_limits};
pub(crate) use place::{gateway, listen_address, metrics_url};
pub(crate) use value_list::{ValueList, counts, rates};

/// A pair written as `K=V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub key: String,
    pub value: String,
}

/// Reads `K=V`.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(Pair { key: key.trim().to_owned(), value: value.to_owned() })
        }
        _ => Err("write it as KEY=VALUE".into()),
    }
}

/// Parses the name of a backend, or vLLM's alias for it.
pub(crate) fn backend() -> impl TypedValueParser<Value = Backend> {
    let value = |wire: &'static Protocol| {
        PossibleValue::new(wire.backend.name()).help(wire.path(false)).aliases(wire.aliases)
    };
    PossibleValuesParser::new(PROTOCOLS.iter().map(value))
        .map(|name| Protocol::from_name(&name).expect("only the table's names are possible").backend)
}

/// Reads `500ms`, `30s`, `2m`, or a bare number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1))
}

/// Reads a time to wait: `2s`, `1s..5s` (uniform), `exp:2s` (exponential with this mean).
pub(crate) fn wait(text: &str) -> Result<WaitTime, String> {
    if let Some(mean) = text.strip_prefix("exp:") {
        return Ok(WaitTime::Exponential { mean: seconds(mean)? });
    }
    let Some((from, to)) = text.split_once("..") else { return seconds(text).map(WaitTime::Constant) };
    let (from, to) = (seconds(from)?, seconds(to)?);
    if from > to {
        Err("a range goes from the shorter to the longer".into())
    } else {
        Ok(WaitTime::Uniform { from, to })
    }
}

/// The time that users think between turns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ThinkTime {
    /// The think times of the trace.
    Trace,
    /// Think times drawn from a distribution.
    Law(WaitTime),
}

/// Reads `trace`, or a time to wait.
pub(crate) fn think_time(text: &str) -> Result<ThinkTime, String> {
    if text == "trace" { Ok(ThinkTime::Trace) } else { wait(text).map(ThinkTime::Law) }
}

/// The number of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// All requests of the dataset.
    All,
    /// Exactly this number of requests.
    Exactly(NonZeroUsize),
}

/// Reads a number, or vLLM's `-1` for all.
pub(crate) fn amount(text: &str) -> Result<Amount, String> {
    match count(text) {
        _ if text == "-1" => Ok(Amount::All),
        Ok(number) => Ok(Amount::Exactly(number)),
        Err(why) => Err(format!("{why}, or -1 for all that the dataset's file has")),
    }
}

/// Why a text is not a duration.
const NOT_A_TIME: &str = "not a time: write it as 500ms, 30s or 2m";

fn duration(text: &str, unit: Duration) -> Result<Duration, String> {
    let Ok(number) = text.parse::<f64>() else {
        return humantime::parse_duration(text).map_err(|_| NOT_A_TIME.to_owned()).and_then(bounded);
    };
    Duration::try_from_secs_f64(number * unit.as_secs_f64())
        .map_err(|_| NOT_A_TIME.to_owned())
        .and_then(bounded)
}

/// Reads a rate that may be zero, in requests per second.
pub(crate) fn rate_or_zero(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=FASTEST).contains(&rate) => Ok(rate),
        _ => Err(format!("a rate here is a number between 0 and {FASTEST} requests per second")),
    }
}

/// A rate above this (requests per second) is a typing error: no machine sends so fast.
const FASTEST: f64 = 1e7;

/// Reads `60s:20`: a time and its requests per second.
pub(crate) fn stage(text: &str) -> Result<RateStep, String> {
    let (length, rate) = text.rsplit_once(':').ok_or("write a stage as TIME:RATE, such as 60s:20")?;
    let length = seconds(length.trim())?;
    if length.is_zero() {
        return Err("a stage must be greater than 0".into());
    }
    Ok(RateStep { length, rate: rate_or_zero(rate)? })
}

/// Reads a speed factor such as `2x` or `0.5`.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    factor(text.trim().trim_end_matches(['x', 'X']))
        .map_err(|why| format!("write a speed as 2x or 0.5x: {why}"))
}

/// Reads `10m..20m`, `10m..` or `..20m`.
pub(crate) fn window(text: &str) -> Result<TraceWindow, String> {
    let (from, to) = text.split_once("..").ok_or("write a window as 10m..20m, 10m.. or ..20m")?;
    let end = |text: &str| match text.trim() {
        "" => Ok(None),
        text => seconds(text).map(Some),
    };
    let window = TraceWindow { from: end(from)?.unwrap_or_default(), to: end(to)? };
    match window.to.is_some_and(|to| to <= window.from) {
        true => Err("a window ends after its beginning".into()),
        false => Ok(window),
    }
}

/// Reads a finite number above zero.
pub(crate) fn above_zero(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("it must be a number above 0".into()),
    }
}

/// Reads a share of the whole: `1%` or `0.01`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    match number.trim().parse::<f64>().map(|number| number / unit) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is between 0 and 1, or 0% and 100%".into()),
    }
}

/// Reads a gamma shape: above zero, `inf` allowed.
pub(crate) fn burstiness(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(shape) if shape > 0.0 => Ok(shape),
        _ => Err("burstiness is a number above 0, or `inf`".into()),
    }
}

/// The value of `--random-range-ratio`, for input and output lengths.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeRatio {
    #[serde(default)]
    pub input: f64,
    #[serde(default)]
    pub output: f64,
}

/// Reads one number for both lengths, or a JSON object.
pub(crate) fn range_ratio(text: &str) -> Result<RangeRatio, String> {
    let ratio = match text.parse::<f64>() {
        Ok(both) => RangeRatio { input: both, output: both },
        Err(_) => serde_json::from_str(text)
            .map_err(|_| "write it as 0.2 or {\"input\":0.2,\"output\":0.5}".to_owned())?,
    };
    let fits = |part: f64| (0.0..1.0).contains(&part);
    if fits(ratio.input) && fits(ratio.output) {
        Ok(ratio)
    } else {
        Err("a ratio is at least 0 and below 1".into())
    }
}

/// Reads a JSON object.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it must be a JSON object: {\"key\": value}".into()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// One latency limit of `--goodput`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Objective {
    pub latency: Latency,
    pub limit: Duration,
}

/// Reads `ttft:500` (milliseconds) or `e2el:5s`.
pub(crate) fn objective(text: &str) -> Result<Objective, String> {
    let (key, limit) = text.split_once(':').ok_or("write it as ttft:500 or e2el:5s")?;
    let limited = |latency: &Latency| matches!(latency, Latency::Ttft | Latency::Tpot | Latency::E2e);
    let latency = latency(key).filter(limited);
    Ok(Objective {
        latency: latency.ok_or_else(|| format!("`{key}` is none of ttft, tpot, e2el"))?,
        limit: duration(limit, Duration::from_millis(1))?,
    })
}

/// Reads a list of latencies.
pub(crate) fn latencies(text: &str) -> Result<Vec<Latency>, String> {
    let known = || Latency::ALL.into_iter().filter_map(Latency::vllm_key).collect::<Vec<_>>().join(", ");
    let read = |key: &str| latency(key).ok_or_else(|| format!("`{key}` is none of {}", known()));
    list(text).map(read).collect()
}

/// The value of `--timeline-itl-thresholds`, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thresholds(pub Vec<Duration>);

/// Reads a list of milliseconds (or with units), ascending.
pub(crate) fn thresholds(text: &str) -> Result<Thresholds, String> {
    let read = list(text).map(|item| duration(item, Duration::from_millis(1)));
    let thresholds: Vec<_> = read.collect::<Result<_, _>>()?;
    if !(1..=MAX_THRESHOLDS).contains(&thresholds.len()) {
        return Err(format!("give 1 to {MAX_THRESHOLDS} thresholds"));
    }
    match thresholds[0].is_zero() || !thresholds.is_sorted_by(|low, high| low < high) {
        true => Err("thresholds are above 0 and ascend".into()),
        false => Ok(Thresholds(thresholds)),
    }
}

/// A list of percentiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Percents(pub Vec<f64>);

/// Reads a list of percentiles as one value.
pub(crate) fn percent_list(text: &str) -> Result<Percents, String> {
    percents(text).map(Percents)
}

/// Reads a list of percentiles.
pub(crate) fn percents(text: &str) -> Result<Vec<f64>, String> {
    let read = |percent: &str| match percent.parse::<f64>() {
        Ok(p) if (0.0..=100.0).contains(&p) => Ok(p),
        _ => Err(format!("`{percent}` is not a percentile between 0 and 100")),
    };
    list(text).map(read).collect()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Finds a latency by vLLM's key, or by the usual name for E2E.
fn latency(key: &str) -> Option<Latency> {
    match key {
        "e2e" => Some(Latency::E2e),
        _ => Latency::ALL.into_iter().find(|latency| latency.vllm_key() == Some(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (text, expected) in
            [("500ms", ms(500)), ("30s", ms(30_000)), ("2m", ms(120_000)), ("1.5", ms(1500))]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "nan", "inf", "soon", "5 parsecs"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stages_are_a_time_and_a_rate() {
        assert_eq!(stage("10s:5"), Ok(RateStep { length: ms(10_000), rate: 5.0 }));
        assert_eq!(stage("1m:0").map(|stage| stage.rate), Ok(0.0));
        for text in ["", "10s", "10s:", "10s:-1", "10s:inf", "0s:5", ":5", "soon:5"] {
            assert!(stage(text).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_have_a_beginning_an_end_or_both() {
        let window = |text| super::window(text).map(|window| (window.from, window.to));
        assert_eq!(window("10m..20m"), Ok((ms(600_000), Some(ms(1_200_000)))));
        assert_eq!(window("10m.."), Ok((ms(600_000), None)));
        assert_eq!(window("..90"), Ok((ms(0), Some(ms(90_000)))));
        for text in ["", "10m", "20m..10m", "1s..1s", "a..b"] {
            assert!(super::window(text).is_err(), "{text}");
        }
        assert_eq!((speed("2x"), speed("0.5")), (Ok(2.0), Ok(0.5)));
        for text in ["", "x", "0x", "-1x", "inf"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waits_are_a_time_a_range_or_a_law() {
        assert_eq!(wait("2s"), Ok(WaitTime::Constant(ms(2000))));
        assert_eq!(wait("500ms..2"), Ok(WaitTime::Uniform { from: ms(500), to: ms(2000) }));
        assert_eq!(wait("exp:1.5"), Ok(WaitTime::Exponential { mean: ms(1500) }));
        for text in ["", "exp:", "3s..1s", "..", "gamma:2s", "-1"] {
            assert!(wait(text).is_err(), "{text}");
        }
        assert_eq!(think_time("trace"), Ok(ThinkTime::Trace));
        assert_eq!(think_time("2s"), Ok(ThinkTime::Law(WaitTime::Constant(ms(2000)))));
    }

    #[test]
    fn minus_one_prompts_are_all() {
        assert_eq!(amount("-1"), Ok(Amount::All));
        assert_eq!(amount("7").ok(), NonZeroUsize::new(7).map(Amount::Exactly));
        for text in ["0", "-2", "", "all", "1.5"] {
            assert!(amount(text).unwrap_err().contains("-1 for all"), "{text}");
        }
    }

    #[test]
    fn service_levels_are_milliseconds_unless_they_say_otherwise() {
        assert_eq!(objective("ttft:500"), Ok(Objective { latency: Latency::Ttft, limit: ms(500) }));
        assert_eq!(objective("e2e:5s"), Ok(Objective { latency: Latency::E2e, limit: ms(5000) }));
        assert_eq!(objective("e2el:5000").map(|o| o.latency), Ok(Latency::E2e));
        for text in ["ttft", "itl:5", "foo:5", "client_queue_time:5", "ttft:", "ttft:-1", "lag:5"] {
            assert!(objective(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_percents_or_fractions() {
        assert_eq!((share("1%"), share("0.25"), share("100 %")), (Ok(0.01), Ok(0.25), Ok(1.0)));
        for text in ["", "2", "-1%", "101%", "nan", "%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn range_ratios_are_a_number_or_an_object() {
        assert_eq!(range_ratio("0.2"), Ok(RangeRatio { input: 0.2, output: 0.2 }));
        assert_eq!(range_ratio("{\"input\":0.2}"), Ok(RangeRatio { input: 0.2, output: 0.0 }));
        for text in ["1", "-0.1", "nan", "{\"in\":1}", "x"] {
            assert!(range_ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn thresholds_ascend() {
        assert_eq!(thresholds("25,50"), Ok(Thresholds(vec![ms(25), ms(50)])));
        assert_eq!(thresholds("500us, 1s"), Ok(Thresholds(vec![Duration::from_micros(500), ms(1000)])));
        for text in ["", "0,1", "50,25", "25,25", "x", "1,2,3,4,5"] {
            assert!(thresholds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_name_the_item_that_is_wrong() {
        assert_eq!(latencies("ttft, e2el").unwrap(), [Latency::Ttft, Latency::E2e]);
        let queue = [Latency::Lag, Latency::E2eFromDue];
        assert_eq!(latencies("client_queue_time,e2el_including_client_queue").unwrap(), queue);
        let error = latencies("ttft,lag").unwrap_err();
        assert!(error.contains("`lag`") && error.contains("client_queue_time"), "{error}");
        assert_eq!(percents("50,99.9").unwrap(), [50.0, 99.9]);
        assert!(percents("50,101").unwrap_err().contains("101"));
    }
}
