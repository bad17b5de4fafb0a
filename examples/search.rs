//! Searches for the highest request rate that meets a service level: `cargo run --example search -- http://localhost:8000`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::time::Duration;

use servegauge::{Benchmark, Dataset, LoadAxis, MetricRule, SearchAnswer, SearchConfig, Target, search};

/// Doubles the rate from 20 requests per second until the level is violated, then narrows the boundary down.
pub fn highest_rate(url: &str, level: &str, time: Duration) -> Result<SearchAnswer, Box<dyn Error>> {
    let level: MetricRule = level.parse()?;
    let mut config = SearchConfig::new(LoadAxis::Rate, [level])?;
    (config.start, config.time, config.trial) = (20.0, time, time / 20);
    let answer = search(config, |load, seed| {
        println!("trying {} requests per second", load.request_rate);
        let benchmark = Benchmark::new(Target::openai(url)).dataset(Dataset::random(64, 16));
        benchmark.load(load).seed(seed).keep_records().run()
    })?;
    println!("{:?}", answer.finding);
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("give a URL")?;
    let answer = highest_rate(&url, "ttft.p95 < 200ms", Duration::from_secs(600))?;
    println!("run it at {:?} requests per second", answer.suggestion);
    Ok(())
}
