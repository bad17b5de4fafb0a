//! Sessions of several turns, and users who leave, as a user of the program runs them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Program, Simulator, Story, Witness, quick, steps};
use serde_json::Value;
use servegauge::sim::{FaultInjection, FaultKind, OutputSpec, SimSpec, StepTime};

const CHAT: &str = "/v1/chat/completions";

/// Random sessions.
const SESSIONS: &str = "--multi-turn --backend openai-chat --dataset-name random --save-detailed";

/// Small sessions of three turns.
const THREE_TURNS: &str = "--multi-turn --backend openai-chat --dataset-name random --random-input-len 24 \
                           --per-turn-input-len 12 --random-output-len 6 --save-detailed";

/// The requests of each session, in the order in which they were sent.
type Sessions = BTreeMap<u64, Vec<Value>>;

fn sessions(result: &Value) -> Sessions {
    let mut sessions = Sessions::new();
    for record in result["servegauge"]["records"].as_array().unwrap() {
        sessions.entry(record["session"].as_u64().unwrap()).or_default().push(record.clone());
    }
    for turns in sessions.values() {
        let places: Vec<u64> = turns.iter().map(|turn| turn["turn"].as_u64().unwrap()).collect();
        assert_eq!(places, (0..places.len() as u64).collect::<Vec<_>>(), "turns come in order, none twice");
    }
    sessions
}

fn totals(result: &Value) -> &Value {
    &result["servegauge"]["metrics"]["sessions"]
}

fn time(record: &Value, name: &str) -> f64 {
    record[format!("{name}_s")].as_f64().unwrap()
}

/// The requests that the server received, grouped by session id.
fn seen(truth: Vec<Story>) -> BTreeMap<String, Vec<Story>> {
    let mut sessions = BTreeMap::<String, Vec<Story>>::new();
    for story in truth {
        sessions.entry(story.session.clone().unwrap()).or_default().push(story);
    }
    for turns in sessions.values_mut() {
        turns.sort_by_key(|turn| turn.read_ns);
    }
    sessions
}

/// Most sessions between their first request and the last token of their last answer at any instant.
fn most_active(sessions: &BTreeMap<String, Vec<Story>>) -> usize {
    let spans: Vec<(u64, u64)> = sessions
        .values()
        .map(|turns| (turns[0].read_ns, *turns.last().unwrap().tokens_ns.last().unwrap()))
        .collect();
    let active = |at: u64| spans.iter().filter(|(start, end)| *start <= at && at < *end).count();
    spans.iter().map(|(start, _)| active(*start)).max().unwrap()
}

#[test]
fn at_most_the_asked_number_of_sessions_is_active_and_each_is_finished_before_another_begins() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 12 --max-active-sessions 3 --think-time exp:20ms --workers 2";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    assert_eq!((&result["completed"], &result["failed"]), (&36.into(), &0.into()));
    let totals = totals(&result);
    assert_eq!((&totals["started"], &totals["completed"]), (&12.into(), &12.into()));
    assert_eq!(totals["peak_active"], 3, "all seats are used");
    let seen = seen(simulator.truth());
    assert_eq!(seen.len(), 12);
    assert!(seen.values().all(|turns| turns.len() == 3));
    assert!(most_active(&seen) <= 3);
}

#[test]
fn a_closed_loop_of_sessions_goes_depth_first_under_the_cap_on_requests_too() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 6 --max-concurrency 2";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    assert_eq!((&result["completed"], &result["max_concurrent_requests"]), (&18.into(), &2.into()));
    assert!(most_active(&seen(simulator.truth())) <= 2, "no second turn waits for others' first ones");
}

#[test]
fn the_cap_holds_on_requests_while_more_sessions_are_active() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 8 --max-active-sessions 4 --max-concurrency 1";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    assert_eq!((&result["completed"], &result["max_concurrent_requests"]), (&24.into(), &1.into()));
    assert_eq!(totals(&result)["peak_active"], 4);
}

