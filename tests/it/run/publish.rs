//! The client's own metrics while it measures.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use servegauge::sim::SimSpec;

use crate::support::{Gateway, Program, Simulator, quick, steps};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --save-result";

/// The value of the one sample of a name; `None` if there is none.
fn find(page: &str, name: &str) -> Option<f64> {
    let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.map(|value| value.parse().unwrap())
}

fn value(page: &str, name: &str) -> f64 {
    find(page, name).unwrap_or_else(|| panic!("no {name} in:\n{page}"))
}

/// Fetches the page of a server.
fn fetch(address: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Each family of the page is ours, has a type and an explanation.
fn check_families(page: &str) {
    let types: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(types.len() > 5, "{page}");
    for family in types {
        let (name, kind) = family.split_once(' ').unwrap();
        assert!(name.starts_with("servegauge_"), "{name}");
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name}: {kind}");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not explained");
    }
    let samples = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for sample in samples {
        assert!(sample.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{sample}");
    }
}

#[test]
fn prometheus_can_fetch_the_clients_figures_during_the_run() {
    let simulator = Simulator::start(SimSpec { timing: steps(Duration::from_millis(20)), ..quick() });
    let words = "--num-prompts 5000 --max-concurrency 4 --metrics-listen 127.0.0.1:0";
    let running = simulator.run(SMALL).words(words).start();
    running.wait_for("/metrics\n");
    let said = running.stderr_so_far();
    let url = said.lines().find_map(|line| line.strip_prefix("the client's own metrics: ")).unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut page = String::new();
    crate::support::until("some requests have ended and some are in flight", || {
        page = fetch(address);
        let of = |name: &str| find(&page, name).unwrap_or_default();
        of("servegauge_requests_completed_total") >= 8.0 && of("servegauge_requests_in_flight") > 0.0
    });
    running.interrupt();
    running.end().with_code(130);

    check_families(&page);
    let completed = value(&page, "servegauge_requests_completed_total");
    assert_eq!(value(&page, "servegauge_output_tokens_total"), 6.0 * completed);
    assert!(value(&page, "servegauge_requests_sent_total") >= completed);
    for (name, count) in [
        ("ttft", completed),
        ("tpot", completed),
        ("e2e", completed),
        ("lag", completed),
        ("itl", 5.0 * completed),
    ] {
        assert_eq!(value(&page, &format!("servegauge_{name}_seconds_count")), count, "{name}");
    }
    let [sum, count] = ["sum", "count"].map(|part| value(&page, &format!("servegauge_itl_seconds_{part}")));
    assert!(sum / count > 0.01, "a step is 20 ms: {}", sum / count);
}

#[test]
fn the_gateway_has_the_last_figures_at_the_end() {
    let (simulator, gateway) = (Simulator::start(quick()), Gateway::start());
    let words = "--num-prompts 12 --max-concurrency 4 --header authorization=key --push-metrics";
    simulator.run(SMALL).words(words).arg(gateway.base_url()).end().well();
    let pushed = gateway.pushed();
    assert!(pushed.iter().all(|(path, _)| path == "/metrics/job/servegauge"), "{pushed:?}");
    let page = &pushed.last().unwrap().1;
    check_families(page);
    for (name, expected) in
        [("requests_sent_total", 12.0), ("requests_completed_total", 12.0), ("requests_in_flight", 0.0)]
    {
        assert_eq!(value(page, &format!("servegauge_{name}")), expected, "{name}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_told_once_and_the_run_goes_on() {
    let simulator = Simulator::start(quick());
    let words = "--num-prompts 8 --request-rate 4 --push-metrics http://127.0.0.1:1";
    let ended = simulator.run(SMALL).words(words).end().well();
    assert_eq!(
        ended.stderr.matches("warning: --push-metrics: cannot connect to http://127.0.0.1:1/").count(),
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
        ended.stderr.contains(&format!("--metrics-listen: cannot serve the client's metrics at {address}")),
        "{}",
        ended.stderr
    );
    assert_eq!(simulator.truth().len(), 0);
    let ended = Program::run_against("http://127.0.0.1:1", "--metrics-listen 19400").end().with_code(2);
    assert!(ended.stderr.contains(":19400"), "{}", ended.stderr);
}
