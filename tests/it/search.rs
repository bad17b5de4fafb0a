//! `servegauge search` as a user runs it: servers with and without a boundary, usage errors, an interrupt.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp};
use serde_json::Value;
use servegauge::sim::SimSpec;

use crate::support::{Program, Simulator, quick, steps};

/// Small requests; whether a trial is VALID depends on how busy the machine is.
const LOAD: &str = "--allow-invalid --disable-tqdm --model some-model --dataset-name random --rng native --random-input-len 16 \
                    --random-output-len 8 --ignore-eos --base-url";

fn search(flags: &str, base_url: &str) -> Program {
    Program::new("search").words(flags).arg("--").words(LOAD).arg(base_url)
}

#[test]
fn a_full_stdout_is_2_and_costs_no_file() {
    let flags = "--slo ttft.p95<10s --max 2 --time 2s --trial 500ms --result-filename out.json";
    let simulator = Simulator::start(quick());
    let ended = search(flags, &simulator.base_url()).with_full_stdout().end().with_code(2);
    assert!(ended.stderr.contains("cannot write to stdout: "), "{}", ended.stderr);
    let saved: Value = serde_json::from_str(&ended.read("out.json")).unwrap();
    assert!(!saved["trials"].as_array().unwrap().is_empty(), "{saved}");
}

fn answer(flags: &str, base_url: &str) -> Value {
    let ended = search(flags, base_url).end().well();
    serde_json::from_str(&ended.stdout).unwrap()
}