#[test]
fn a_turn_repeats_what_was_said_and_really_answered() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let result = witness.run(THREE_TURNS).words("--num-prompts 2 --max-concurrency 1").end().well().result();
    let heard = witness.heard(CHAT);
    assert_eq!(heard.len(), 6);
    for session in 0..2 {
        let turns = &heard[3 * session..3 * session + 3];
        let mut said: Vec<Value> = Vec::new();
        for (index, turn) in turns.iter().enumerate() {
            let messages = turn.body["messages"].as_array().unwrap();
            assert_eq!(messages.len(), 2 * index + 1);
            assert_eq!(messages[..said.len()], said[..], "nothing before is changed");
            assert_eq!(turn.body["min_tokens"], 6, "histories have the length that was asked for");
            assert_eq!(turn.header("x-session-id"), turns[0].header("x-session-id"));
            let answer = &result["generated_texts"][3 * session + index];
            said = messages.clone();
            said.push(serde_json::json!({ "role": "assistant", "content": answer }));
        }
    }
    assert_ne!(heard[0].header("x-session-id"), heard[3].header("x-session-id"));
    drop(witness);
    for turns in seen(simulator.truth()).values() {
        // The answer and the next question at least, the template's part aside.
        assert!(turns.windows(2).all(|pair| pair[1].prompt_tokens >= pair[0].prompt_tokens + 6 + 12));
    }
}

#[test]
fn completions_get_the_history_as_one_text() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--backend openai --num-prompts 1";
    let result =
        witness.run(&THREE_TURNS.replace("--backend openai-chat ", "")).words(words).end().well().result();
    let heard = witness.heard("/v1/completions");
    let prompt = |turn: usize| heard[turn].body["prompt"].as_str().unwrap();
    for turn in 0..2 {
        let answer = result["generated_texts"][turn].as_str().unwrap();
        let so_far = format!("{}{answer}\n\n", prompt(turn));
        assert!(prompt(turn + 1).starts_with(&so_far), "{:?} after {so_far:?}", prompt(turn + 1));
    }
}

#[test]
fn without_usage_a_later_prompt_is_counted_from_its_parts() {
    let mut spec = quick();
    spec.output.usage = false;
    let simulator = Simulator::start(spec);
    let words = THREE_TURNS.replace("--backend openai-chat ", "");
    let result = simulator.run(&words).words("--num-prompts 2").end().well().result();
    let truth: BTreeMap<String, Story> =
        simulator.truth().into_iter().map(|story| (story.id.clone(), story)).collect();
    for record in sessions(&result).values().flatten() {
        let story = &truth[record["id"].as_str().unwrap()];
        let counted = record["prompt_tokens"].as_u64().unwrap();
        assert_eq!(record["prompt_tokens_source"], "tokenizer");
        // The blank line between what was said and what is said next is not counted.
        let turn = record["turn"].as_u64().unwrap();
        assert!(counted.abs_diff(story.prompt_tokens) <= 3 * turn, "{counted} of {}", story.prompt_tokens);
    }
}

const CONVERSATIONS: &str = r#"[{"id": "a", "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is rain made?"}, {"role": "assistant", "content": "Warm air rises and cools."},
    {"role": "user", "content": "And snow?"}, {"role": "assistant", "content": "The same way, where it is cold."}]}]"#;

#[test]
fn a_fixed_history_repeats_the_files_answers() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--backend openai-chat -i in.list --history fixed --save-detailed";
    let result = witness.run(words).file("in.list", CONVERSATIONS).end().well().result();
    assert_eq!((&result["num_prompts"], &result["completed"]), (&1.into(), &2.into()));
    let heard = witness.heard(CHAT);
    let roles = |turn: usize| {
        let messages = heard[turn].body["messages"].as_array().unwrap().iter();
        messages.map(|message| message["role"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(roles(0), ["system", "user"]);
    assert_eq!(roles(1), ["system", "user", "assistant", "user"]);
    assert_eq!(heard[1].body["messages"][2]["content"], "Warm air rises and cools.");
}

#[test]
fn a_turn_is_due_when_the_answer_before_has_ended_and_its_user_has_thought() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 5 --request-rate 100 --multi-turn-delay-ms 80";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    assert_eq!(result["inter_turn_delay_ms"], 80.0);
    for turns in sessions(&result).values() {
        for pair in turns.windows(2) {
            let due = time(&pair[0], "done") + 0.08;
            assert!((time(&pair[1], "due") - due).abs() < 1e-6, "{pair:?}");
            assert!(time(&pair[1], "sent") >= due - 1e-6, "nobody is sent early");
        }
    }
}

#[test]
fn sessions_arrive_by_the_laws_of_requests() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 5 --request-rate 50 --burstiness inf";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    let due: Vec<f64> = sessions(&result).values().map(|turns| time(&turns[0], "due")).collect();
    for (index, due) in due.iter().enumerate() {
        assert!((due - 0.02 * (index + 1) as f64).abs() < 1e-6, "{due}");
    }
}

