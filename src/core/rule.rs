//! A rule: what a figure of a run must keep to. `ttft.p95 < 500ms`, `tpot.mean <= baseline * 1.05 or <= baseline + 5ms`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Unit, UnknownFigure};
use super::metrics::Direction;

/// A figure and its bounds, of which it must keep at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// What is bounded.
    pub figure: Figure,
    /// Never empty.
    pub bounds: Vec<Bound>,
}

/// One side of which a figure must stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Which side.
    pub side: Side,
    /// Whether the limit itself is still allowed.
    pub inclusive: bool,
    /// Where the side begins.
    pub limit: Limit,
}

/// A side of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `<`, `<=`.
    Below,
    /// `>`, `>=`.
    Above,
}

/// A limit in the figure's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// A number.
    Fixed(f64),
    /// `baseline * factor + offset`.
    Baseline {
        /// What the baseline's value is multiplied by.
        factor: f64,
        /// What is added then.
        offset: f64,
    },
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nothing is compared.
    #[error("`{0}` compares nothing: write a rule as `ttft.p95 < 500ms` or `tpot.mean <= baseline * 1.05`")]
    NoComparison(String),
    /// The figure is unknown.
    #[error(transparent)]
    Figure(#[from] UnknownFigure),
    /// What it is compared with cannot be read.
    #[error(
        "`{text}` is no bound for {figure}: write {example}, `baseline * 1.05`, or `baseline + 5ms`", example = example(*figure)
    )]
    Limit {
        /// What was written.
        text: String,
        /// For which figure.
        figure: FigureName,
    },
    /// Better is on the other side.
    #[error("`{0}` holds the figure back from getting better: turn the comparison round")]
    WrongWay(String),
}

/// A figure in an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FigureName(Figure);

impl Eq for FigureName {}

impl fmt::Display for FigureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn example(figure: FigureName) -> &'static str {
    match figure.0.unit() {
        Unit::Milliseconds => "`500ms`, `1.5s`",
        Unit::Share => "`1%`, `0.01`",
        Unit::Plain(_) => "`2800`",
    }
}

impl Bound {
    /// Whether a value keeps it; `None` where it needs a baseline and there is none.
    pub fn holds(&self, value: f64, baseline: Option<f64>) -> Option<bool> {
        let limit = self.limit.resolve(baseline)?;
        Some(match (self.side, self.inclusive) {
            (Side::Below, true) => value <= limit,
            (Side::Below, false) => value < limit,
            (Side::Above, true) => value >= limit,
            (Side::Above, false) => value > limit,
        })
    }
}

impl Limit {
    /// The limit as a number; `None` where it needs a baseline and there is none.
    pub fn resolve(self, baseline: Option<f64>) -> Option<f64> {
        match self {
            Self::Fixed(limit) => Some(limit),
            Self::Baseline { factor, offset } => Some(baseline? * factor + offset),
        }
    }
}

impl Rule {
    /// Whether any bound needs a baseline.
    pub fn needs_baseline(&self) -> bool {
        self.bounds.iter().any(|bound| matches!(bound.limit, Limit::Baseline { .. }))
    }

    /// Whether a value keeps one of the bounds; `None` where that needs a baseline and there is none.
    pub fn holds(&self, value: f64, baseline: Option<f64>) -> Option<bool> {
        let mut unknown = false;
        for bound in &self.bounds {
            match bound.holds(value, baseline) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(false)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    /// Reads `FIGURE OP LIMIT [or OP LIMIT]...`; a bare number is in the figure's unit (milliseconds for latencies).
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let at = text.find(['<', '>']).ok_or_else(|| RuleError::NoComparison(text.trim().to_owned()))?;
        let figure: Figure = text[..at].trim().parse()?;
        let bounds = text[at..].split(" or ").map(|part| bound(figure, part.trim()));
        Ok(Self { figure, bounds: bounds.collect::<Result<_, _>>()? })
    }
}

fn bound(figure: Figure, text: &str) -> Result<Bound, RuleError> {
    let side = match text.as_bytes().first() {
        Some(b'<') => Side::Below,
        Some(b'>') => Side::Above,
        _ => return Err(RuleError::NoComparison(text.to_owned())),
    };
    let better = if figure.direction() == Direction::Lower { Side::Below } else { Side::Above };
    if side != better {
        return Err(RuleError::WrongWay(format!("{figure} {text}")));
    }
    let rest = &text[1..];
    let (inclusive, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
    let limit = limit(figure.unit(), rest.trim());
    let limit =
        limit.ok_or_else(|| RuleError::Limit { text: rest.trim().to_owned(), figure: FigureName(figure) })?;
    Ok(Bound { side, inclusive, limit })
}

fn limit(unit: Unit, text: &str) -> Option<Limit> {
    let Some(mut rest) = text.strip_prefix("baseline").map(str::trim_start) else {
        return amount(unit, text).map(Limit::Fixed);
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
        offset = sign * amount(unit, rest[1..].trim())?;
    }
    Some(Limit::Baseline { factor, offset })
}

/// Where a factor ends: a sign ends it unless it is that of an exponent, as in `1e-3`.
fn factor_end(text: &str) -> usize {
    let ends = |(at, byte): &(usize, u8)| match byte {
        b' ' => true,
        b'+' | b'-' => !text[..*at].ends_with(['e', 'E']),
        _ => false,
    };
    text.bytes().enumerate().find(ends).map_or(text.len(), |(at, _)| at)
}

/// A number with or without its unit, in the figure's unit; finite and not negative.
fn amount(unit: Unit, text: &str) -> Option<f64> {
    let text = text.trim();
    let value = match unit {
        Unit::Milliseconds => match text.parse::<f64>() {
            Ok(number) => number,
            Err(_) => fraction_of_time(text)?,
        },
        Unit::Share => match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
            None => text.parse().ok()?,
        },
        Unit::Plain(name) => text.strip_suffix(name).unwrap_or(text).trim().parse().ok()?,
    };
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// `500ms`, `1.5s`, `2m` in milliseconds.
fn fraction_of_time(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 4] = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    let (name, scale) = UNITS.into_iter().find(|(name, _)| text.ends_with(name))?;
    text[..text.len() - name.len()].trim().parse::<f64>().ok().map(|number| number * scale)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.figure)?;
        for (i, bound) in self.bounds.iter().enumerate() {
            let side = if bound.side == Side::Below { "<" } else { ">" };
            let or = if i > 0 { " or" } else { "" };
            write!(f, "{or} {side}{} ", if bound.inclusive { "=" } else { "" })?;
            write_limit(f, self.figure.unit(), bound.limit)?;
        }
        Ok(())
    }
}

fn write_limit(f: &mut fmt::Formatter<'_>, unit: Unit, limit: Limit) -> fmt::Result {
    match limit {
        Limit::Fixed(value) => write_amount(f, unit, value),
        Limit::Baseline { factor, offset } => {
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

fn write_amount(f: &mut fmt::Formatter<'_>, unit: Unit, value: f64) -> fmt::Result {
    match unit {
        Unit::Milliseconds => write!(f, "{value}ms"),
        // Not 100 times the share, which has digits that nobody wrote.
        Unit::Share => write!(f, "{}%", (value * 1e8).round() / 1e6),
        Unit::Plain(_) => write!(f, "{value}"),
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests;
