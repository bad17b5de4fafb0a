//! Shares of one count in another, and those that cannot be.

use std::fmt;

use super::ServerSignal;

/// The largest share that rounding explains, and two counters that are read a moment apart.
const MAX_SHARE: f64 = 1.01;

/// The shares of one counter in another: the name, the part, and the whole.
const SHARES_OF_COUNTERS: [(&str, ServerSignal, ServerSignal); 2] = [
    ("Prefix cache hit rate", ServerSignal::PrefixHits, ServerSignal::PrefixQueries),
    ("Draft acceptance rate", ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDraftTokens),
];

/// A share above 1: at least one of its counts is wrong, so it is left out of everything that uses it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImpossibleShare {
    /// The name of the share.
    pub what: &'static str,
    /// The name and the value of the part, or the reported share itself.
    pub part: (&'static str, f64),
    /// The name and the value of the whole; `None` if the server reports the share itself.
    pub whole: Option<(&'static str, f64)>,
}

/// Whether a share can be one.
pub(crate) fn is_possible(share: f64) -> bool {
    share <= MAX_SHARE
}

/// Returns the share of a part in a whole; `None` if there is no whole, or if the share is impossible.
pub(crate) fn share_of(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then_some(part / whole).filter(|share| is_possible(*share))
}

impl ImpossibleShare {
    /// Returns the share of these counts if it is impossible.
    pub(crate) fn of_counts(
        what: &'static str,
        part: (&'static str, f64),
        whole: (&'static str, f64),
    ) -> Option<Self> {
        let is_impossible = part.1 > 0.0 && share_of(part.1, whole.1).is_none();
        is_impossible.then_some(Self { what, part, whole: Some(whole) })
    }

    /// Returns the impossible share that a gauge reports.
    pub(crate) fn of_gauge(signal: ServerSignal, level: f64) -> Self {
        Self { what: signal.info().label, part: ("the reported value", level), whole: None }
    }

    /// Returns the impossible shares of a server's counters. `count` returns the increase of a counter.
    pub(crate) fn of_counters(count: impl Fn(ServerSignal) -> Option<f64>) -> impl Iterator<Item = Self> {
        SHARES_OF_COUNTERS.into_iter().filter_map(move |(what, part, whole)| {
            let named = |signal: ServerSignal| Some((signal.info().label, count(signal)?));
            Self::of_counts(what, named(part)?, named(whole)?)
        })
    }
}

impl fmt::Display for ImpossibleShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, part: (part, count), .. } = self;
        match self.whole {
            Some((whole, of)) => {
                write!(f, "{what}: {part} {count} exceeds {whole} {of}, which is impossible")
            }
            None => write!(f, "{what}: {part} {count} exceeds 1, which is impossible for a share"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_above_one_is_none_beyond_rounding() {
        assert_eq!(
            (share_of(1.0, 4.0), share_of(4.0, 4.0), share_of(1.005, 1.0)),
            (Some(0.25), Some(1.0), Some(1.005))
        );
        assert_eq!((share_of(5.0, 1.0), share_of(0.0, 0.0), share_of(f64::NAN, 1.0)), (None, None, None));
    }

    #[test]
    fn both_counters_are_named() {
        let counts = |part| ImpossibleShare::of_counts("hit rate", ("hits", part), ("queries", 100.0));
        assert_eq!(counts(100.0), None);
        let text = counts(500.0).unwrap().to_string();
        assert_eq!(text, "hit rate: hits 500 exceeds queries 100, which is impossible");
    }
}
