//! The steady-state window beside the whole run.

use std::io::{self, Write};

use super::{Latencies, section, throughput};
use crate::model::metrics::Latency;
use crate::model::run::{BeforeSteadyState, Run};
use crate::model::steady_state::NoSteadyState;
use crate::report::format::{milliseconds, seconds};

/// Writes the section: the window's metrics, or why there is no window.
pub(super) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    if run.steady == Err(NoSteadyState::NotLookedFor) {
        return Ok(());
    }
    section("Steady state", to)?;
    let steady = match &run.steady {
        Ok(steady) => steady,
        Err(why) => return writeln!(to, "None: {why}"),
    };
    let window = &steady.window;
    writeln!(
        to,
        "Window: {} to {} ({} requests)",
        seconds(window.start),
        seconds(window.end),
        window.requests
    )?;
    before(&steady.before, to)?;
    let is_known = |latency: &Latency| steady.metrics.latencies.contains_key(latency);
    let rows: Vec<Latency> = run.selection.latencies.iter().copied().filter(is_known).collect();
    let asked = &run.selection.percents;
    if !rows.is_empty() {
        Latencies { metrics: &steady.metrics, rows: &rows, asked, printed: &[] }.table(to)?;
    }
    throughput::main(&steady.metrics, to)
}

/// Writes what the window leaves out before its start.
fn before(before: &BeforeSteadyState, to: &mut impl Write) -> io::Result<()> {
    if before.requests == 0 {
        return Ok(());
    }
    write!(to, "Before it: {} requests", before.requests)?;
    for (name, mean) in [("TTFT", before.ttft), ("E2E", before.e2e)] {
        if mean.is_some() {
            write!(to, ", mean {name} {}", milliseconds(mean))?;
        }
    }
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::record::{Milestone, Record};
    use crate::model::run::SteadyState;
    use crate::testing::queue::{self, Queue};
    use crate::testing::sample_run;

    /// The report of a run whose answers take three seconds longer in the first ten, and its Records.
    fn run_with_a_slow_start() -> (Run, Vec<Record>) {
        let model = Queue::default();
        let mut records = model.open(2000, model.rate(0.5));
        for record in records.iter_mut().filter(|record| record.times.due() < Duration::from_secs(10)) {
            for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
                record.times.map_time(milestone, |at| at + Duration::from_secs(3));
            }
        }
        let spec = queue::spec(queue::open_load(model.rate(0.5)));
        let run = sample_run::of_records(spec, records.clone(), vec![99.0], false);
        (run, records)
    }

    fn report(run: &Run) -> String {
        let mut text = Vec::new();
        render(run, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_requests_before_the_window_are_counted_with_their_means() {
        let (run, records) = run_with_a_slow_start();
        let start = run.steady.as_ref().unwrap().window.start;
        let before: Vec<&Record> =
            records.iter().filter(|record| record.times.sent().unwrap() < start).collect();
        let mean = |time: fn(&Record) -> Option<Duration>| {
            let times = before.iter().filter_map(|record| time(record));
            milliseconds(Some(times.sum::<Duration>() / before.len() as u32))
        };
        let (ttft, e2e) = (mean(Record::ttft), mean(Record::e2e));
        let line = format!("\nBefore it: {} requests, mean TTFT {ttft}, mean E2E {e2e}\n", before.len());
        let text = report(&run);
        assert!(start >= Duration::from_secs(9) && text.contains(&line), "{line}\n{text}");
    }

    #[test]
    fn a_window_that_leaves_nothing_out_before_it_has_no_such_line() {
        let (mut run, _) = run_with_a_slow_start();
        let steady = run.steady.clone().unwrap();
        run.steady = Ok(SteadyState { before: BeforeSteadyState::default(), ..steady.clone() });
        assert!(report(&run).contains("Window: ") && !report(&run).contains("Before it"), "{}", report(&run));
        let unanswered = BeforeSteadyState { requests: 7, ttft: None, e2e: None };
        run.steady = Ok(SteadyState { before: unanswered, ..steady });
        assert!(report(&run).contains("\nBefore it: 7 requests\n"), "{}", report(&run));
    }
}
