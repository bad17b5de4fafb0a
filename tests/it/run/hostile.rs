//! Servers, files and names that are up to no good.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use serde_json::Value;

use crate::support::scripted::{answer, two_tokens};
use crate::support::{Ended, Program, Scripted, Simulator, quick, until};

/// Clears the screen, rings, overwrites its line, reverses the text, and gives GitHub's runner an order.
const NASTY: &str =
    "\u{1b}[2J\u{7}x\ry\u{202e}\u{9b}31m\u{2066}\n::error::injected\n::stop-commands::z\n##[error]w";

const RUN: &str = "--model m --skip-tokenizer-init --dataset-name random --rng native --random-input-len 8 \
                   --random-output-len 2 --num-prompts 4 --allow-invalid --disable-tqdm";

fn run(server: &Scripted, words: &str) -> Program {
    Program::new("run --base-url").arg(server.base_url()).words(RUN).words(words)
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// Asserts that nothing on stdout or stderr acts on a terminal or a runner.
#[track_caller]
fn is_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let acts = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(acts), "{text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::")), "{text:?}");
        assert!(!text.contains("##["), "{text:?}");
        assert!(!text.contains("\ny") && !text.contains("\nx"), "{text:?}");
    }
}

/// A page without end, as fast as it is read.
fn endless(socket: &mut TcpStream) {
    let line = "# nothing that anybody knows, again and again and again\n".repeat(1000);
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    let _ = socket
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
    while socket.write_all(chunk.as_bytes()).is_ok() {}
}

#[test]
fn a_page_without_end_is_not_read_to_its_end() {
    let server = Scripted::start(|head, socket| match path(head) {
        "/metrics" => endless(socket),
        "/v1/completions" => two_tokens(socket),
        _ => answer(socket, "404 Not Found", "{}"),
    });
    let ended = run(&server, "").end().well();
    assert!(ended.stderr.contains("/metrics: the answer is larger than 8 MiB"), "{}", ended.stderr);
    assert_eq!(ended.line("Successful requests"), "4");
    assert_eq!(server.asked("/metrics"), 1, "once is enough");
    let ended = run(&server, "--no-server-metrics").end().well();
    assert!(!ended.stderr.contains("metrics"), "{}", ended.stderr);
    assert_eq!(server.asked("/metrics"), 1, "who wants none asks for none");

    let plan = Program::new("plan --prompt-tokens 9 --output-tokens 9 --base-url").arg(server.base_url());
    let plan = plan.end().with_code(2);
    assert!(plan.stderr.contains("the answer is larger than 8 MiB"), "{}", plan.stderr);
    for words in ["watch --once", "diagnose --url", "watch --for 1s"] {
        let ended = Program::new(words).arg(server.base_url()).end();
        assert!(ended.stderr.contains("the page is larger than 8 MiB"), "{words}: {}", ended.stderr);
    }
}

#[test]
fn questions_without_an_answer_cost_one_wait_of_the_timeout() {
    let server = Scripted::start(|head, socket| match path(head) {
        "/v1/completions" => two_tokens(socket),
        // Until the client has had enough.
        _ => {
            let _ = socket.peek(&mut [0]);
        }
    });
    let ended = run(&server, "--timeout 1s --metrics-interval 100ms").end().well();
    assert!(ended.stderr.contains("the server's metrics are not read"), "{}", ended.stderr);
    assert_eq!((server.asked("/metrics"), server.asked("/version")), (1, 1));
    assert_eq!(ended.line("Successful requests"), "4");
}

