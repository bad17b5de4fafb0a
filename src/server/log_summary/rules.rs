//! The table of alert rules for logs.

use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A problem that a log can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogIssue {
    /// The KV blocks of requests are in CPU memory, so these requests wait.
    Swapped,
    /// The KV cache is nearly full.
    KvCache,
    /// Requests queue up.
    Waiting,
    /// Requests run, but throughput has dropped.
    Throughput,
    /// Requests were preempted and are computed again.
    Preemptions,
    /// A process ran out of memory.
    OutOfMemory,
    /// The server logged errors.
    Errors,
    /// The server answered requests with a status of 500 or more.
    ServerErrors,
    /// The server rejected requests with a status of 400 to 499.
    Refusals,
    /// A line has an earlier timestamp than the one before it.
    Clock,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlertRule {
    /// The problem that the rule detects.
    pub trouble: LogIssue,
    /// The rule's name on the command line and in JSON.
    pub name: &'static str,
    /// The problem in words.
    pub title: &'static str,
    /// The threshold of the alert, in `unit`.
    pub bound: f64,
    /// The unit of the bound and of the observed values.
    pub unit: &'static str,
    /// How long the threshold must be violated.
    pub hold: Duration,
    /// What to do about the problem.
    pub advice: &'static str,
    /// The source of the bound and the duration.
    pub source: &'static str,
}

const GUIDE: &str = "docs/operators-guide.md, the log line";
const OURS: &str = "servegauge's choice";
const OWN_DURATION: &str = "docs/operators-guide.md, the log line; duration chosen by servegauge";

/// All rules, with their defaults.
pub(crate) const ALERT_RULES: [AlertRule; 10] = [
    AlertRule {
        trouble: LogIssue::Swapped,
        name: "swapped",
        title: "requests are swapped out",
        bound: 0.0,
        unit: "reqs",
        hold: Duration::from_secs(300),
        advice: "the KV pool is too small: add GPUs or lower concurrency (--max-num-seqs)",
        source: GUIDE,
    },
    AlertRule {
        trouble: LogIssue::KvCache,
        name: "kv",
        title: "the KV cache is nearly full",
        bound: 90.0,
        unit: "%",
        hold: Duration::from_secs(60),
        advice: "expand it: more GPUs, --gpu-memory-utilization, --kv-cache-dtype fp8, or a lower --max-model-len",
        source: OWN_DURATION,
    },
    AlertRule {
        trouble: LogIssue::Waiting,
        name: "waiting",
        title: "requests pile up",
        bound: 10.0,
        unit: "reqs",
        // Three lines of a current log.
        hold: Duration::from_secs(20),
        advice: "TTFT will rise sharply: add capacity, or admit fewer requests",
        source: OWN_DURATION,
    },
    AlertRule {
        trouble: LogIssue::Throughput,
        name: "throughput",
        title: "generation slows down although about as many requests run",
        bound: 50.0,
        unit: "%",
        hold: Duration::from_secs(60),
        advice: "the batch is full of small requests or of prefills: check max_tokens",
        source: "docs/operators-guide.md, the log line; 50 % and 1 min chosen by servegauge",
    },
    AlertRule {
        trouble: LogIssue::Preemptions,
        name: "preemptions",
        title: "requests are preempted",
        bound: 0.0,
        unit: "preemptions",
        hold: Duration::ZERO,
        advice: "the KV pool is too small: more GPUs, --gpu-memory-utilization, or a lower --max-num-seqs",
        source: "vLLM's documentation, Optimization and Tuning, Preemption",
    },
    AlertRule {
        trouble: LogIssue::OutOfMemory,
        name: "oom",
        title: "out of memory",
        bound: 0.0,
        unit: "lines",
        hold: Duration::ZERO,
        advice: "quantize the model (AWQ) first, then --kv-cache-dtype fp8; a lower --gpu-memory-utilization leaves \
                 more room for activations",
        source: "docs/operators-guide.md, symptoms",
    },
    AlertRule {
        trouble: LogIssue::Errors,
        name: "errors",
        title: "the server reports errors",
        bound: 0.0,
        unit: "lines",
        hold: Duration::ZERO,
        advice: "read those lines; each line of a traceback counts",
        source: OURS,
    },
    AlertRule {
        trouble: LogIssue::ServerErrors,
        name: "5xx",
        title: "requests end with 5xx",
        bound: 0.0,
        unit: "requests",
        hold: Duration::ZERO,
        advice: "503 is a full queue: admit fewer requests or add capacity; other statuses have an error above them",
        source: OURS,
    },
    AlertRule {
        trouble: LogIssue::Refusals,
        name: "refused",
        title: "many requests are rejected with 4xx",
        bound: 10.0,
        unit: "requests",
        hold: Duration::ZERO,
        advice: "429 is a rate limit; 400, 404 and 422 are client errors: check model name, length and parameters",
        source: OURS,
    },
    AlertRule {
        trouble: LogIssue::Clock,
        name: "clock",
        title: "timestamps go backwards",
        // Processes that share a log may write slightly out of order.
        bound: 5.0,
        unit: "s",
        hold: Duration::ZERO,
        advice: "the clock was set back, or the log files are out of order; durations around this point are unknown",
        source: OURS,
    },
];

impl LogIssue {
    /// Returns the problem's rule in the table of defaults.
    pub fn default_rule(self) -> &'static AlertRule {
        ALERT_RULES.iter().find(|rule| rule.trouble == self).expect("the table has every trouble")
    }

    /// Whether the rule counts events, as opposed to a lasting level.
    pub fn is_event_count(self) -> bool {
        matches!(
            self,
            Self::Preemptions | Self::OutOfMemory | Self::Errors | Self::ServerErrors | Self::Refusals
        )
    }
}

