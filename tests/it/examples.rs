//! The examples do what they say, against a simulator.

use std::fs;
use std::path::Path;
use std::time::Duration;

use servegauge::{Benchmark, Dataset, Load, SearchAnswer, Target};
use tokio::sync::oneshot;

use crate::support::{Simulator, quick};

#[path = "../../examples/benchmark.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program of its own")]
mod benchmark;
#[path = "../../examples/compare.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program of its own")]
mod compare;
#[path = "../../examples/search.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program of its own")]
mod search;
#[path = "../../examples/simulator.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program of its own")]
mod simulator;

/// The example's longest file.
const LINES: usize = 40;

#[test]
fn each_example_is_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4);
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < LINES, "{}: {lines} lines", file.display());
    }
}

#[test]
fn benchmark_and_compare_measure_two_runs_and_compare_their_files() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let files = ["before.json", "after.json"].map(|name| folder.path().join(name));
    for file in &files {
        let run = benchmark::benchmark(&simulator.base_url(), file).unwrap();
        assert_eq!((run.metrics.completed, run.metrics.failed), (200, 0));
    }
    // On a busy machine a run may be INVALID as a whole, which is the error that the example reports.
    match compare::compare_files(&files[0], &files[1]) {
        Ok(report) => assert_eq!(report.findings.len(), 1),
        Err(error) => assert!(error.to_string().contains("INVALID"), "{error}"),
    }
}

#[test]
fn search_tries_rates_until_its_time_is_up() {
    let simulator = Simulator::start(quick());
    let answer: SearchAnswer =
        search::highest_rate(&simulator.base_url(), "ttft.p95 < 1s", Duration::from_secs(6)).unwrap();
    let (low, high) = answer.finding.interval();
    assert!(low.or(high).is_some(), "{:?}", answer.finding);
    let error = search::highest_rate(&simulator.base_url(), "output_throughput > 5", Duration::from_secs(6));
    assert!(error.unwrap_err().to_string().contains("output_throughput"));
}

#[test]
fn simulator_answers_until_it_is_stopped() {
    let (ready, url) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = std::thread::spawn(move || {
        runtime.block_on(simulator::simulate(|url| ready.send(url).unwrap(), async {
            drop(stopped.await);
        }))
    });
    let benchmark = Benchmark::new(Target::openai(&url.recv().unwrap()));
    let run = benchmark.dataset(Dataset::random(8, 4)).load(Load::closed(2)).requests(4).run().unwrap();
    assert_eq!(run.metrics.completed + run.metrics.failed, 4);
    drop(stop);
    server.join().unwrap().unwrap();
}
