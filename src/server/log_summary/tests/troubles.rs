//! Errors, status codes of 400 and more, clocks, and engines that share the load.

use super::*;

fn found(lines: &[String]) -> Vec<(LogIssue, f64)> {
    judged(lines, AlertRules::default()).alerts.iter().map(|alert| (alert.rule, alert.worst)).collect()
}

fn access(count: usize, status: u16, path: &str) -> Vec<String> {
    vec![format!("INFO:     127.0.0.1:1 - \"POST {path} HTTP/1.1\" {status} x"); count]
}

/// The alerts that the rules raise: each issue with its worst value.
type Alerts = Vec<(LogIssue, f64)>;

/// `real-trial.md` F16: a log with 257 error lines and 49 answers of status 503 once yielded "Alerts: none".
#[test]
fn a_log_of_errors_and_refusals_is_not_calm() {
    let error = "(APIServer pid=1) ERROR 11-22 09:52:33 [serving.py:274] Error with model".to_owned();
    let traceback = "Traceback (most recent call last):".to_owned();
    let work = "/v1/completions";
    let cases: [(&str, Vec<String>, Alerts); 9] = [
        ("errors", vec![error.clone(); 256], vec![(LogIssue::Errors, 256.0)]),
        ("a traceback without a level", vec![traceback], vec![(LogIssue::Errors, 1.0)]),
        ("one 5xx", access(1, 500, work), vec![(LogIssue::ServerErrors, 1.0)]),
        ("many 503", access(49, 503, work), vec![(LogIssue::ServerErrors, 49.0)]),
        ("a flood of 429", access(11, 429, work), vec![(LogIssue::Refusals, 11.0)]),
        ("a flood of 404", access(500, 404, work), vec![(LogIssue::Refusals, 500.0)]),
        ("a few refusals", access(10, 400, work), vec![]),
        ("a server that is not ready yet", access(100, 503, "/health"), vec![]),
        ("all is well", access(1000, 200, work), vec![]),
    ];
    for (name, lines, expected) in cases {
        assert_eq!(found(&lines), expected, "{name}");
    }
    let summary =
        judged(&[access(3, 200, work), access(2, 503, work), vec![error]].concat(), AlertRules::default());
    assert_eq!(summary.statuses, [(200, 3), (503, 2)].into());
    assert_eq!((summary.lines.requests, summary.lines.errors, summary.lines.unknown), (5, 1, 0));
}

#[test]
fn time_that_runs_backwards_is_told_and_ends_what_lasted() {
    let at = |stamp: &str, waiting: u64| {
        format!("INFO {stamp} [x.py:1] {}", v1(0, Load { waiting, ..HEALTHY }, ""))
    };
    let alerts = |stamps: &[&str], waiting: u64| {
        let lines: Vec<_> = stamps.iter().map(|stamp| at(stamp, waiting)).collect();
        found(&lines)
    };
    let clock = |seconds: f64| vec![(LogIssue::Clock, seconds)];
    let cases: [(&str, &[&str], Alerts); 6] = [
        ("forwards", &["07-28 10:00:00", "07-28 10:00:10"], vec![]),
        ("a little out of order", &["07-28 10:00:10", "07-28 10:00:07"], vec![]),
        ("an hour back, as summer ends", &["10-25 02:59:50", "10-25 02:00:00"], clock(3590.0)),
        ("pieces in the wrong order", &["07-29 10:00:00", "07-28 10:00:00"], clock(86_400.0)),
        ("over new year", &["12-31 23:59:55", "01-01 00:00:05"], vec![]),
        ("with years", &["2026-07-28 10:00:00", "2026-07-28 09:59:00"], clock(60.0)),
    ];
    for (name, stamps, expected) in cases {
        assert_eq!(alerts(stamps, 0), expected, "{name}");
    }
    // Twenty seconds of a queue before the clock step, and as many after it: nothing shows that they are one queue.
    let stamps = ["07-28 10:00:00", "07-28 10:00:10", "07-28 09:59:50", "07-28 10:00:00"];
    assert_eq!(alerts(&stamps, 50), clock(20.0));
    let summary = judged(&stamps.map(|stamp| at(stamp, 0)), AlertRules::default());
    let span = [summary.start, summary.end].map(|moment| moment.unwrap().to_string());
    assert_eq!(span, ["07-28 09:59:50", "07-28 10:00:10"]);
}

