//! What became of the server's profiler during a run.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::units::seconds;

/// When the profiler is to start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// With the measured run: after the warm-up, if there is one.
    Begin,
    /// So long after the measured run began.
    #[serde(rename = "after_s", with = "seconds")]
    After(Duration),
    /// Once the server has so many requests running; where it does not tell, once so many are in flight here.
    Running(u64),
}

/// What was asked of the profiler, and what the server answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// When it was to start.
    pub trigger: Trigger,
    /// How long it was to run; `None`: to the end of the run.
    #[serde(rename = "lasting_s", with = "seconds::option")]
    pub lasting: Option<Duration>,
    /// The order to start; `None` if the moment for it never came.
    pub start: Option<Order>,
    /// The order to stop; `None` where it never ran.
    pub stop: Option<Order>,
}

/// An order to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// When it was sent.
    pub sent: Timestamp,
    /// How long the server took to answer: a profile is written before the order to stop is answered.
    #[serde(rename = "took_s", with = "seconds")]
    pub took: Duration,
    /// What it answered, or what went wrong.
    pub answer: Result<String, String>,
}

impl Capture {
    /// Whether the profiler was started.
    pub fn started(&self) -> bool {
        matches!(&self.start, Some(Order { answer: Ok(_), .. }))
    }

    /// What went wrong, in a sentence; `None` if the profiler ran and stopped.
    pub fn trouble(&self) -> Option<String> {
        let refused = |order: &Option<Order>| order.as_ref().and_then(|order| order.answer.clone().err());
        if self.start.is_none() {
            return Some(format!("the server was not profiled: {}", self.trigger));
        }
        if let Some(why) = refused(&self.start) {
            return Some(format!("the server was not profiled: {why}"));
        }
        refused(&self.stop).map(|why| format!("the server's profiler was started and did not stop: {why}"))
    }
}

impl fmt::Display for Trigger {
    /// Why the moment never came.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("the run was over before the order could be sent"),
            Self::After(time) => {
                write!(f, "the run was over before {}", humantime::format_duration(*time))
            }
            Self::Running(1) => f.write_str("it never had a request running"),
            Self::Running(count) => write!(f, "it never had {count} requests running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(answer: Result<&str, &str>) -> Option<Order> {
        let answer = answer.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        Some(Order { sent: Timestamp::UNIX_EPOCH, took: Duration::from_millis(3), answer })
    }

    fn capture(trigger: Trigger, start: Option<Order>, stop: Option<Order>) -> Capture {
        Capture { trigger, lasting: Some(Duration::from_secs(10)), start, stop }
    }

    #[test]
    fn what_went_wrong_is_one_sentence() {
        let trouble = |trigger, start, stop| capture(trigger, start, stop).trouble();
        assert_eq!(trouble(Trigger::Begin, order(Ok("HTTP 200")), order(Ok("HTTP 200"))), None);
        let cases = [
            (trouble(Trigger::Running(200), None, None), "not profiled: it never had 200 requests running"),
            (trouble(Trigger::After(Duration::from_secs(30)), None, None), "the run was over before 30s"),
            (trouble(Trigger::Begin, order(Err("HTTP 404")), None), "not profiled: HTTP 404"),
            (trouble(Trigger::Begin, order(Ok("")), order(Err("HTTP 500"))), "did not stop: HTTP 500"),
        ];
        for (said, expected) in cases {
            assert!(said.as_ref().unwrap().ends_with(expected), "{said:?}");
        }
    }

    #[test]
    fn a_capture_survives_its_json() {
        for trigger in [Trigger::Begin, Trigger::After(Duration::from_secs(30)), Trigger::Running(200)] {
            let capture = capture(trigger, order(Ok("HTTP 200")), order(Err("gone")));
            let json = serde_json::to_string(&capture).unwrap();
            assert_eq!(serde_json::from_str::<Capture>(&json).unwrap(), capture, "{json}");
        }
    }
}