/// One request of those that a server has; it is gone when this is dropped, also when its client has left.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server that refuses a request while `most` others are in flight. It answers each of the others after 30 ms.
fn cliff(most: usize) -> String {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let complete = move || {
        let before = in_flight.fetch_add(1, Ordering::SeqCst);
        let held = Held(Arc::clone(&in_flight));
        async move {
            let _held = held;
            if before >= most {
                // The client replaces a refused request at once. The pause limits how many it sends.
                tokio::time::sleep(Duration::from_millis(5)).await;
                return Ok::<_, Infallible>(refused());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(streamed())
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/completions", post(complete));
    // It ends with the test's process.
    std::thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    format!("http://{address}")
}

fn streamed() -> Response {
    let body = "data: {\"choices\":[{\"index\":0,\"text\":\"one two\",\"finish_reason\":null}]}\n\n\
                data: {\"choices\":[{\"index\":0,\"text\":\" three\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    Response::builder().header("content-type", "text/event-stream").body(Body::from(body)).unwrap()
}

fn refused() -> Response {
    Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Body::from("full")).unwrap()
}

#[test]
fn a_server_that_is_never_good_enough_is_told_so() {
    let slow = Simulator::start(SimSpec { timing: steps(Duration::from_millis(40)), ..quick() });
    let flags = "--json --over concurrency --slo ttft.p95<10ms --trial 1s --time 20s";
    let found = answer(flags, &slow.base_url());
    assert_eq!(found["answer"]["finding"]["kind"], "never_good", "{found}");
    assert_eq!(found["answer"]["finding"]["least"]["load"], 1.0, "{found}");
}

#[test]
fn a_server_that_is_never_saturated_is_told_so() {
    let fast = Simulator::start(quick());
    let flags = "--json --over concurrency --max 4 --slo e2el.p50<20s --trial 1s --time 20s";
    let found = answer(flags, &fast.base_url());
    assert_eq!(found["answer"]["finding"]["kind"], "never_saturated", "{found}");
    let loads: Vec<f64> =
        found["trials"].as_array().unwrap().iter().map(|trial| trial["load"].as_f64().unwrap()).collect();
    assert_eq!(loads, [1.0, 2.0, 4.0]);
}

#[test]
fn a_server_that_falls_off_a_cliff_is_told_so_and_where() {
    let url = cliff(6);
    let flags = "--json --over concurrency --start 2 --max 32 --slo failure_rate<2% --trial 1s --time 40s";
    let found = answer(flags, &url);
    let finding = &found["answer"]["finding"];
    assert_eq!(finding["kind"], "cliff", "{found}");
    assert_eq!((&finding["low"], &finding["high"]), (&6.0.into(), &7.0.into()), "{found}");
    assert_eq!(found["answer"]["binding"]["rule"], "failure_rate < 2%");
}

const MODEL: &str = include_str!("../fixtures/predict/model.json");

#[test]
fn a_search_begins_at_the_boundary_that_a_model_predicts() {
    let fast = Simulator::start(quick());
    let flags = "--over rate --max 40 --slo e2el.p50<20s --trial 1s --time 20s --model m.json";
    let ended = search(flags, &fast.base_url()).file("m.json", MODEL).end().well();
    assert!(ended.stderr.contains("guess of m.json: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("trial 1: 40 req/s: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains(": 1 req/s") && !ended.stderr.contains(": 20 req/s"), "{}", ended.stderr);
    assert!(ended.stdout.contains("Never saturated: all levels are met at 40 req/s"), "{}", ended.stdout);
    assert!(ended.stdout.contains("Guess of m.json: "), "{}", ended.stdout);
}

#[test]
fn a_model_of_another_server_changes_the_first_trials_and_not_the_answer() {
    let url = cliff(6);
    let flags = "--json --over concurrency --max 16 --slo failure_rate<2% e2el.p50<60s --trial 1s --time 60s --model m.json";
    let ended = search(flags, &url).file("m.json", MODEL).start().end_within(Duration::from_secs(150)).well();
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(found["guess"]["load"].as_f64().unwrap() > 20.0, "{found}");
    assert_eq!(found["trials"][0]["load"], 16.0, "{found}");
    let finding = &found["answer"]["finding"];
    let end = |name: &str| finding[name].as_f64();
    assert!(
        end("low").is_none_or(|low| low <= 6.0) && end("high").is_some_and(|high| high >= 7.0),
        "{found}"
    );
}

#[test]
fn every_trial_is_a_run_with_a_seed_of_its_own() {
    let fast = Simulator::start(quick());
    let flags = "--over rate --start 20 --max 40 --slo e2el.p50<20s --trial 1s --time 20s --save-trials trials \
                 --result-filename search.json";
    let ended = search(flags, &fast.base_url()).end().well();
    assert!(ended.stdout.contains("Never saturated: all levels are met at 40 req/s"), "{}", ended.stdout);
    assert!(ended.stderr.contains("trial 2: 40 req/s: met"), "{}", ended.stderr);
    let mut names = ended.files("trials");
    names.sort();
    assert_eq!(names, ["trial-001-20.json", "trial-002-40.json"]);
    let run = |name: &String| serde_json::from_str::<Value>(&ended.read(&format!("trials/{name}"))).unwrap();
    let prompts: Vec<Value> =
        names.iter().map(|name| run(name)["servegauge"]["inputs"]["prompts"].clone()).collect();
    assert_ne!(prompts[0], prompts[1], "the prompts differ");
    let saved: Value = serde_json::from_str(&ended.read("search.json")).unwrap();
    assert_eq!(saved["trials"].as_array().unwrap().len(), 2);
}

#[test]
fn an_interrupt_ends_with_what_is_known() {
    let fast = Simulator::start(quick());
    let flags = "--start 20 --slo e2el.p50<20s --trial 3s --time 60s";
    let running = search(flags, &fast.base_url()).start();
    running.wait_for("trial 1: 20 req/s: met");
    running.signal(rustix::process::Signal::TERM);
    let ended = running.end().with_code(130);
    assert!(ended.stdout.contains("No limit found: all levels are met at 20 req/s"), "{}", ended.stdout);
    assert!(ended.stdout.contains("Ended: interrupted"), "{}", ended.stdout);
}

#[test]
fn mistakes_are_one_line_with_the_cure() {
    let cases = [
        ("search", "no service level is given"),
        ("search --slo output_throughput>5", "it cannot bound the load"),
        ("search --slo ttft.p95<baseline", "needs a baseline"),
        ("search --slo ttft.p95<1s --start 9 --max 3", "--start 9 is above --max 3"),
        ("search --slo ttft.p95<1s -- --sim --request-rate 5", "--request-rate is set by the search"),
        ("search --slo ttft.p95<1s -- --sim --num-prompts 5", "--num-prompts is set by the search"),
        ("search --slo-fraction 0.99 -- --sim", "--goodput ttft:500"),
        (
            "search --slo ttft.p95<1s --model absent.json -- --sim --dataset-name random",
            "cannot read absent.json",
        ),
        ("search --slo ttft.p95<1s -- --sim --nonsense", "after `--`: unexpected argument"),
    ];
    for (words, expected) in cases {
        let ended = Program::new(words).end().with_code(2);
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{words}\n{}", ended.stderr);
    }
}

/// The slots of the simulated server. A request takes one step for each output token.
const SLOTS: usize = 8;
const STEP: Duration = Duration::from_millis(10);
const TOKENS: u32 = 20;

/// P95 TTFT in seconds at a rate, by a model of the simulator: in each step waiting requests take free slots, and every
/// running one gets a token at the step's end.
fn modelled_p95(rate: f64) -> f64 {
    let step = STEP.as_secs_f64();
    let mut gaps = Exp::new(rate).unwrap().sample_iter(StdRng::seed_from_u64(7));
    let (mut now, mut next, mut waiting) = (0.0, 0.0, VecDeque::new());
    let (mut running, mut ttfts): (Vec<u32>, Vec<f64>) = (Vec::new(), Vec::new());
    while ttfts.len() < 300_000 {
        if running.is_empty() && waiting.is_empty() {
            now = f64::max(now, next);
        }
        while next <= now {
            waiting.push_back(next);
            next += gaps.next().unwrap();
        }
        now += step;
        running.iter_mut().for_each(|left| *left -= 1);
        while running.len() < SLOTS {
            let Some(arrived) = waiting.pop_front() else { break };
            ttfts.push(now - arrived);
            running.push(TOKENS - 1);
        }
        running.retain(|left| *left > 0);
    }
    ttfts.sort_by(f64::total_cmp);
    ttfts[ttfts.len() * 95 / 100]
}

/// The rate at which the model's P95 TTFT is the limit.
fn modelled_boundary(limit: Duration) -> f64 {
    let (mut low, mut high) = (1.0, SLOTS as f64 / (STEP * TOKENS).as_secs_f64());
    for _ in 0..12 {
        let middle = f64::midpoint(low, high);
        if modelled_p95(middle) < limit.as_secs_f64() { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The interval of a search on a simulator, which takes 100 seconds.
fn searched(seed: usize) -> (f64, f64) {
    let server = Simulator::start(SimSpec { max_num_seqs: SLOTS, timing: steps(STEP), ..quick() });
    let flags = format!(
        "--json --start 4 --max 100 --slo ttft.p95<100ms --trial 5s --time 100s --seed {}",
        1000 * seed
    );
    let load = LOAD.replace("--random-output-len 8", &format!("--random-output-len {TOKENS}"));
    let program = Program::new("search").words(&flags).arg("--").words(&load).arg(server.base_url());
    let ended = program.start().end_within(Duration::from_secs(200)).well();
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let finding = &found["answer"]["finding"];
    let end = |name: &str| finding[name].as_f64().unwrap_or(f64::NAN);
    #[expect(clippy::print_stdout, reason = "nightly.sh keeps the output of a study")]
    {
        println!("{:.2} [{:.2}, {:.2}] {}", end("estimate"), end("low"), end("high"), finding["kind"]);
    }
    (end("low"), end("high"))
}

/// Stated before the first run: of 40 searches at least 34 cover the boundary (95 % less three standard errors of
/// 3.4 %: 84.7 %). A search that fails covers nothing. `scripts/nightly.sh simulator` runs this, five searches at a time.
#[test]
#[ignore = "it takes 15 minutes on a machine that runs nothing else"]
fn searches_of_a_simulator_in_real_time_cover_its_boundary() {
    const SEARCHES: usize = 40;
    const AT_ONCE: usize = 5;
    let truth = modelled_boundary(Duration::from_millis(100));
    let mut covered = 0;
    for round in (0..SEARCHES).step_by(AT_ONCE) {
        covered += std::thread::scope(|scope| {
            let searches: Vec<_> =
                (round..round + AT_ONCE).map(|seed| scope.spawn(move || searched(seed))).collect();
            let found = searches.into_iter().filter_map(|search| search.join().ok());
            found.filter(|(low, high)| *low <= truth && truth <= *high).count()
        });
    }
    println!("{covered} of {SEARCHES} cover {truth:.2}");
    let expected = 0.95 - 3.0 * (0.95 * 0.05 / SEARCHES as f64).sqrt();
    assert!(covered as f64 >= expected * SEARCHES as f64, "{covered} of {SEARCHES}");
}
