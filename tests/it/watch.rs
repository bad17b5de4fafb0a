//! `servegauge watch` as a user runs it.

use std::io::Write as _;

use crate::support::{Pages, Port, Program, Scripted, Simulator, quick, scripted};
use serde_json::Value;

#[test]
fn an_idle_server_is_fine() {
    let simulator = Simulator::start(quick());
    let ended = Program::new("watch --once --interval 50ms").arg(simulator.base_url()).end().well();
    let line = ended.stdout.lines().find(|line| line.trim_start().starts_with("KV cache usage"));
    assert!(line.is_some_and(|line| line.split_whitespace().any(|word| word == "ok")), "{}", ended.stdout);
    assert!(!ended.stdout.contains("ALERT"), "{}", ended.stdout);
    let ended = Program::new("watch --once --json --interval 50ms").arg(simulator.base_url()).end().well();
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["state"], "ok", "{json}");
}

#[test]
fn an_alert_is_exit_code_1_and_in_the_json() {
    let pages = Pages::start(vec!["vllm:num_requests_waiting 11\n".into()]);
    let ended = Program::new("watch --once --json --interval 50ms").arg(pages.url()).end().with_code(1);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["state"], &json["signals"][0]["state"]), (&"alert".into(), &"alert".into()));
}

#[test]
fn a_page_that_is_not_ours_is_told() {
    let pages = Pages::start(vec!["<html>hello</html>".into()]);
    let ended = Program::new("watch --once").arg(pages.url()).end().with_code(1);
    assert!(ended.stderr.contains("no metrics of an engine: it is an HTML page"), "{}", ended.stderr);
    let ended = Program::new("watch --once http://127.0.0.1:1").end().with_code(1);
    assert!(ended.stderr.contains("is the server running?"), "{}", ended.stderr);
}

/// B05, B20 and B22 as a user meets them.
#[test]
fn pages_of_ranks_routers_and_json_are_told_for_what_they_are() {
    let once = |page: String| {
        let pages = Pages::start(vec![page]);
        Program::new("watch --once --interval 50ms").arg(pages.url()).end()
    };
    let ranks =
        (0..8).map(|rank| format!("sglang:num_queue_reqs{{dp_rank=\"{rank}\",tp_rank=\"{rank}\"}} {rank}\n"));
    let full = once(ranks.collect()).with_code(1);
    assert!(full.stdout.contains("28 requests  ALERT"), "{}", full.stdout);
    let empty = once("[]".into()).well();
    assert!(empty.stdout.contains("list of iterations is empty"), "{}", empty.stdout);
    let router = once("smg_router_requests_total 3\n".into()).with_code(1);
    let words = "it has smg_router_requests_total: these look like a router's: SGLang's (SMG); use the metrics page of an engine";
    assert!(router.stderr.contains(words), "{}", router.stderr);
}

/// A histogram that ends at ten seconds, and answers that took longer.
#[test]
fn a_percentile_above_the_last_bucket_is_an_alert_and_no_number_in_json() {
    let page = |slow: u32| {
        format!(
            "vllm:time_to_first_token_seconds_bucket{{le=\"10\"}} 1\nvllm:time_to_first_token_seconds_bucket{{le=\"+Inf\"}} {slow}\n\
             vllm:time_to_first_token_seconds_sum {slow}0\nvllm:time_to_first_token_seconds_count {slow}\n"
        )
    };
    let once = |words: &str| {
        let pages = Pages::start(vec![page(1), page(40)]);
        Program::new(&format!("watch --once --interval 50ms {words}")).arg(pages.url()).end().with_code(1)
    };
    assert!(once("").stdout.contains("> 10 s  ALERT  above 500 ms"), "{}", once("").stdout);
    let json: Value = serde_json::from_str(&once("--json").stdout).unwrap();
    assert_eq!((&json["signals"][0]["value"], &json["signals"][0]["above"]), (&Value::Null, &10.0.into()));
}

