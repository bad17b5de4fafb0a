//! The steady-state window beside the whole run.

use std::io::{self, Write};

use super::{intervals, section};
use crate::core::metrics::SCALARS;
use crate::core::run::Run;
use crate::core::steady::NoWindow;
use crate::report::figures::seconds;

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
