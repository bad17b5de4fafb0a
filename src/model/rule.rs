//! Rules: bounds on a metric of a run. `ttft.p95 < 500ms`, `tpot.mean <= baseline * 1.05 or <= baseline + 5ms`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::metrics::Direction;
use crate::model::metric_id::{MetricId, MetricUnit, UnknownMetric};

/// A metric and its bounds; the metric must meet at least one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MetricRule {
    /// The bounded metric.
    pub figure: MetricId,
    /// The alternative bounds; never empty.
    pub(crate) bounds: Vec<RuleBound>,
}

/// A one-sided bound on a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RuleBound {
    /// The allowed side of the limit.
    pub side: BoundSide,
    /// Whether the limit itself is allowed.
    pub inclusive: bool,
    /// The limit.
    pub limit: RuleLimit,
}

/// A side of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundSide {
    /// `<`, `<=`.
    Below,
    /// `>`, `>=`.
    Above,
}

/// A limit in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RuleLimit {
    /// A number.
    Fixed(f64),
    /// `baseline * factor + offset`.
    Baseline {
        /// The factor that multiplies the baseline's value.
        factor: f64,
        /// The offset that is then added, in the metric's unit.
        offset: f64,
    },
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The text contains no comparison.
    #[error("`{0}` has no comparison: write a rule as `ttft.p95 < 500ms` or `tpot.mean <= baseline * 1.05`")]
    NoComparison(String),
    /// The metric is unknown.
    #[error(transparent)]
    Figure(#[from] UnknownMetric),
    /// The bound cannot be parsed.
    #[error(
        "`{text}` is not a limit for {figure}: write {example}, `baseline * 1.05`, or `baseline + 5ms`", example = example(*figure)
    )]
    Limit {
        /// The text of the bound.
        text: String,
        /// The bounded metric.
        figure: MetricDisplayName,
    },
    /// The bound is on the wrong side: better values lie beyond it.
    #[error("`{0}` is violated when the metric improves: reverse the comparison")]
    WrongWay(String),
}

/// A metric in an error message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricDisplayName(MetricId);

impl Eq for MetricDisplayName {}

impl fmt::Display for MetricDisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn example(figure: MetricDisplayName) -> &'static str {
    match figure.0.unit() {
        MetricUnit::Milliseconds => "`500ms`, `1.5s`",
        MetricUnit::Share => "`1%`, `0.01`",
        MetricUnit::Plain(_) => "`2800`",
    }
}

impl RuleBound {
    /// Returns whether a value meets the bound; `None` if the bound needs a baseline and there is none.
    pub(crate) fn is_met(&self, value: f64, baseline: Option<f64>) -> Option<bool> {
        let limit = self.limit.resolve(baseline)?;
        Some(match (self.side, self.inclusive) {
            (BoundSide::Below, true) => value <= limit,
            (BoundSide::Below, false) => value < limit,
            (BoundSide::Above, true) => value >= limit,
            (BoundSide::Above, false) => value > limit,
        })
    }
}

impl RuleLimit {
    /// The limit as a number; `None` if it needs a baseline and there is none.
    pub(crate) fn resolve(self, baseline: Option<f64>) -> Option<f64> {
        match self {
            Self::Fixed(limit) => Some(limit),
            Self::Baseline { factor, offset } => Some(baseline? * factor + offset),
        }
    }
}

impl MetricRule {
    /// Returns whether any bound needs a baseline.
    pub fn needs_baseline(&self) -> bool {
        self.bounds.iter().any(|bound| matches!(bound.limit, RuleLimit::Baseline { .. }))
    }

    /// Returns whether a value meets one of the bounds; `None` if that needs a baseline and there is none.
    pub(crate) fn is_rule_met(&self, value: f64, baseline: Option<f64>) -> Option<bool> {
        let mut unknown = false;
        for bound in &self.bounds {
            match bound.is_met(value, baseline) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(false)
    }
}

impl FromStr for MetricRule {
    type Err = RuleError;

