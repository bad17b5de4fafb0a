//! The client's own metrics while it measures.

use std::num::NonZeroUsize;
use std::time::Duration;

use servebench::core::arrival::Schedule;
use servebench::core::spec::{Backend, Connection, History, Sampling, Target};
use servebench::drive::client::control::Control;
use servebench::drive::client::stopwatch::{Keep, KeepGaps, KeepText};
use servebench::drive::engine::{self, Event, Phase, Plan, Stop};
use servebench::drive::workload::{Request, bundled};
use servebench::server::page::{Kind, Page};
use servebench::sim::Spec;

use crate::support::{Gateway, Program, Simulator, quick, steps};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-result";

/// The value of the one sample of a name.
fn value(page: &Page<'_>, name: &str) -> f64 {
    page.named(name).next().unwrap_or_else(|| panic!("no {name}")).value
}

/// Fetches the page of a server.
fn fetch(base_url: &str) -> String {
    let control = Control::new(&target(base_url)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(control.metrics()).unwrap()
}

#[test]
fn prometheus_can_fetch_the_clients_figures_during_the_run() {
    let simulator = Simulator::start(Spec { timing: steps(Duration::from_millis(20)), ..quick() });
    let words = "--num-prompts 5000 --max-concurrency 4 --metrics-listen 127.0.0.1:0";
    let running = simulator.run(SMALL).words(words).start();
    running.wait_for("/metrics\n");
    let said = running.stderr_so_far();
    let url = said.lines().find_map(|line| line.strip_prefix("the client's own metrics: ")).unwrap();
    let base_url = url.strip_suffix("/metrics").unwrap();
    let mut text = String::new();
    crate::support::until("some requests have ended and some are in flight", || {
        text = fetch(base_url);
        let page = Page::parse(&text);
        let of = |name: &str| page.named(name).next().map_or(0.0, |sample| sample.value);
        of("servebench_requests_completed_total") >= 8.0 && of("servebench_requests_in_flight") > 0.0
    });
    running.interrupt();
    running.end().with_code(130);

    let page = Page::parse(&text);
    assert_eq!(page.broken, 0);
    assert!(
        page.families.iter().all(|family| family.name.starts_with("servebench_") && family.help.is_some())
    );
    assert!(page.families.iter().all(|family| family.kind != Kind::Untyped));
    let completed = value(&page, "servebench_requests_completed_total");
    assert_eq!(value(&page, "servebench_output_tokens_total"), 6.0 * completed);
    assert!(value(&page, "servebench_requests_sent_total") >= completed);
    for (name, count) in [
        ("ttft", completed),
        ("tpot", completed),
        ("e2e", completed),
        ("lag", completed),
        ("itl", 5.0 * completed),
    ] {
        let times = page.histogram(&format!("servebench_{name}_seconds"), |_| true).unwrap();
        assert_eq!(times.count, count, "{name}");
    }
    let itl = page.histogram("servebench_itl_seconds", |_| true).unwrap();
    assert!(itl.mean() > Some(0.01), "a step is 20 ms: {:?}", itl.mean());
}

#[test]
fn the_gateway_has_the_last_figures_at_the_end() {
    let (simulator, gateway) = (Simulator::start(quick()), Gateway::start());
    let words = "--num-prompts 12 --max-concurrency 4 --header authorization=key --push-metrics";
    simulator.run(SMALL).words(words).arg(gateway.base_url()).end().well();
    let pushed = gateway.pushed();
    assert!(pushed.iter().all(|(path, _)| path == "/metrics/job/servebench"), "{pushed:?}");
    let page = Page::parse(&pushed.last().unwrap().1);
    assert_eq!(page.broken, 0);
    for (name, expected) in
        [("requests_sent_total", 12.0), ("requests_completed_total", 12.0), ("requests_in_flight", 0.0)]
    {
        assert_eq!(value(&page, &format!("servebench_{name}")), expected, "{name}");
    }
}

#[test]
fn gaps_that_are_only_looked_at_do_not_stay_in_memory() {
    let simulator = Simulator::start(quick());
    let target = target(&simulator.base_url());
    let requests = [Request::text("Hi", 1, 6), Request::text("Ho", 1, 6)];
    let plan = Plan {
        target: &target,
        sampling: &Sampling::default(),
        warmup: None,
        measured: Phase { requests: &requests, schedule: Schedule::Closed, cycle: false, duration: None },
        cap: Some(1),
        max_active: None,
        history: History::Real,
        keep: Keep { text: KeepText::Never, gaps: KeepGaps::UntilEnded },
        preconnect: 0,
        workers: NonZeroUsize::MIN,
        keep_going: false,
        salter: None,
    };
    let mut seen = Vec::new();
    let mut see = |event: Event<'_>| {
        if let Event::Done(record) = event {
            seen.push(record.events.gaps.as_ref().map(Vec::len));
        }
    };
    let outcome = engine::drive(&plan, &bundled::tokenizer(), &Stop::default(), &mut see).unwrap();
    assert_eq!(seen, [Some(5), Some(5)]);
    assert!(outcome.records.iter().all(|record| record.events.gaps.is_none()));
}

fn target(base_url: &str) -> Target {
    Target {
        backend: Backend::Openai,
        base_url: base_url.into(),
        endpoint: "/v1/completions".into(),
        model: "tiny".into(),
        served_model_name: None,
        headers: Vec::new(),
        insecure: false,
        connection: Connection::default(),
        request_id_prefix: None,
        timeout: Duration::from_secs(60),
    }
}

#[test]
fn a_gateway_that_is_not_there_is_told_once_and_the_run_goes_on() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 8 --request-rate 4 --push-metrics http://127.0.0.1:1";
    let ended = simulator.run(SMALL).words(words).end().well();
    assert_eq!(
        ended.stderr.matches("warning: --push-metrics: http://127.0.0.1:1/").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn a_port_that_is_taken_is_a_usage_error_before_anything_is_sent() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let simulator = Simulator::start(quick());
    let ended = simulator.run(&format!("--num-prompts 4 --metrics-listen {address}")).end().with_code(2);
    assert!(
        ended.stderr.contains(&format!("--metrics-listen {address}: cannot listen there")),
        "{}",
        ended.stderr
    );
    assert_eq!(simulator.truth().len(), 0);
    let ended = Program::run_against("http://127.0.0.1:1", "--metrics-listen 9400").end().with_code(2);
    assert!(ended.stderr.contains(":9400"), "{}", ended.stderr);
}