#[test]
fn replicas_are_told_apart() {
    let pages = |waiting: u32| Pages::start(vec![format!("vllm:num_requests_waiting {waiting}\n")]);
    let (fine, full) = (pages(0), pages(11));
    let ended = Program::new("watch --once --json --interval 50ms")
        .arg(fine.url())
        .arg(full.url())
        .end()
        .with_code(1);
    let states: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&states[0]["state"], &states[0]["url"]), (&"ok".into(), &fine.url().into()));
    assert_eq!((&states[1]["state"], &states[1]["url"]), (&"alert".into(), &full.url().into()));
}

#[test]
fn without_a_terminal_there_is_a_line_a_look_and_the_sum_at_the_end() {
    let simulator = Simulator::start(quick());
    let ended = Program::new("watch --interval 50ms --for 3s").arg(simulator.base_url()).end().well();
    let looks = ended.stdout.lines().filter(|line| line.contains("  ok     running 0, waiting 0, ")).count();
    assert!(looks > 1, "{}", ended.stdout);
    assert!(ended.stdout.ends_with("watched for 3s, nothing was wrong\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "there is no terminal to paint");
}

#[test]
fn an_alert_that_is_over_is_exit_code_1_all_the_same() {
    let page = |waiting: u32| format!("vllm:num_requests_waiting {waiting}\n");
    let pages = Pages::start(vec![page(0), page(40), page(40), page(0)]);
    let ended = Program::new("watch --interval 50ms --for 2s").arg(pages.url()).end().with_code(1);
    let order = [
        "ok     waiting 0",
        "ALERT  Requests waiting 40 requests  above 10 requests: add capacity",
        "ALERT  waiting 40",
    ];
    let at: Vec<_> = order.iter().map(|part| ended.stdout.find(part)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?} in {}", ended.stdout);
    assert!(ended.stdout.contains("ok     Requests waiting 0 requests, after "), "{}", ended.stdout);
    assert!(ended.stdout.contains("  ALERT  Requests waiting: once, "), "{}", ended.stdout);
}

#[test]
fn every_look_is_json_for_scripts() {
    let pages = Pages::start(vec!["vllm:num_requests_swapped 1\n".into()]);
    let ended = Program::new("watch --json --interval 50ms --for 1s").arg(pages.url()).end().well();
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (sum, looks) = lines.split_last().unwrap();
    assert!(looks.len() > 1 && looks.iter().all(|look| look["state"] == "warn" && look["answers"] == true));
    let lasted = |look: &Value| look["signals"][0]["for_s"].as_f64().unwrap();
    assert!(lasted(&looks[0]) == 0.0 && lasted(looks.last().unwrap()) > 0.0);
    assert_eq!((&sum["alerted"], &sum["troubles"][0]["times"]), (&false.into(), &1.into()));
}

#[test]
fn a_server_that_goes_and_comes_back_is_told_and_nothing_crashes() {
    let port = Port::take();
    let url = port.base_url();
    let running = Program::new("watch --interval 50ms").arg(url).start();
    running.wait_for_stdout("the server does not answer");
    let simulator = Simulator::start_on(port, quick());
    running.wait_for_stdout("the server answers again, after ");
    running.wait_for_stdout("ok     running 0");
    drop(simulator);
    running.wait_for_stdout("WARN   no answer for 0s");
    running.signal(rustix::process::Signal::HUP);
    let ended = running.end().with_code(130);
    assert!(ended.stdout.contains(": watched for "), "a last summary: {}", ended.stdout);
}

#[test]
fn a_page_that_is_not_understood_is_described_at_the_first_look() {
    let html = "<html><title>Grafana</title></html>".to_owned();
    let pages = Pages::start(vec![html.clone(), html, "vllm:num_requests_running 1\n".into()]);
    let ended = Program::new("watch --interval 50ms --for 1s").arg(pages.url()).end().well();
    let first = ended.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("no metrics of an engine: it is an HTML page: Grafana"), "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("Grafana").count(), 1, "once: {}", ended.stdout);
    assert!(ended.stdout.contains("WARN   no metrics for 0s"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("does not answer"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ok     running 1"), "{}", ended.stdout);

    let pages = Pages::start(vec!["<html></html>".into()]);
    let ended = Program::new("watch --json --interval 50ms --for 300ms").arg(pages.url()).end().with_code(1);
    let look: Value = serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(look["page_fault"], "no metrics of an engine: it is an HTML page");
}

#[test]
fn a_restart_is_told() {
    let page = |start: u32| format!("process_start_time_seconds {start}\nvllm:num_requests_running 1\n");
    let pages = Pages::start(vec![page(100), page(200)]);
    let ended = Program::new("watch --interval 50ms --for 2s").arg(pages.url()).end().well();
    assert_eq!(ended.stdout.matches("the server restarted").count(), 1, "{}", ended.stdout);
}

#[test]
fn an_address_where_nobody_ever_answers_is_an_error_at_the_end() {
    let ended = Program::new("watch --interval 50ms --for 300ms http://127.0.0.1:1").end().with_code(1);
    assert!(ended.stderr.contains("is the server running?"), "{}", ended.stderr);
    let ended = Program::new("watch --once --for 1s http://127.0.0.1:1").end().with_code(2);
    assert!(ended.stderr.contains("--for"), "{}", ended.stderr);
}

#[test]
fn watching_ends_when_nobody_reads() {
    let simulator = Simulator::start(quick());
    for words in ["--once --interval 50ms", "--interval 50ms", "--json --interval 50ms"] {
        let program = || Program::new("watch").words(words).arg(simulator.base_url());
        assert_eq!(program().with_closed_stdout().end().well().stderr, "");
        let ended = program().with_full_stdout().end().with_code(2);
        assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
    }
}

#[test]
fn an_impossible_share_is_left_out_with_its_counters() {
    let page = |queries: u32, hits: u32| {
        format!(
            "vllm:num_requests_running 3\nvllm:kv_cache_usage_perc 45.0\nvllm:prefix_cache_queries_total {queries}\n\
             vllm:prefix_cache_hits_total {hits}\n"
        )
    };
    let pages = || Pages::start(vec![page(1000, 1000), page(1100, 1500)]);
    let ended = Program::new("watch --once --interval 50ms").arg(pages().url()).end().well();
    let counts =
        "Prefix cache hit rate: Prefix cache hits 500 exceeds Prefix cache queries 100, which is impossible";
    let gauge = "KV cache usage: the reported value 45 exceeds 1";
    for share in [counts, gauge] {
        assert!(ended.stdout.contains(&format!("Left out: {share}")), "{}", ended.stdout);
    }
    assert!(!ended.stdout.contains(" %"), "{}", ended.stdout);
    let ended = Program::new("watch --once --json --interval 50ms").arg(pages().url()).end().well();
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["left_out"].as_array().map(Vec::len), Some(2), "{json}");
    let pages = pages();
    let ended = Program::new("watch --for 300ms --interval 50ms").arg(pages.url()).end().well();
    assert!(ended.stdout.contains(&format!("left out: {gauge}")), "{}", ended.stdout);
    assert!(!ended.stdout.contains("4500"), "{}", ended.stdout);
    let ended = Program::new("diagnose --for 300ms --url").arg(pages.url()).end().well();
    assert!(ended.stdout.contains(&format!("Left out: {gauge}")), "{}", ended.stdout);
    assert!(ended.stdout.contains("[kv-full] needs"), "{}", ended.stdout);
}

/// A page that is there and cannot be read, with what each command says about it.
#[test]
fn a_page_that_is_not_understood_says_why() {
    let gzip = Scripted::start(|head, socket| match head.starts_with("POST") {
        true => scripted::two_tokens(socket),
        false => {
            let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x08";
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    let page = format!("{}/metrics", gzip.base_url());
    let reason = "it is gzip-encoded, though it was requested without compression";
    for words in ["watch --once", "diagnose --for 1s --url"] {
        let ended = Program::new(words).arg(&page).end();
        assert_ne!(ended.code, Some(0));
        let expected = format!("{page}: there is a page, but it cannot be read: {reason}");
        assert!(ended.stderr.contains(&expected), "{words}: {}", ended.stderr);
    }
    let run = "--num-prompts 1 --input-len 8 --output-len 2 --skip-tokenizer-init --disable-tqdm";
    let ended = Program::run_against(gzip.base_url(), run).end();
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("metrics")).collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    assert!(lines[0].contains(reason), "{}", lines[0]);
}
