//! The lines of one latency, which are part of the lines that scripts read.

use std::io::{self, Write};
use std::time::Duration;

use crate::model::metrics::{Latency, Metrics};
use crate::model::run::Run;
use crate::report::format::{milliseconds, percentile_name};
use crate::stats::Distribution;

/// Writes the lines of a latency's section.
pub(crate) fn lines(run: &Run, latency: Latency, to: &mut impl Write) -> io::Result<()> {
    let distribution = run.metrics.latencies.get(&latency);
    let symbol = latency.symbol();
    if run.spec.sampling.whole && latency.is_stream_only() {
        return does_not_apply(latency, to);
    }
    writeln!(to, "Mean {symbol}: {}", milliseconds(distribution.map(|d| d.mean)))?;
    writeln!(to, "Median {symbol}: {}", milliseconds(distribution.map(|d| d.median)))?;
    // The median is P50.
    for p in run.selection.percents.iter().filter(|p| **p != 50.0) {
        writeln!(to, "{} {symbol}: {}", percentile_name(*p), milliseconds(value_at(distribution, *p)))?;
    }
    if latency == Latency::Tpot { vllm_tpot(&run.metrics, to) } else { Ok(()) }
}

/// Notes that answers in one piece have no latencies within a stream.
pub(crate) fn does_not_apply(latency: Latency, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{} does not apply: answers came in one piece", latency.symbol())
}

fn value_at(distribution: Option<&Distribution>, p: f64) -> Option<Duration> {
    distribution?.percentiles.iter().find(|percentile| percentile.p == p).map(|percentile| percentile.value)
}

/// Notes where vLLM's client would report another TPOT: answers without a TPOT, and a mean that differs by more than
/// 1 %.
pub(crate) fn vllm_tpot(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let Some(vllms) = &metrics.vllm_tpot else { return Ok(()) };
    let ours = metrics.latencies.get(&Latency::Tpot);
    let untimed = vllms.n.saturating_sub(ours.map_or(0, |ours| ours.n));
    if untimed > 0 {
        writeln!(
            to,
            "No TPOT: {untimed} of {} answers came in one event, so their tokens cannot be timed",
            vllms.n
        )?;
    }
    let is_close = |ours: Duration| {
        let (ours, vllms) = (ours.as_secs_f64(), vllms.mean.as_secs_f64());
        (ours - vllms).abs() <= ours.max(vllms) / 100.0
    };
    match ours.is_some_and(|ours| is_close(ours.mean)) {
        true => Ok(()),
        false => writeln!(
            to,
            "Mean TPOT as vLLM computes it: {} (it counts the first event as one token)",
            milliseconds(Some(vllms.mean))
        ),
    }
}
