//! Parsers of the values that only `predict` has.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::cli::args::values;
use crate::predict::router::RouterPolicy;

/// Multiples of a load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factors(pub Vec<f64>);

impl Factors {
    /// Reads `x2`, `2x` or `2`, or a list.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let factor = |text: &str| {
            let number = text.trim().trim_start_matches(['x', 'X', '×']).trim_end_matches(['x', 'X']);
            values::factor(number).map_err(|why| format!("write a load as x2 or x0.5: {why}"))
        };
        let factors = text.split(',').map(factor).collect::<Result<Vec<f64>, String>>()?;
        match factors.iter().any(|factor| *factor > MOST_TIMES) {
            true => Err(format!("a load of more than x{MOST_TIMES} is a typing error")),
            false => Ok(Self(factors)),
        }
    }
}

/// The largest multiple of a load.
const MOST_TIMES: f64 = 10_000.0;

/// Policies of routers, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routers(pub Vec<RouterPolicy>);

impl Routers {
    /// Reads `round-robin`, or a list.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let policies: Vec<RouterPolicy> =
            text.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>()?;
        let is_twice = (1..policies.len()).any(|at| policies[..at].contains(&policies[at]));
        if is_twice { Err("a router is in the list twice".into()) } else { Ok(Self(policies)) }
    }
}

/// Bounds of autoscaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Autoscale {
    /// The least replicas, with which the run begins.
    pub min: NonZeroUsize,
    /// The most replicas.
    pub max: NonZeroUsize,
    /// The time until a new replica serves.
    pub delay: Duration,
}

impl Autoscale {
    /// Reads `2:8,delay=180s`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as MIN:MAX,delay=TIME, such as 2:8,delay=180s";
        let (bounds, delay) = text.split_once(",delay=").ok_or(FORM)?;
        let (min, max) = bounds.split_once(':').ok_or(FORM)?;
        let (min, max) = (values::count(min.trim())?, values::count(max.trim())?);
        match min > max {
            true => Err("the most replicas are fewer than the least".into()),
            false => Ok(Self { min, max, delay: values::seconds(delay.trim())? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_multiples() {
        assert_eq!(Factors::parse("x2"), Ok(Factors(vec![2.0])));
        assert_eq!(Factors::parse("x0.5, 1,2x"), Ok(Factors(vec![0.5, 1.0, 2.0])));
        for text in ["", "x", "x0", "x-1", "fast", "x2,,x3", "x1e9"] {
            assert!(Factors::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn routers_are_named_once() {
        let both = Routers::parse("round-robin, kv-load").unwrap();
        assert_eq!(both.0, [RouterPolicy::RoundRobin, RouterPolicy::KvLoad]);
        assert!(Routers::parse("random,random").is_err() && Routers::parse("best").is_err());
    }

    #[test]
    fn autoscaling_has_bounds_and_a_delay() {
        let scale = Autoscale::parse("2:8,delay=180s").unwrap();
        assert_eq!((scale.min.get(), scale.max.get(), scale.delay.as_secs()), (2, 8, 180));
        for text in ["2:8", "8:2,delay=1s", "0:2,delay=1s", "2:8,delay=soon"] {
            assert!(Autoscale::parse(text).is_err(), "{text}");
        }
    }
}