/// A server that answers the other questions only once it is asked for its tokenizer.
#[test]
fn the_tokenizer_is_asked_for_together_with_the_version_and_the_metrics() {
    let is_asked = AtomicBool::new(false);
    let server = Scripted::start(move |head, socket| match path(head) {
        "/v1/completions" => two_tokens(socket),
        "/tokenize" => {
            is_asked.store(true, SeqCst);
            answer(socket, "200 OK", r#"{"count": 8}"#);
        }
        _ => {
            until("the tokenizer is asked for", || is_asked.load(SeqCst));
            answer(socket, "404 Not Found", "{}");
        }
    });
    let words = RUN.replace("--skip-tokenizer-init", "");
    let ended = Program::new("run --base-url").arg(server.base_url()).words(&words).end().well();
    assert!(!ended.stderr.contains("metrics are not read"), "{}", ended.stderr);
    assert_eq!(ended.line("Successful requests"), "4");
}

#[test]
fn other_pages_without_end_are_not_read_to_their_end_either() {
    let server = Scripted::start(|head, socket| match path(head) {
        "/v1/completions" => two_tokens(socket),
        _ => endless(socket),
    });
    let words = RUN.replace("--skip-tokenizer-init", "");
    let ended = Program::new("run --base-url").arg(server.base_url()).words(&words).end().well();
    assert!(ended.stderr.contains("/tokenize: the answer is larger than 65 KiB"), "{}", ended.stderr);
    let unnamed = words.replace("--model m", "");
    let ended = Program::new("run --base-url").arg(server.base_url()).words(&unnamed).end().with_code(1);
    assert!(ended.stderr.contains("/v1/models: the answer is larger than 1 MiB"), "{}", ended.stderr);
}

#[test]
fn a_plan_of_a_dataset_asks_no_server() {
    let server = Scripted::start(|_, socket| answer(socket, "404 Not Found", "{}"));
    let words = "plan --kv-tokens 10000 -- --dataset-name random --random-input-len 8 --random-output-len 8 --base-url";
    Program::new(words).arg(server.base_url()).end().well();
    for path in ["/v1/models", "/tokenize", "/version", "/metrics"] {
        assert_eq!(server.asked(path), 0, "{path}");
    }
}

#[test]
fn what_a_server_says_acts_on_no_terminal_and_no_runner() {
    let body = serde_json::json!({ "error": { "message": NASTY } });
    let quoted = [body.to_string(), NASTY.to_owned()];
    for body in quoted {
        let server = Scripted::start(move |head, socket| match path(head) {
            "/v1/models" => answer(socket, "500 Internal Server Error", &body),
            "/v1/completions" => answer(socket, "500 Internal Server Error", &body),
            _ => answer(socket, "404 Not Found", &body),
        });
        for words in ["", "--keep-going", "--keep-going --report vllm", "--ready-check-timeout-sec 1"] {
            let ended = run(&server, words).end();
            assert_ne!(ended.code, Some(0));
            is_plain(&ended);
        }
        let unnamed = Program::new("run --base-url").arg(server.base_url()).end().with_code(1);
        is_plain(&unnamed);
        is_plain(&Program::new("watch --once").arg(server.base_url()).end());
        is_plain(
            &Program::new("plan --prompt-tokens 9 --output-tokens 9 --base-url").arg(server.base_url()).end(),
        );
    }
    // A model's name, and the tokenizer that is not found under it.
    let models = serde_json::json!({ "data": [{ "id": NASTY, "root": NASTY }] }).to_string();
    let server = Scripted::start(move |head, socket| match path(head) {
        "/v1/models" => answer(socket, "200 OK", &models),
        "/v1/completions" => two_tokens(socket),
        _ => answer(socket, "404 Not Found", NASTY),
    });
    let words = RUN.replace("--model m --skip-tokenizer-init", "");
    let ended =
        Program::new("run --save-result --base-url").arg(server.base_url()).words(&words).end().well();
    is_plain(&ended);
    let ended =
        Program::new("run --result-filename - --base-url").arg(server.base_url()).words(&words).end().well();
    is_plain(&ended);
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["model_id"], NASTY, "JSON means the same as before");
}

#[test]
fn names_in_files_act_on_nothing_either() {
    let simulator = Simulator::start(quick());
    let run =
        simulator.run("--dataset-name random --random-input-len 8 --random-output-len 4 --num-prompts 8");
    let mut result = run.words("--save-detailed --rng native --ignore-eos").end().well().result();
    let good = result.to_string();
    result["servegauge"]["spec"]["target"]["model"] = NASTY.into();
    result["model_id"] = NASTY.into();
    let bad = result.to_string();
    let name = "=1+1<img src=x>|`a`.json";
    let compare = |words: &str| {
        let program = Program::new("compare").words(words).arg("--").arg("a.json").arg(name);
        program.file("a.json", &good).file(name, &bad)
    };
    is_plain(&compare("").end().with_code(2));
    for format in ["text", "markdown", "csv", "json"] {
        let ended = compare(&format!("--anyway --format {format}")).end().well();
        is_plain(&ended);
        match format {
            "csv" => assert!(
                !ended.stdout.lines().any(|line| line.starts_with(['=', '+', '-', '@'])),
                "{}",
                ended.stdout
            ),
            "markdown" => {
                assert!(ended.stdout.contains("&lt;img src=x>\\|\\`a\\`"), "{}", ended.stdout);
                assert!(!ended.stdout.contains("<img"), "{}", ended.stdout);
            }
            _ => {}
        }
    }
    let gate = Program::new("gate --allow-invalid --github --anyway --baseline a.json --candidate").arg(name);
    let gate = gate.env("GITHUB_STEP_SUMMARY", "summary.md").file("a.json", &good).file(name, &bad).end();
    is_plain(&gate);
    let summary = gate.read("summary.md");
    assert!(!summary.contains("<img") && !summary.contains('\u{1b}'), "{summary}");
}

