//! The server's profiler during a run.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::seconds;

/// When the profiler is to start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProfileTrigger {
    /// At the start of the measured run: after the warm-up, if there is one.
    Begin,
    /// This duration after the start of the measured run.
    #[serde(rename = "after_s", with = "seconds")]
    After(Duration),
    /// Once the server reports this number of running requests; if it does not report them, once the client has this
    /// number in flight.
    Running(u64),
}

/// The requests to the profiler and the server's responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProfileReport {
    /// When the profiler is to start.
    pub trigger: ProfileTrigger,
    /// How long the profiler is to run; `None` means to the end of the run.
    #[serde(rename = "lasting_s", with = "seconds::option")]
    pub lasting: Option<Duration>,
    /// The request to start; `None` if the trigger never fired.
    pub start: Option<ProfilerCall>,
    /// The request to stop; `None` if the profiler never ran.
    pub stop: Option<ProfilerCall>,
}

/// A request to the server's profiler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedCall", into = "SavedCall")]
pub(crate) struct ProfilerCall {
    /// When the request was sent.
    pub sent: Timestamp,
    /// How long the server took to respond: it writes the profile before it responds to the request to stop.
    pub took: Duration,
    /// The server's response, or the error.
    pub answer: Result<String, String>,
}

/// A call in JSON: with an `answer` or an `error`.
#[derive(Serialize, Deserialize)]
struct SavedCall {
    sent: Timestamp,
    #[serde(with = "seconds")]
    took_s: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<SavedAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SavedAnswer {
    Text(String),
    /// The form of schema 1: `{"Ok": …}` or `{"Err": …}`.
    Tagged(Result<String, String>),
}

impl From<ProfilerCall> for SavedCall {
    fn from(ProfilerCall { sent, took, answer }: ProfilerCall) -> Self {
        let error = answer.as_ref().err().cloned();
        Self { sent, took_s: took, answer: answer.ok().map(SavedAnswer::Text), error }
    }
}

impl From<SavedCall> for ProfilerCall {
    fn from(saved: SavedCall) -> Self {
        let answer = match saved.answer {
            Some(SavedAnswer::Text(answer)) => Ok(answer),
            Some(SavedAnswer::Tagged(answer)) => answer,
            None => Err(saved.error.unwrap_or_default()),
        };
        Self { sent: saved.sent, took: saved.took_s, answer }
    }
}

impl ProfileReport {
    /// Returns whether the profiler was started.
    pub(crate) fn is_started(&self) -> bool {
        matches!(&self.start, Some(ProfilerCall { answer: Ok(_), .. }))
    }

    /// The error as a sentence; `None` if the profiler started and stopped.
    pub(crate) fn failure_reason(&self) -> Option<String> {
        let refused =
            |order: &Option<ProfilerCall>| order.as_ref().and_then(|order| order.answer.clone().err());
        if self.start.is_none() {
            return Some(format!("the server was not profiled: {}", self.trigger));
        }
        if let Some(why) = refused(&self.start) {
            return Some(format!("the server was not profiled: {why}"));
        }
        refused(&self.stop).map(|why| format!("the server's profiler started but did not stop: {why}"))
    }
}

impl fmt::Display for ProfileTrigger {
    /// Writes the reason why the trigger never fired.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("the run ended before the request could be sent"),
            Self::After(time) => {
                write!(f, "the run ended before {}", humantime::format_duration(*time))
            }
            Self::Running(1) => f.write_str("it never had a running request"),
            Self::Running(count) => write!(f, "it never had {count} running requests"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(answer: Result<&str, &str>) -> Option<ProfilerCall> {
        let answer = answer.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        Some(ProfilerCall { sent: Timestamp::UNIX_EPOCH, took: Duration::from_millis(3), answer })
    }

    fn capture(
        trigger: ProfileTrigger,
        start: Option<ProfilerCall>,
        stop: Option<ProfilerCall>,
    ) -> ProfileReport {
        ProfileReport { trigger, lasting: Some(Duration::from_secs(10)), start, stop }
    }

    #[test]
    fn what_went_wrong_is_one_sentence() {
        let trouble = |trigger, start, stop| capture(trigger, start, stop).failure_reason();
        assert_eq!(trouble(ProfileTrigger::Begin, order(Ok("HTTP 200")), order(Ok("HTTP 200"))), None);
        let cases = [
            (
                trouble(ProfileTrigger::Running(200), None, None),
                "not profiled: it never had 200 running requests",
            ),
            (trouble(ProfileTrigger::After(Duration::from_secs(30)), None, None), "the run ended before 30s"),
            (trouble(ProfileTrigger::Begin, order(Err("HTTP 404")), None), "not profiled: HTTP 404"),
            (trouble(ProfileTrigger::Begin, order(Ok("")), order(Err("HTTP 500"))), "did not stop: HTTP 500"),
        ];
        for (said, expected) in cases {
            assert!(said.as_ref().unwrap().ends_with(expected), "{said:?}");
        }
    }

    #[test]
    fn a_capture_survives_its_json() {
        for trigger in [
            ProfileTrigger::Begin,
            ProfileTrigger::After(Duration::from_secs(30)),
            ProfileTrigger::Running(200),
        ] {
            let capture = capture(trigger, order(Ok("HTTP 200")), order(Err("gone")));
            let json = serde_json::to_string(&capture).unwrap();
            assert_eq!(serde_json::from_str::<ProfileReport>(&json).unwrap(), capture, "{json}");
        }
    }

    #[test]
    fn an_answer_is_a_plain_text_and_is_read_in_the_form_of_schema_1_too() {
        let sent = r#""sent":"1970-01-01T00:00:00Z","took_s":0.003"#;
        for (answer, new, old) in [
            (order(Ok("HTTP 200")), r#""answer":"HTTP 200""#, r#""answer":{"Ok":"HTTP 200"}"#),
            (order(Err("gone")), r#""error":"gone""#, r#""answer":{"Err":"gone"}"#),
        ] {
            let written = format!("{{{sent},{new}}}");
            assert_eq!(serde_json::to_string(&answer).unwrap(), written);
            for form in [written, format!("{{{sent},{old}}}")] {
                assert_eq!(serde_json::from_str::<Option<ProfilerCall>>(&form).unwrap(), answer);
            }
        }
    }
}