/// A millisecond for each token of a prompt that has to be computed.
fn slow_prefill(prefix_caching: bool) -> SimSpec {
    let timing = StepTime { per_prefill_token: Duration::from_millis(1), ..steps(Duration::from_millis(1)) };
    let spec = quick();
    let output = OutputSpec { prompt_tokens_details: true, ..spec.output };
    SimSpec { timing, prefix_caching, output, ..spec }
}

/// Median TTFT by turn in milliseconds, as the server knows it, and the run's rows.
fn ttft_by_turn(spec: SimSpec, words: &str) -> (Vec<f64>, Value) {
    let simulator = Simulator::start(spec);
    let result = simulator
        .run(SESSIONS)
        .words("--random-output-len 6 --num-prompts 3 --max-active-sessions 1")
        .words(words);
    let rows = result.end().well().result()["servegauge"]["metrics"]["rows"]["turn"].clone();
    let sessions = seen(simulator.truth());
    let median = |turn: usize| {
        let mut times: Vec<f64> = sessions.values().map(|turns| turns[turn].ttft_ms()).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    ((0..3).map(median).collect(), rows)
}

#[test]
fn the_ttft_of_later_turns_falls_with_a_prefix_cache() {
    let (ttft, rows) = ttft_by_turn(slow_prefill(true), "--random-input-len 300 --per-turn-input-len 16");
    assert!(ttft[1] < ttft[0] / 2.0 && ttft[2] < ttft[0] / 2.0, "{ttft:?}");
    let row = |turn: usize, key: &str| rows[turn][key].clone();
    assert_eq!((row(1, "name"), row(1, "requests")), ("2".into(), 3.into()));
    assert!(row(1, "cached_share").as_f64().unwrap() > 0.7, "{rows}");
    assert!(row(0, "cached_share").as_f64().unwrap() < 0.3, "{rows}");
    let median = |turn: usize| row(turn, "ttft")["median_s"].as_f64().unwrap();
    assert!(median(1) < median(0) / 2.0, "{rows}");
}

#[test]
fn the_ttft_of_later_turns_grows_with_the_history_without_one() {
    let (ttft, rows) = ttft_by_turn(slow_prefill(false), "--random-input-len 100 --per-turn-input-len 200");
    assert!(ttft[1] > ttft[0] * 2.0 && ttft[2] > ttft[1] + 100.0, "{ttft:?}");
    let input: Vec<u64> =
        rows.as_array().unwrap().iter().map(|row| row["input_tokens"].as_u64().unwrap()).collect();
    assert!(input[0] < input[1] && input[1] < input[2], "{input:?}");
}

#[test]
fn a_failed_turn_ends_its_session() {
    let faults = FaultInjection { rate: 0.3, kinds: vec![FaultKind::Error500, FaultKind::Disconnect] };
    let simulator = Simulator::start(SimSpec { faults, ..quick() });
    let words = "--num-prompts 20 --max-active-sessions 2 --multi-turn-num-turns 4";
    let ended = simulator.run(THREE_TURNS).words(words).end().well();
    let result = ended.result();
    let (mut broken, mut whole) = (0, 0);
    for turns in sessions(&result).values() {
        let failed: Vec<bool> = turns.iter().map(|turn| turn["success"] == false).collect();
        assert!(failed[..failed.len() - 1].iter().all(|failed| !failed), "nothing is sent after a failure");
        match failed.last() {
            Some(true) => broken += 1,
            _ => whole += 1,
        }
        assert!(failed.last() == Some(&true) || failed.len() == 4, "only a failure ends a session early");
    }
    assert!(broken > 0 && whole > 0, "{broken} broken, {whole} whole");
    let totals = totals(&result);
    assert_eq!((&totals["failed"], &totals["completed"]), (&broken.into(), &whole.into()));
    assert_eq!((&result["conversations_failed"], &result["failed"]), (&broken.into(), &broken.into()));
    assert!(ended.stdout.contains(&format!("Ended by a failed turn: {broken} (")), "{}", ended.stdout);
}

#[test]
fn the_report_and_the_json_tell_turn_by_turn() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(THREE_TURNS).words("--num-prompts 4 --max-active-sessions 2").end().well();
    assert_eq!(ended.line("Peak active sessions"), "2 of at most 2");
    assert_eq!(ended.line("Sessions"), "4 started, 4 completed");
    assert_eq!(ended.line("Answered turns per session"), "3.00");
    let mut table = ended.stdout.lines().skip_while(|line| !line.starts_with("─── By turn"));
    let names =
        table.by_ref().skip(3).take(3).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    assert_eq!(names.collect::<Vec<_>>(), [["1", "4"], ["2", "4"], ["3", "4"]], "{}", ended.stdout);
    let result = ended.result();
    assert_eq!((&result["mode"], &result["num_conversations"]), (&"multi_turn".into(), &4.into()));
    assert_eq!(
        (&result["turns_per_conversation"], &result["multi_turn_concurrency"]),
        (&3.into(), &2.into())
    );
    let turns = result["per_turn_metrics"].as_array().unwrap();
    assert_eq!(turns.len(), 3);
    for (index, turn) in turns.iter().enumerate() {
        assert_eq!(
            (&turn["turn_index"], &turn["num_samples"], &turn["failed"]),
            (&index.into(), &4.into(), &0.into())
        );
        assert!(turn["mean_ttft_ms"].as_f64().unwrap() > 0.0 && turn["p99_e2el_ms"].as_f64().unwrap() > 0.0);
    }
    let sum: u64 = turns.iter().map(|turn| turn["total_input_tokens"].as_u64().unwrap()).sum();
    assert_eq!(result["total_input_tokens"], sum);
}

