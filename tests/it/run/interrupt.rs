//! Ctrl-C, TERM and HUP: the first ends the run with a report, the second ends the program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Ended, Port, Program, Scripted, Simulator, Witness, fault, quick, until};

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn the_first_interrupt_stops_sending_and_reports_what_was_measured() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                 --num-prompts 5000 --request-rate 50 --save-result";
    let running = witness.run(words).start();
    witness.wait_for(10, COMPLETIONS);
    running.interrupt();
    let ended = running.end().with_code(130);

    let sent = witness.heard(COMPLETIONS).len();
    let result = ended.result();
    assert!((10..1000).contains(&sent), "{sent} requests in the moments before the interrupt");
    assert_eq!(result["completed"], sent, "what was in flight could finish");
    assert_eq!(result["servegauge"]["interrupted"], true);
    assert_eq!(ended.line("Successful requests"), sent.to_string());
    assert!(ended.stdout.contains(
        "─── Interrupted ───────────────────────\n\
         The run was interrupted; the numbers cover what was measured until then.\n"
    ));
    assert!(!ended.stdout.contains("E2E is biased low"), "every answer is in it: {}", ended.stdout);
}

#[test]
fn what_does_not_end_within_the_grace_period_is_cancelled() {
    // Some answers stall, so that there is something to report and something to cancel.
    let spec = SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Stall] }, ..quick() };
    let simulator = Simulator::start(spec);
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                 --num-prompts 12 --save-detailed";
    let running = witness.run(words).start();
    witness.wait_for(12, COMPLETIONS);
    running.interrupt();
    let ended = running.end().with_code(130);
    drop(witness);

    let result = ended.result();
    let stalled = simulator.truth().iter().filter(|story| story.fault.is_some()).count();
    assert!(0 < stalled && stalled < 12, "{stalled} of 12 stalled");
    assert_eq!((&result["completed"], &result["failed"]), (&(12 - stalled).into(), &stalled.into()));
    let failures = &result["servegauge"]["metrics"]["failures"];
    assert_eq!((&failures[0]["class"], &failures[0]["count"]), (&"cancelled".into(), &stalled.into()));
    let errors = result["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap());
    assert_eq!(errors.filter(|error| error.starts_with("cancelled: ")).count(), stalled);
    assert!(ended.stdout.contains(&format!("\ncancelled: {stalled} (first: ")), "{}", ended.stdout);
    let left_out = format!(
        "\nRequests in flight that were cancelled: {stalled}. They are missing from all latencies and tend to be the \
         longest, so E2E is biased low.\n"
    );
    assert!(ended.stdout.contains(&left_out), "{}", ended.stdout);
}

#[test]
fn a_second_interrupt_ends_the_program_at_once() {
    let simulator = Simulator::start(fault(FaultKind::Stall));
    let witness = Witness::before(&simulator);
    let words =
        "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 3 --save-result";
    let running = witness.run(words).start();
    witness.wait_for(3, COMPLETIONS);
    running.interrupt();
    running.wait_for("again to end at once");
    running.interrupt();
    let ended = running.end();
    let Ended { stdout, .. } = &ended;
    assert_eq!(
        (ended.code, stdout.as_str()),
        (Some(130), ""),
        "no report: it did not wait for the grace period"
    );
    let files = ended.files("");
    assert!(files.iter().all(|file| file.ends_with(".reclog")), "only what --recover reads: {files:?}");
}

#[test]
fn an_interrupt_of_the_warm_up_ends_the_run() {
    let simulator = Simulator::start(fault(FaultKind::Stall));
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 3 \
                 --num-warmups 1 --max-concurrency 1 --timeout 2s";
    let running = witness.run(words).start();
    witness.wait_for(1, COMPLETIONS);
    running.interrupt();
    running.end().with_code(130);
    assert_eq!(witness.heard(COMPLETIONS).len(), 1, "nothing is measured");
}

#[test]
fn a_termination_or_a_hangup_is_an_interrupt() {
    let simulator = Simulator::start(quick());
    for signal in [Signal::TERM, Signal::HUP] {
        let witness = Witness::before(&simulator);
        let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                     --num-prompts 5000 --request-rate 50 --save-result";
        let running = witness.run(words).start();
        witness.wait_for(10, COMPLETIONS);
        // `timeout` sends it to the program and to its process group: twice.
        running.signal(signal);
        running.signal(signal);
        let ended = running.end().with_code(130);
        let result = ended.result();
        assert!(result["completed"].as_u64().unwrap() >= 10, "{signal:?}");
        assert_eq!(result["servegauge"]["interrupted"], true);
        assert!(ended.stdout.contains("─── Interrupted ──"), "{}", ended.stdout);
    }
}

#[test]
fn before_there_is_a_result_a_signal_ends_the_program_at_once() {
    let port = Port::take();
    let words = "--num-prompts 3 --ready-check-timeout-sec 600 --save-result";
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let running = Program::run_against(&port.base_url(), words).start();
        until("the signals are listened to", || running.listens_to(Signal::HUP));
        running.signal(signal);
        let ended = running.end().with_code(130);
        assert!(ended.stderr.ends_with("interrupted before there was a result\n"), "{}", ended.stderr);
        assert!(ended.saved_nothing());
    }
}