#[test]
fn a_label_stays_in_its_folder() {
    let simulator = Simulator::start(quick());
    let run =
        simulator.run("--dataset-name random --random-input-len 8 --random-output-len 4 --num-prompts 2");
    let ended = run.words("--rng native --save-result --result-dir out --label").arg("../../x").end().well();
    let files = ended.files("out");
    assert!(files.len() == 1 && files[0].starts_with("_._.._x-infqps-"), "{files:?}");
    assert_eq!(ended.files(""), ["out"]);
}

#[test]
fn a_stream_without_end_is_given_up_and_not_counted() {
    let event =
        "data: {\"choices\":[{\"index\":0,\"text\":\" and so on and on\",\"finish_reason\":null}]}\n\n"
            .repeat(200);
    let server = Scripted::start(move |head, socket| match path(head) {
        "/v1/completions" => {
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let _ = socket.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
            while socket.write_all(chunk.as_bytes()).is_ok() {}
        }
        _ => answer(socket, "404 Not Found", "{}"),
    });
    let words = "--dataset-name random --random-input-len 8 --random-output-len 2 --num-prompts 2 --timeout 2s --rng native";
    let ended = Program::measure(server.base_url(), words).words("--save-detailed").end().with_code(1);
    assert!(ended.stderr.contains("all 2 requests failed"), "{}", ended.stderr);
    let result = ended.result();
    let longest =
        result["generated_texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len()).max();
    assert!(longest.unwrap() <= (8 << 20) + 100, "{longest:?}");
}

#[test]
fn a_folder_that_another_program_locks_costs_no_result() {
    let server = Scripted::start(|head, socket| match path(head) {
        "/v1/completions" => two_tokens(socket),
        _ => answer(socket, "404 Not Found", "{}"),
    });
    let folder = tempfile::TempDir::new().unwrap();
    let locked = File::open(folder.path()).unwrap();
    locked.lock().unwrap();
    let into = |words: &str| run(&server, words).arg("--result-dir").arg(folder.path());
    into("--save-result --result-filename r.json").end().well();
    assert!(folder.path().join("r.json").exists());
    let ended = into("--append-result --result-filename all.jsonl").end().with_code(2);
    assert!(ended.stderr.contains("waiting for another program that has locked"), "{}", ended.stderr);
    assert!(ended.stderr.contains("held the lock on the folder for more than 10s"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`servegauge run --recover` reports them"), "{}", ended.stderr);
    let names =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    assert!(names.iter().any(|name| name.ends_with(".reclog")), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
}

#[test]
fn a_limit_on_the_size_of_files_is_told() {
    let server = Scripted::start(|head, socket| match path(head) {
        "/v1/completions" => two_tokens(socket),
        _ => answer(socket, "404 Not Found", "{}"),
    });
    let ended = run(&server, "--save-detailed --num-prompts 200 --result-filename r.json")
        .with_file_limit(8)
        .end()
        .with_code(2);
    assert!(ended.stderr.contains("cannot write r.json"), "{}", ended.stderr);
    assert!(ended.files("").iter().all(|name| !name.ends_with(".tmp")), "{:?}", ended.files(""));
}

#[test]
fn an_interrupt_is_heard_while_metrics_are_read_after_the_load() {
    let [done, silent] = [const { AtomicUsize::new(0) }; 2].map(Arc::new);
    let counts = [Arc::clone(&done), Arc::clone(&silent)];
    let server = Scripted::start(move |head, socket| match path(head) {
        "/v1/completions" => {
            counts[0].fetch_add(1, SeqCst);
            two_tokens(socket);
        }
        // Answers before the load, and not after it.
        "/metrics" if counts[0].load(SeqCst) < 4 => answer(socket, "200 OK", "vllm:num_requests_running 0\n"),
        "/metrics" => {
            counts[1].fetch_add(1, SeqCst);
            let _ = socket.peek(&mut [0]);
        }
        _ => answer(socket, "404 Not Found", "{}"),
    });
    let running = run(&server, "--metrics-interval 1h --save-result").start();
    until("a page is asked for after the load", || silent.load(SeqCst) > 0);
    running.interrupt();
    let ended = running.end().with_code(130);
    assert_eq!(ended.line("Successful requests"), "4");
    assert_eq!(done.load(SeqCst), 4);
}
