//! The steady-state window beside the whole run.

use std::io::{self, Write};

use super::{intervals, section};
use crate::core::metrics::SCALARS;
use crate::core::run::{Before, Run};
use crate::core::steady::NoWindow;
use crate::report::figures::{milliseconds, seconds};

/// The section: the window's metrics, or why there is none.
pub fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    if run.steady == Err(NoWindow::NotLookedFor) {
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
    for key in ["request_throughput", "input_throughput", "output_throughput"] {
        let Some(scalar) = SCALARS.iter().find(|scalar| scalar.key == key) else { continue };
        writeln!(to, "{}", intervals::rate(scalar, &steady.metrics))?;
    }
    for latency in &run.selection.latencies {
        if let Some(distribution) = steady.metrics.latencies.get(latency) {
            writeln!(to, "{}", intervals::line(*latency, distribution))?;
        }
    }
    Ok(())
}

/// What was left out before the window.
fn before(before: &Before, to: &mut impl Write) -> io::Result<()> {
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
