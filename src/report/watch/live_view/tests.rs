use std::collections::VecDeque;

use super::*;
use crate::model::server::SignalAspect;

fn history(figures: &[f64]) -> VecDeque<Option<f64>> {
    figures.iter().map(|figure| (!figure.is_nan()).then_some(*figure)).collect()
}

fn condition(signal: ServerSignal, aspect: SignalAspect, figure: f64, seconds: u64) -> SignalCondition {
    SignalCondition::new(signal, aspect, figure, Duration::from_secs(seconds))
}

#[test]
fn a_row_has_figure_history_state_and_how_long() {
    let waiting = condition(ServerSignal::Waiting, SignalAspect::Value, 17.0, 130);
    let row =
        SignalTrack { condition: Some(waiting), aspect: SignalAspect::Value, history: history(&[0.0, 17.0]) };
    let expected = format!(
        "  Requests waiting                 17 requests  {:>SPARKLINE_LEN$}  ALERT for 2m 10s  above 10 requests: add capacity",
        "▁█"
    );
    assert_eq!(track_line(ServerSignal::Waiting, &row), expected);
    let idle = SignalTrack { condition: None, aspect: SignalAspect::P95, history: history(&[f64::NAN]) };
    assert_eq!(track_line(ServerSignal::Ttft, &idle), "  TTFT P95                                   -");
}

#[test]
fn news_say_what_turned_and_how_long_it_was_so() {
    let turned = |now: SignalCondition, before, seconds| StatusChange::SignalChanged {
        signal: now.signal,
        aspect: now.aspect,
        now: Some(now),
        before,
        lasted: Duration::from_secs(seconds),
    };
    let kv = |figure, seconds| condition(ServerSignal::KvUsage, SignalAspect::Value, figure, seconds);
    assert_eq!(
        status_change_text(&turned(kv(0.95, 0), SignalStatus::Ok, 0)),
        "WARN   KV cache usage 95.0 %  above 90.0 %, if for 1m: expand the KV cache"
    );
    assert_eq!(
        status_change_text(&turned(kv(0.5, 0), SignalStatus::Alert, 75)),
        "ok     KV cache usage 50.0 %, after 1m 15s of ALERT"
    );
    assert_eq!(
        status_change_text(&StatusChange::Reachable(Duration::from_secs(12))),
        "the server answers again, after 12s"
    );
}

#[test]
fn a_server_that_never_answered_is_said_to_be_one() {
    let mut monitor = ServerMonitor::default();
    monitor.observe(Duration::ZERO, None);
    monitor.observe(Duration::from_secs(4), None);
    assert_eq!(summary_line(&monitor, "no answer"), "WARN   no answer for 4s");
    assert_eq!(
        frame(Shown { url: "http://here", monitor: &monitor, missing: "no answer" }, "14:03:22", 9),
        ["http://here  no answer for 4s  14:03:22"]
    );
    let mut text = Vec::new();
    summary("http://here", &monitor, Duration::from_secs(4), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, "http://here: watched for 4s, it never answered with known metrics\n");
}

#[test]
fn where_there_is_no_room_what_has_no_limit_goes_first() {
    let lines = || {
        [("head", false), ("a", true), ("b", false), ("c", true)]
            .map(|(text, spare)| FrameLine { text: text.into(), spare })
    };
    assert_eq!(fit(lines().into(), 4), ["head", "a", "b", "c"]);
    assert_eq!(fit(lines().into(), 3), ["head", "b", "  … 2 more lines need a larger terminal"]);
    assert_eq!(fit(lines().into(), 2), ["head", "b"]);
    assert_eq!(fit(lines().into(), 1), ["head"]);
}
