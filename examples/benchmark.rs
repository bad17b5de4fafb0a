//! Measures a server and saves the Run: `cargo run --example benchmark -- http://localhost:8000 run.json`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::path::Path;

use servegauge::{Benchmark, Dataset, Event, Latency, Load, Run, Target};

/// Sends 200 random prompts at 50 requests per second.
pub fn benchmark(url: &str, file: &Path) -> Result<Run, Box<dyn Error>> {
    let run = Benchmark::new(Target::openai(url))
        .dataset(Dataset::random(64, 16))
        .load(Load::poisson(50.0).warmup(10))
        .requests(200)
        .run_with(|event| {
            if let Event::Warning(warning) = event {
                println!("warning: {warning:?}");
            }
        })?;
    for (latency, values) in &run.metrics.latencies {
        println!("{latency:?}: median {:?} ± {:?}", values.median, values.median_interval);
    }
    let itl = run.metrics.latencies.get(&Latency::Itl);
    println!("{} gaps between tokens; the run is {}", itl.map_or(0, |itl| itl.n), verdict(&run));
    run.save(file)?;
    Ok(run)
}

fn verdict(run: &Run) -> String {
    run.validity.reason().map_or("VALID".into(), |reason| format!("INVALID: {reason}"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, file] = &words[..] else { return Err("give a URL and a file".into()) };
    benchmark(url, file.as_ref()).map(drop)
}