#[test]
fn the_new_rules_can_be_changed_like_the_others() {
    let lines = [access(20, 429, "/v1/completions"), access(1, 500, "/v1/completions")].concat();
    let mut rules = AlertRules::default();
    for change in ["refused=100", "5xx=off", "errors=off", "clock=60"] {
        rules.apply(change.parse().unwrap());
    }
    assert_eq!(judged(&lines, rules).alerts, []);
}

/// `real-trial.md` F5: two engines of 110,000 tokens make a pool of 220,000.
#[test]
fn pools_of_engine_cores_add_up_and_a_restart_begins_anew() {
    let start = |core: &str, tokens: &str| {
        [
            format!("({core} pid=9) INFO 09-01 14:28:09 [k.py:1] GPU KV cache size: {tokens} tokens"),
            format!(
                "({core} pid=9) INFO 09-01 14:28:09 [k.py:1] Maximum concurrency for 2,048 tokens per request: 50.00x"
            ),
        ]
    };
    let arguments = ["INFO 09-01 14:20:00 [u.py:1] non-default args: {'data_parallel_size': 2}".to_owned()];
    let lines = |logs: &[&[String]]| judged(&logs.concat(), AlertRules::default()).start_up;
    let (zero, one) = (start("EngineCore_DP0", "110,000"), start("EngineCore_DP1", "90,000"));
    let both = lines(&[&arguments, &zero, &one]);
    assert_eq!((both.kv_tokens, both.concurrency.unwrap().requests), (Some(200_000), 100.0));
    assert_eq!(lines(&[&arguments, &zero, &one, &arguments, &zero]).kv_tokens, Some(110_000));
    assert_eq!(lines(&[&zero, &zero]).kv_tokens, Some(110_000), "the same engine again");
    let single = start("EngineCore", "110,000");
    assert_eq!(lines(&[&single, &single]).kv_tokens, Some(110_000));
}

#[test]
fn engines_that_share_the_load_are_shown_together_too() {
    let mut log = Log::new();
    for _ in 0..5 {
        log = log.line(&v1(0, Load { waiting: 3, kv: 60.0, ..HEALTHY }, ""));
        log.seconds -= 10;
        log = log.line(&v1(1, Load { waiting: 4, kv: 80.0, ..HEALTHY }, ""));
    }
    // The second engine is idle, and writes no lines.
    let summary = log.load(2, HEALTHY).summary();
    let together = summary.together.unwrap();
    let (waiting, running) = (together.waiting.summarize().unwrap(), together.running.summarize().unwrap());
    assert_eq!((together.lines, waiting.max, running.max, running.last), (7, 7.0, 40.0, 20.0));
    assert_eq!(
        (
            together.kv_cache_usage.summarize().unwrap().max,
            together.generation_throughput.summarize().unwrap().max
        ),
        (0.8, 2000.0)
    );
    assert_eq!(Log::new().load(3, HEALTHY).summary().together, None, "there is only one");
}

/// The same rules judge SGLang's lines (their formats: `server/log/tests/others.rs`).
#[test]
fn sglangs_queue_and_retractions_are_alerts() {
    let line = |second: u32| {
        format!(
            "[2026-09-13 16:06:{second:02}] Decode batch, #running-req: 66, #token: 87282, token usage: 1.00, cuda graph: False, \
             gen throughput (token/s): 2529.33, #queue-req: 13"
        )
    };
    let retraction = "[2026-09-13 16:06:41] KV cache pool is full. Retract requests. #retracted_reqs: 2, #new_token_ratio: 0.1 -> 0.3".to_owned();
    let lines: Vec<_> = (0..5).map(|at| line(10 * at)).chain([retraction]).collect();
    let summary = judged(&lines, AlertRules::default());
    let rules: Vec<_> = summary.alerts.iter().map(|alert| alert.rule).collect();
    assert_eq!(rules, [LogIssue::Waiting, LogIssue::Preemptions]);
    assert_eq!(summary.preemptions, 2);
}