/// A hub that accepts the download and sends nothing, or a byte now and then.
#[test]
fn a_signal_during_a_download_from_the_hub_ends_the_program_at_once() {
    let simulator = Simulator::start(quick());
    let random = "--dataset-name random --random-input-len 8 --random-output-len 2 --tokenizer org/name";
    let hf = "--dataset-name hf --dataset-path org/name";
    for (words, sends) in [(random, false), (random, true), (hf, false), (hf, true)] {
        let hub = Scripted::start(move |_, socket| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            let _ = socket.write_all(if sends { head } else { b"" });
            while sends && socket.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = socket.peek(&mut [0]);
        });
        let program = match words == hf {
            true => Program::measure(&simulator.base_url(), words),
            false => Program::run_against(&simulator.base_url(), words),
        };
        let program = program.words("--num-prompts 3 --save-result").env("HF_ENDPOINT", hub.base_url());
        let running = program.env("HF_HUB_OFFLINE", "0").start();
        until("the hub is asked", || hub.requests() > 0);
        running.interrupt();
        let ended = running.end().with_code(130);
        assert!(ended.stderr.ends_with("interrupted before there was a result\n"), "{}", ended.stderr);
        assert!(ended.files("").iter().all(|name| !name.ends_with(".json")), "{:?}", ended.files(""));
    }
}

/// The requests that a server received.
#[derive(Default)]
struct Asked {
    completions: AtomicUsize,
    /// Requests for the metrics after [`ANSWERS`] completions, which get no answer.
    metrics_after: AtomicUsize,
    /// Requests to start the profiler, which get no answer.
    unanswered: AtomicUsize,
}

/// How many completions are answered before the metrics fall silent.
const ANSWERS: usize = 3;

/// A server whose `/metrics` stops answering after [`ANSWERS`] completions.
fn falling_silent() -> (String, Arc<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Asked>::default();
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let asked = Arc::clone(&shared);
            std::thread::spawn(move || while answer(&stream, &asked) {});
        }
    });
    (url, asked)
}

/// Answers one request; `false` at the end of the connection.
fn answer(mut stream: &TcpStream, asked: &Asked) -> bool {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return false,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => lines.push(line.to_lowercase()),
        }
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    if lines[0].contains("/metrics") && asked.completions.load(Ordering::SeqCst) >= ANSWERS {
        asked.metrics_after.fetch_add(1, Ordering::SeqCst);
        std::thread::park();
    }
    if lines[0].contains("/start_profile") {
        asked.unanswered.fetch_add(1, Ordering::SeqCst);
        std::thread::park();
    }
    if lines[0].starts_with("post") && lines[0].contains("/completions") {
        asked.completions.fetch_add(1, Ordering::SeqCst);
    }
    let events = "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\"b\",\
                  \"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    let (status, body) =
        if lines[0].starts_with("post") { ("200 OK", events) } else { ("404 Not Found", "") };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\nContent-Length: {}", body.len());
    write!(stream, "{head}\r\n\r\n{body}").is_ok()
}

#[test]
fn a_signal_after_the_last_request_is_heard_and_costs_nothing() {
    let (url, asked) = falling_silent();
    let words = "--dataset-name random --random-input-len 8 --random-output-len 2 --num-prompts 3 \
                 --save-result";
    let running = Program::measure(&url, words).start();
    until("the run asks for the metrics after it", || asked.metrics_after.load(Ordering::SeqCst) > 0);
    running.signal(Signal::INT);
    let ended = running.end().with_code(130);
    let result = ended.result();
    assert_eq!((&result["completed"], &result["servegauge"]["interrupted"]), (&3.into(), &false.into()));
    assert_eq!(ended.line("Successful requests"), "3");
}

#[test]
fn a_signal_while_the_profiler_is_asked_to_start_ends_the_run() {
    let (url, asked) = falling_silent();
    let words = "--dataset-name random --random-input-len 8 --random-output-len 2 --num-prompts 3 --profile";
    let running = Program::measure(&url, words).start();
    until("the profiler is asked to start", || asked.unanswered.load(Ordering::SeqCst) > 0);
    running.signal(Signal::INT);
    running.end().with_code(130);
    assert_eq!(asked.completions.load(Ordering::SeqCst), 0, "the load had not begun");
}

#[test]
fn a_signal_between_repeats_leaves_those_that_are_whole() {
    let simulator = Simulator::start(quick());
    let words = "--dataset-name random --random-input-len 8 --random-output-len 2 --ignore-eos --num-prompts 200 \
                 --request-rate 100 --repeats 50 --result-filename run.json";
    let running = simulator.run(words).start();
    running.wait_for("run 2 of 50");
    running.signal(Signal::TERM);
    let ended = running.end().with_code(130);
    assert!(ended.files("").contains(&"run-r1.json".to_owned()), "{:?}", ended.files(""));
}

/// `nohup` starts a program with HUP ignored, and that it stays.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let simulator = Simulator::start(quick());
    let program = Program::new("watch --interval 50ms").arg(simulator.base_url()).ignoring_hangups();
    let running = program.start();
    running.wait_for_stdout("running 0");
    assert!(!running.listens_to(Signal::HUP));
    running.signal(Signal::HUP);
    let looks = running.stdout_so_far().lines().count();
    until("it goes on", || running.stdout_so_far().lines().count() > looks + 2);
    running.signal(Signal::TERM);
    running.end().with_code(130);
}
