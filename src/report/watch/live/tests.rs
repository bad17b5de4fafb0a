use super::*;
use crate::core::server::Aspect;

fn history(figures: &[f64]) -> VecDeque<Option<f64>> {
    figures.iter().map(|figure| (!figure.is_nan()).then_some(*figure)).collect()
}

fn condition(signal: Signal, aspect: Aspect, figure: f64, seconds: u64) -> Condition {
    Condition::of(signal, aspect, figure, Duration::from_secs(seconds))
}

#[test]
fn sparks_are_of_the_highest_or_of_the_whole() {
    assert_eq!(sparks(&history(&[0.0, 1.0, 2.0, f64::NAN, 7.0]), None), "▁▂▃ █");
    assert_eq!(sparks(&history(&[0.5, 0.1]), Some(1.0)), "▅▂");
    assert_eq!(sparks(&history(&[0.0, 0.0]), None), "▁▁");
    assert_eq!(sparks(&history(&[3.0; 99]), None).chars().count(), SPARKS);
    assert_eq!(sparks(&history(&[]), None), "");
}

#[test]
fn a_row_has_figure_history_state_and_how_long() {
    let waiting = condition(Signal::Waiting, Aspect::Value, 17.0, 130);
    let row = Row { condition: Some(waiting), aspect: Aspect::Value, history: history(&[0.0, 17.0]) };
    let expected = format!(
        "  Requests waiting                 17 requests  {:>SPARKS$}  ALERT for 2m 10s  above 10 requests: add capacity",
        "▁█"
    );
    assert_eq!(drawn(Signal::Waiting, &row), expected);
    let idle = Row { condition: None, aspect: Aspect::P95, history: history(&[f64::NAN]) };
    assert_eq!(drawn(Signal::Ttft, &idle), "  TTFT P95                                   -");
}

#[test]
fn news_say_what_turned_and_how_long_it_was_so() {
    let turned = |now: Condition, before, seconds| News::Turned {
        signal: now.signal,
        aspect: now.aspect,
        now: Some(now),
        before,
        lasted: Duration::from_secs(seconds),
    };
    let kv = |figure, seconds| condition(Signal::KvUsage, Aspect::Value, figure, seconds);
    assert_eq!(
        news(&turned(kv(0.95, 0), State::Ok, 0)),
        "WARN   KV cache usage 95.0 %  above 90.0 %, if for 1m: expand the KV cache"
    );
    assert_eq!(
        news(&turned(kv(0.5, 0), State::Alert, 75)),
        "ok     KV cache usage 50.0 %, after 1m 15s of ALERT"
    );
    assert_eq!(news(&News::Answers(Duration::from_secs(12))), "the server answers again, after 12s");
}

#[test]
fn a_server_that_never_answered_is_said_to_be_one() {
    let mut vigil = Vigil::default();
    vigil.look(Duration::ZERO, None);
    vigil.look(Duration::from_secs(4), None);
    assert_eq!(line(&vigil), "WARN   no answer for 4s");
    assert_eq!(frame("http://here", &vigil, "14:03:22", 9), ["http://here  no answer for 4s  14:03:22"]);
    let mut text = Vec::new();
    summary("http://here", &vigil, Duration::from_secs(4), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, "http://here: watched for 4s, it never answered with metrics that we know\n");
}

#[test]
fn where_there_is_no_room_what_has_no_limit_goes_first() {
    let lines = || {
        [("head", false), ("a", true), ("b", false), ("c", true)]
            .map(|(text, spare)| Line { text: text.into(), spare })
    };
    assert_eq!(fit(lines().into(), 4), ["head", "a", "b", "c"]);
    assert_eq!(fit(lines().into(), 3), ["head", "a", "b"]);
    assert_eq!(fit(lines().into(), 2), ["head", "b"]);
    assert_eq!(fit(lines().into(), 1), ["head"]);
}