impl Serialize for LogIssue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.default_rule().name)
    }
}

/// The rules for one log.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRules(Vec<AlertRule>);

impl Default for AlertRules {
    fn default() -> Self {
        Self(ALERT_RULES.to_vec())
    }
}

impl AlertRules {
    /// Changes a bound, or removes a rule.
    pub fn apply(&mut self, change: RuleOverride) {
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

    /// Returns the rule for a problem, unless it was removed.
    pub fn rule_for(&self, trouble: LogIssue) -> Option<&AlertRule> {
        self.0.iter().find(|rule| rule.trouble == trouble)
    }
}

/// A changed bound for a rule: `kv=95`, `waiting=50:2m`, `preemptions=off`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RuleOverride {
    trouble: LogIssue,
    /// Bound and duration; `None` removes the rule.
    to: Option<(f64, Option<Duration>)>,
}

impl FromStr for RuleOverride {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err("expected NAME=BOUND, NAME=BOUND:DURATION or NAME=off, such as kv=95:2m".to_owned());
        };
        let Some(rule) = ALERT_RULES.iter().find(|rule| rule.name == name) else {
            let names: Vec<_> = ALERT_RULES.iter().map(|rule| rule.name).collect();
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
    value.ok_or_else(|| format!("`{text}` is not a bound: write a number from 0 up"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration: write it like 30s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_one_row_with_a_source() {
        for rule in ALERT_RULES {
            assert_eq!(ALERT_RULES.iter().filter(|other| other.trouble == rule.trouble).count(), 1);
            assert_eq!(rule.trouble.default_rule(), &rule);
            assert!(!rule.source.is_empty() && !rule.advice.is_empty());
        }
    }

    #[test]
    fn a_bound_can_be_changed_and_a_rule_taken_away() {
        let mut rules = AlertRules::default();
        for change in ["kv=95%", "waiting=50:2m", "preemptions=off"] {
            rules.apply(change.parse().unwrap());
        }
        let of = |trouble| rules.rule_for(trouble).map(|rule| (rule.bound, rule.hold.as_secs()));
        assert_eq!(of(LogIssue::KvCache), Some((95.0, 60)));
        assert_eq!(of(LogIssue::Waiting), Some((50.0, 120)));
        assert_eq!(of(LogIssue::Preemptions), None);
        assert_eq!(of(LogIssue::Swapped), Some((0.0, 300)));
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
            let error = text.parse::<RuleOverride>().unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
