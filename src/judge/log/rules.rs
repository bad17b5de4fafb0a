//! When a log gives cause for alarm: one table.

use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Requests lie in the CPU's memory instead of being computed.
    Swapped,
    /// The KV cache is nearly full.
    KvCache,
    /// Requests pile up.
    Waiting,
    /// Requests run, and yet tokens come slower than they did.
    Throughput,
    /// Requests lost their place, and are computed again.
    Preemptions,
    /// There was not enough memory.
    OutOfMemory,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// What it is about.
    pub trouble: Trouble,
    /// Its name on the command line and in JSON.
    pub name: &'static str,
    /// What is so, in words.
    pub title: &'static str,
    /// The value that must be passed, in `unit`.
    pub bound: f64,
    /// The unit of the bound, and of what was found.
    pub unit: &'static str,
    /// For how long.
    pub hold: Duration,
    /// What to do.
    pub advice: &'static str,
    /// Where bound and duration are from.
    pub source: &'static str,
}

const CHAPTER: &str = "operator's chapter on reading the log";
const WHILE_IS_OURS: &str = "operator's chapter on reading the log; how long \"a while\" is, is ours";

/// All rules, with their defaults.
pub const RULES: [Rule; 6] = [
    Rule {
        trouble: Trouble::Swapped,
        name: "swapped",
        title: "requests are swapped out",
        bound: 0.0,
        unit: "reqs",
        hold: Duration::from_secs(300),
        advice: "the KV pool is too small: add GPUs or lower concurrency (--max-num-seqs)",
        source: CHAPTER,
    },
    Rule {
        trouble: Trouble::KvCache,
        name: "kv",
        title: "the KV cache is nearly full",
        bound: 90.0,
        unit: "%",
        hold: Duration::from_secs(60),
        advice: "expand it: more GPUs, --gpu-memory-utilization, --kv-cache-dtype fp8, or a lower --max-model-len",
        source: WHILE_IS_OURS,
    },
    Rule {
        trouble: Trouble::Waiting,
        name: "waiting",
        title: "requests pile up",
        bound: 10.0,
        unit: "reqs",
        // Three lines of today's log.
        hold: Duration::from_secs(20),
        advice: "TTFT is about to blow up: add capacity, or admit fewer requests",
        source: WHILE_IS_OURS,
    },
    Rule {
        trouble: Trouble::Throughput,
        name: "throughput",
        title: "generation slows down while as many requests run",
        bound: 50.0,
        unit: "%",
        hold: Duration::from_secs(60),
        advice: "the batch is full of small requests or of prefills: check max_tokens",
        source: "operator's chapter on reading the log; half, and for a minute, is ours",
    },
    Rule {
        trouble: Trouble::Preemptions,
        name: "preemptions",
        title: "requests are preempted",
        bound: 0.0,
        unit: "preemptions",
        hold: Duration::ZERO,
        advice: "the KV pool is too small: more GPUs, --gpu-memory-utilization, or a lower --max-num-seqs",
        source: "vLLM's documentation, Optimization and Tuning, Preemption",
    },
    Rule {
        trouble: Trouble::OutOfMemory,
        name: "oom",
        title: "out of memory",
        bound: 0.0,
        unit: "lines",
        hold: Duration::ZERO,
        advice: "quantise the model (AWQ) first, then --kv-cache-dtype fp8; a lower --gpu-memory-utilization leaves \
                 more room for activations",
        source: "operator's chapter on symptoms",
    },
];

impl Trouble {
    /// Its row in the table of defaults.
    pub fn rule(self) -> &'static Rule {
        RULES.iter().find(|rule| rule.trouble == self).expect("the table has every trouble")
    }

    /// Whether it is made of events, which are counted, and not of a level that lasts.
    pub(super) fn adds_up(self) -> bool {
        matches!(self, Self::Preemptions | Self::OutOfMemory)
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.rule().name)
    }
}

/// The rules that hold for one log.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules(Vec<Rule>);

impl Default for Rules {
    fn default() -> Self {
        Self(RULES.to_vec())
    }
}

impl Rules {
    /// Replaces a bound, or takes a rule away.
    pub fn change(&mut self, change: Change) {
        self.0.retain_mut(|rule| {
            if rule.trouble != change.trouble {
                return true;
            }
            let Some((bound, hold)) = change.to else { return false };
            rule.bound = bound;
            rule.hold = hold.unwrap_or(rule.hold);
            true
        });
    }

    /// The rule about something, unless it was taken away.
    pub fn about(&self, trouble: Trouble) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.trouble == trouble)
    }
}

/// Another bound for a rule: `kv=95`, `waiting=50:2m`, `preemptions=off`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    trouble: Trouble,
    /// Bound and duration; `None` takes the rule away.
    to: Option<(f64, Option<Duration>)>,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("expected NAME=BOUND, NAME=BOUND:DURATION or NAME=off, such as kv=95:2m".to_owned());
        };
        let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
            let names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
            return Err(format!("there is no rule `{name}`: {}", names.join(", ")));
        };
        if value == "off" {
            return Ok(Self { trouble: rule.trouble, to: None });
        }
        let (bound, hold) = match value.split_once(':') {
            Some((bound, hold)) => (bound, Some(duration(hold)?)),
            None => (value, None),
        };
        Ok(Self { trouble: rule.trouble, to: Some((number(bound.trim_end_matches('%'))?, hold)) })
    }
}

fn number(text: &str) -> Result<f64, String> {
    let value: Option<f64> =
        text.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| format!("`{text}` is no bound: a number from 0 up"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is no duration: write it like 30s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_one_row_with_a_source() {
        for rule in RULES {
            assert_eq!(RULES.iter().filter(|other| other.trouble == rule.trouble).count(), 1);
            assert_eq!(rule.trouble.rule(), &rule);
            assert!(!rule.source.is_empty() && !rule.advice.is_empty());
        }
    }

    #[test]
    fn a_bound_can_be_changed_and_a_rule_taken_away() {
        let mut rules = Rules::default();
        for change in ["kv=95%", "waiting=50:2m", "preemptions=off"] {
            rules.change(change.parse().unwrap());
        }
        let of = |trouble| rules.about(trouble).map(|rule| (rule.bound, rule.hold.as_secs()));
        assert_eq!(of(Trouble::KvCache), Some((95.0, 60)));
        assert_eq!(of(Trouble::Waiting), Some((50.0, 120)));
        assert_eq!(of(Trouble::Preemptions), None);
        assert_eq!(of(Trouble::Swapped), Some((0.0, 300)));
    }

    #[test]
    fn a_change_that_means_nothing_is_told_with_its_cure() {
        let cases = [
            ("kv", "kv=95:2m"),
            ("speed=3", "no rule `speed`: swapped, kv, waiting"),
            ("kv=much", "a number from 0 up"),
            ("kv=-1", "a number from 0 up"),
            ("kv=nan", "a number from 0 up"),
            ("kv=90:soon", "like 30s or 5m"),
        ];
        for (text, words) in cases {
            let error = text.parse::<Change>().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
