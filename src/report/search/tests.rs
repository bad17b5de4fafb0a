use super::*;
use crate::analysis::search::LoadAxis;
use crate::analysis::search::evidence::CriterionEvidence;
use crate::analysis::search::trial::TrialMetrics;

fn question(over: LoadAxis) -> SearchConfig {
    SearchConfig {
        criteria: vec![Criterion::from_rule("ttft.p95 < 500ms".parse().unwrap()).unwrap()],
        over,
        start: 1.0,
        max: 64.0,
        time: Duration::from_secs(600),
        trial: Duration::from_secs(30),
        precision: 0.05,
        headroom: 0.3,
        seed: 0,
    }
}

/// A search with trials at these loads, with these margins and TTFTs.
fn search(over: LoadAxis, trials: &[(f64, f64, f64)]) -> Search {
    let mut search = Search::new(question(over));
    for (number, &(load, slack, ttft)) in (1..).zip(trials) {
        let evidence = CriterionEvidence {
            slack,
            worst_slack: slack,
            error: 0.01,
            value: Some(ttft),
            n: 300,
            censored: 0,
            beyond: None,
        };
        let service = TrialMetrics {
            requests: 300,
            request_throughput: Some(load),
            ttft_p50_ms: Some(ttft / 2.0),
            ttft_p95_ms: Some(ttft),
            peak_in_flight: 5,
            ..TrialMetrics::default()
        };
        search.add_trial(Trial {
            number,
            load,
            length: Duration::from_secs(30),
            spent: Duration::from_secs(40),
            seed: number as u64,
            ending: TrialEnd::Whole,
            evidence: vec![Some(evidence)],
            service,
            doubt: None,
        });
    }
    search
}

fn text(search: &Search, answer: &SearchAnswer) -> String {
    let mut text = Vec::new();
    SearchReport { search, answer, command: &[] }.render(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_answer_comes_first_with_interval_level_and_suggestion() {
    let trials = [
        (1.0, -0.05, 50.0),
        (8.0, -0.05, 300.0),
        (8.4, -0.012, 350.0),
        (8.8, 0.1, 700.0),
        (16.0, 0.9, 4000.0),
    ];
    let search = search(LoadAxis::Rate, &trials);
    let mut answer = search.answer();
    answer.agreement = Some(KvPoolCheck { pool: 1000, limit: 20, in_flight: 5 });
    let text = text(&search, &answer);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("Boundary: 8.") && lines[1].ends_with("req/s [8, 8.8]"), "{text}");
    assert_eq!(lines[2], "First violated: ttft.p95 < 500ms");
    assert!(lines[3].starts_with("Suggestion: 6") && lines[3].ends_with("(30.0 % headroom)"), "{text}");
    assert!(text.contains("KV pool: 1000 tokens fit 20 such requests at full length (plan)"), "{text}");
    assert!(text.contains("violated: ttft.p95"), "{text}");
}

#[test]
fn an_abrupt_end_is_called_a_cliff_with_the_figure_on_both_sides() {
    let search = search(LoadAxis::Concurrency, &[(1.0, -0.05, 50.0), (8.0, -0.05, 57.0), (9.0, 0.9, 4000.0)]);
    let text = text(&search, &search.answer());
    assert!(
        text.contains(
            "collapses just above the boundary: 8 in flight (ttft.p95 57 ms), but 9 in flight (ttft.p95 4000 ms)"
        ),
        "{text}"
    );
}

#[test]
fn servers_without_a_boundary_get_their_own_words() {
    let mut never = search(LoadAxis::Concurrency, &[(1.0, 0.9, 4000.0), (1.0, 0.9, 4000.0)]);
    never.next_step();
    assert!(
        text(&never, &never.answer()).contains("Never met: violated even at 1 in flight (ttft.p95 4000 ms)")
    );
    let mut always = search(LoadAxis::Rate, &[(32.0, -0.05, 50.0), (64.0, -0.05, 50.0)]);
    always.next_step();
    assert!(text(&always, &always.answer()).contains("Never saturated: all levels are met at 64 req/s"));
    let open = search(LoadAxis::Rate, &[(2.0, -0.05, 50.0)]);
    assert!(text(&open, &open.answer()).contains("No limit found: all levels are met at 2 req/s"));
    let nothing = Search::new(question(LoadAxis::Rate));
    assert!(text(&nothing, &nothing.answer()).contains("there was no trial"));
}

#[test]
fn the_progress_tells_what_is_known() {
    let search = search(LoadAxis::Rate, &[(4.0, -0.05, 50.0), (8.0, 0.3, 900.0)]);
    let line = progress_line(
        search.config(),
        &search.trials()[1],
        search.boundary_draws().boundary(),
        Duration::from_secs(80),
    );
    assert_eq!(line, "trial 2: 8 req/s: violated: ttft.p95; boundary in [4, 8]; 1m 20s of 10m");
}

#[test]
fn the_json_has_question_answer_and_trials() {
    let search = search(LoadAxis::Rate, &[(4.0, -0.05, 50.0), (8.0, 0.3, 900.0)]);
    let answer = search.answer();
    let json = SearchReport { search: &search, answer: &answer, command: &["servegauge".to_owned()] }.json();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["answer"]["finding"]["kind"], "boundary");
    assert_eq!(value["answer"]["finding"]["low"], 4.0);
    assert_eq!(value["question"]["criteria"][0]["rule"], "ttft.p95 < 500ms");
    assert_eq!(value["trials"][1]["service"]["ttft_p95_ms"], 900.0);
}