#[test]
fn a_duration_ends_sessions_and_a_closed_loop_starts_over_with_new_ones() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-path few.list --duration 1500ms --max-active-sessions 2 --sharegpt-output-len 4";
    let conversation = r#"{"conversations": [{"from": "human", "value": "What comes after one?"}, {"from": "gpt", "value": "Two comes after one."},
                                             {"from": "human", "value": "What comes after three?"}, {"from": "gpt", "value": "Four comes after three."}]}"#;
    let ended = simulator
        .run("--multi-turn --backend openai-chat --save-detailed")
        .words(words)
        .file("few.list", format!("[{conversation}]"))
        .end()
        .well();
    let sessions = sessions(&ended.result());
    assert!(sessions.len() > 20, "{} sessions", sessions.len());
    let in_time = |turn: &Value| time(turn, "due") <= 1.5;
    assert!(sessions.values().flatten().all(in_time), "nothing that is due later is sent");
}

#[test]
fn an_interrupt_ends_thinking_and_reports_what_was_measured() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let running = witness.run(THREE_TURNS).words("--num-prompts 4 --think-time 10m").start();
    witness.wait_for(4, CHAT);
    running.interrupt();
    let ended = running.end().with_code(130);
    let result = ended.result();
    assert_eq!(result["completed"], 4);
    assert_eq!(totals(&result)["cut"], 4);
    assert!(ended.stdout.contains("Ended by the end of the run: 4 (100.0 %)"), "{}", ended.stdout);
}