    /// Parses `METRIC OP LIMIT [or OP LIMIT]...`; a bare number is in the metric's unit (milliseconds for latencies).
    fn from_str(text: &str) -> Result<Self, RuleError> {
        parse_rule(text, |figure, bound| {
            let better =
                if figure.direction() == Direction::Lower { BoundSide::Below } else { BoundSide::Above };
            bound.side == better
        })
    }
}

/// Parses a rule. `accepts` tells whether a bound may be on its side of the limit.
pub(super) fn parse_rule(
    text: &str,
    accepts: fn(MetricId, &RuleBound) -> bool,
) -> Result<MetricRule, RuleError> {
    let at = text.find(['<', '>']).ok_or_else(|| RuleError::NoComparison(text.trim().to_owned()))?;
    let figure: MetricId = text[..at].trim().parse()?;
    let bounds = text[at..].split(" or ").map(|part| {
        let part = part.trim();
        let bound = parse_bound(figure, part)?;
        if accepts(figure, &bound) { Ok(bound) } else { Err(RuleError::WrongWay(format!("{figure} {part}"))) }
    });
    Ok(MetricRule { figure, bounds: bounds.collect::<Result<_, _>>()? })
}

fn parse_bound(figure: MetricId, text: &str) -> Result<RuleBound, RuleError> {
    let side = match text.as_bytes().first() {
        Some(b'<') => BoundSide::Below,
        Some(b'>') => BoundSide::Above,
        _ => return Err(RuleError::NoComparison(text.to_owned())),
    };
    let rest = &text[1..];
    let (inclusive, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
    let limit = parse_limit(figure.unit(), rest.trim());
    let limit = limit.ok_or_else(|| RuleError::Limit {
        text: rest.trim().to_owned(),
        figure: MetricDisplayName(figure),
    })?;
    Ok(RuleBound { side, inclusive, limit })
}

fn parse_limit(unit: MetricUnit, text: &str) -> Option<RuleLimit> {
    let Some(mut rest) = text.strip_prefix("baseline").map(str::trim_start) else {
        return parse_amount(unit, text).map(RuleLimit::Fixed);
    };
    let (mut factor, mut offset) = (1.0, 0.0);
    if let Some(after) = rest.strip_prefix('*').map(str::trim_start) {
        let end = factor_end(after);
        factor = after[..end].parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0)?;
        rest = after[end..].trim_start();
    }
    if !rest.is_empty() {
        let sign = match rest.as_bytes()[0] {
            b'+' => 1.0,
            b'-' => -1.0,
            _ => return None,
        };
        offset = sign * parse_amount(unit, rest[1..].trim())?;
    }
    Some(RuleLimit::Baseline { factor, offset })
}

/// The end of a factor: a sign ends it unless it is part of an exponent, as in `1e-3`.
fn factor_end(text: &str) -> usize {
    let ends = |(at, byte): &(usize, u8)| match byte {
        b' ' => true,
        b'+' | b'-' => !text[..*at].ends_with(['e', 'E']),
        _ => false,
    };
    text.bytes().enumerate().find(ends).map_or(text.len(), |(at, _)| at)
}

/// Parses a number with or without its unit and returns it in the metric's unit; it must be finite and not negative.
fn parse_amount(unit: MetricUnit, text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match unit {
        MetricUnit::Milliseconds => match text.parse::<f64>() {
            Ok(number) => number,
            Err(_) => parse_milliseconds(text)?,
        },
        MetricUnit::Share => match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
            None => text.parse().ok()?,
        },
        MetricUnit::Plain(name) => text.strip_suffix(name).unwrap_or(text).trim().parse().ok()?,
    };
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// Parses `500ms`, `1.5s` or `2m` as milliseconds.
fn parse_milliseconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 4] = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    let (name, scale) = UNITS.into_iter().find(|(name, _)| text.ends_with(name))?;
    text[..text.len() - name.len()].trim().parse::<f64>().ok().map(|number| number * scale)
}

impl fmt::Display for MetricRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.figure)?;
        for (i, bound) in self.bounds.iter().enumerate() {
            let side = if bound.side == BoundSide::Below { "<" } else { ">" };
            let or = if i > 0 { " or" } else { "" };
            write!(f, "{or} {side}{} ", if bound.inclusive { "=" } else { "" })?;
            write_limit(f, self.figure.unit(), bound.limit)?;
        }
        Ok(())
    }
}

fn write_limit(f: &mut fmt::Formatter<'_>, unit: MetricUnit, limit: RuleLimit) -> fmt::Result {
    match limit {
        RuleLimit::Fixed(value) => write_amount(f, unit, value),
        RuleLimit::Baseline { factor, offset } => {
            f.write_str("baseline")?;
            if factor != 1.0 {
                write!(f, " * {factor}")?;
            }
            if offset != 0.0 {
                f.write_str(if offset > 0.0 { " + " } else { " - " })?;
                write_amount(f, unit, offset.abs())?;
            }
            Ok(())
        }
    }
}

fn write_amount(f: &mut fmt::Formatter<'_>, unit: MetricUnit, value: f64) -> fmt::Result {
    match unit {
        MetricUnit::Milliseconds => write!(f, "{value}ms"),
        // 100 times the share would print digits that nobody wrote.
        MetricUnit::Share => write!(f, "{}%", (value * 1e8).round() / 1e6),
        MetricUnit::Plain(_) => write!(f, "{value}"),
    }
}

impl TryFrom<String> for MetricRule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<MetricRule> for String {
    fn from(rule: MetricRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests;