#[test]
fn users_who_leave_drop_their_connections_and_are_counted_apart() {
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(20)), ..quick() });
    let words = "--dataset-name random --random-input-len 8 --random-output-len 120 --num-prompts 24 \
                 --cancel-after 700ms --cancel-rate 40% --save-detailed";
    let ended = simulator.run(words).end().well();
    let (result, truth) = (ended.result(), simulator.truth());
    let left = truth.iter().filter(|story| story.cancelled).count();
    assert!(0 < left && left < 24, "{left} of 24 left");
    let metrics = &result["servegauge"]["metrics"];
    assert_eq!(
        (&metrics["abandoned"], &result["completed"], &result["failed"]),
        (&left.into(), &(24 - left).into(), &0.into())
    );
    assert_eq!(metrics["failures"], Value::Array(Vec::new()));
    let records = result["servegauge"]["records"].as_array().unwrap();
    let were_to_leave = records.iter().filter(|record| record["leaves_after_s"] == 0.7).count();
    assert!((left..24).contains(&were_to_leave), "{were_to_leave} were to leave, {left} left");
    for latency in ["ttft", "e2el", "tpot"] {
        assert_eq!(metrics["latencies"][latency]["n"], 24 - were_to_leave, "{latency} is of those who stay");
    }
    let line = format!("Latencies exclude the {were_to_leave} requests that were scheduled to be abandoned");
    assert!(ended.stdout.contains(&line), "{}", ended.stdout);
    for record in records.iter().filter(|record| record["success"] == false) {
        assert_eq!(record["failure_class"], "abandoned");
        assert!(time(record, "done") - time(record, "sent") >= 0.7, "nobody leaves early");
    }
    let checks = result["servegauge"]["validity"]["checks"].as_array().unwrap();
    let failures = checks.iter().find(|check| check["name"] == "failures").unwrap();
    assert_eq!(failures["outcome"], "passed", "{failures}");
    assert!(ended.line("Abandoned requests").starts_with(&format!("{left} of 24 (")), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Failed requests"));
}

#[test]
fn an_abandoned_turn_ends_its_session() {
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(20)), ..quick() });
    let words = "--num-prompts 3 --random-input-len 24 --random-output-len 200 --cancel-after 100ms..300ms --cancel-rate 100%";
    let ended = simulator.run(SESSIONS).words(words).end().with_code(1);
    let result = ended.result();
    assert_eq!((totals(&result)["abandoned"].as_u64(), simulator.truth().len()), (Some(3), 3));
    assert!(ended.stderr.contains("all 3 requests were abandoned before their end"), "{}", ended.stderr);
}

#[test]
fn warm_up_sessions_are_not_measured_and_end_when_the_measured_ones_begin() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 3 --num-warmups 2 --max-active-sessions 2";
    let result = simulator.run(THREE_TURNS).words(words).end().well().result();
    assert_eq!((&result["num_prompts"], &result["completed"]), (&3.into(), &9.into()));
    let seen = seen(simulator.truth());
    // t0 is the end of the first warm-up session; the other one may have turns left then.
    let whole = seen.values().filter(|turns| turns.len() == 3).count();
    assert!(seen.len() == 5 && (4..=5).contains(&whole), "{seen:?}");
}

#[test]
fn flags_of_sessions_that_make_no_sense_are_refused() {
    let cases = [
        ("--think-time 2s", "add --multi-turn"),
        ("--max-active-sessions 2", "add --multi-turn"),
        (
            "--multi-turn --multi-turn-min-turns 5 --multi-turn-max-turns 2",
            "the fewest (1 or more) not above",
        ),
        ("--multi-turn --multi-turn-num-turns 0", "must be at least 1"),
        (
            "--multi-turn --multi-turn-prefix-global-ratio 0.7 --multi-turn-prefix-conversation-ratio 0.7",
            "more than the whole",
        ),
        ("--multi-turn --dataset-name random --history fixed", "random sessions have none"),
        ("--cancel-after 5s", "--cancel-rate"),
        ("--think-time soon --multi-turn", "--think-time"),
        ("-i nowhere.json", "nowhere.json: no such file; check --input-file"),
    ];
    let simulator = Simulator::start(quick());
    for (words, why) in cases {
        let ended = simulator.run(words).end().with_code(2);
        assert!(ended.stderr.contains(why), "{words}: {}", ended.stderr);
    }
    let system = Program::measure(&simulator.base_url(), "-i in.list").file("in.list", CONVERSATIONS);
    let ended = system.end().with_code(2);
    assert!(
        ended.stderr.contains("--backend openai cannot send the dataset's requests: chat messages"),
        "{}",
        ended.stderr
    );
}
