//! Where the time of the requests went, by the server's own times.

use std::io::{self, Write};

use super::section;
use crate::model::metrics::Metrics;
use crate::model::metrics::waterfall::{Phase, PhaseTime, TimeShare, Waterfall};
use crate::report::format::{bare_milliseconds, percent, share_text};
use crate::report::table::{Column, Table};

const COLUMNS: [Column; 4] = [Column::LEFT, Column::RIGHT, Column::LEFT, Column::LEFT];

/// Writes the section; writes nothing if no answer has the server's times.
pub(super) fn render(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let Some(waterfall) = &metrics.waterfall else { return Ok(()) };
    section("Where the Time Goes", to)?;
    if !waterfall.phases.is_empty() {
        let head = ["", "mean, ms", "share of TTFT", &format!("of the slowest {}", waterfall.slowest)]
            .map(str::to_owned);
        let rows = waterfall.phases.iter().map(|time| row(waterfall, time).to_vec());
        Table::new(&COLUMNS, std::iter::once(head.to_vec()).chain(rows).collect()).write(to)?;
    }
    if let Some((phase, share)) = waterfall.largest_of_slowest() {
        writeln!(to, "Slowest 1 % by TTFT: {} {}", with_interval(share), name(waterfall, phase))?;
    }
    let Waterfall { answered, requests, contradictory, .. } = *waterfall;
    if requests < answered {
        writeln!(
            to,
            "Answers with the server's times: {requests} of {answered} ({})",
            percent(requests, answered)
        )?;
    }
    if contradictory > 0 {
        writeln!(
            to,
            "Left out: {contradictory} of {requests} answers, whose times by the server are longer than the client saw"
        )?;
    }
    Ok(())
}

fn row(waterfall: &Waterfall, time: &PhaseTime) -> [String; 4] {
    let share = |share: Option<TimeShare>| share.map(with_interval).unwrap_or_default();
    [
        name(waterfall, time.phase).to_owned(),
        bare_milliseconds(time.mean),
        share(time.share),
        share(time.slowest_share),
    ]
}

/// The name of a phase. The rest contains the queue if the server does not report that.
fn name(waterfall: &Waterfall, phase: Phase) -> &'static str {
    match phase {
        Phase::ClientLag => "client lag",
        Phase::Connect => "connect",
        Phase::Network if waterfall.phase(Phase::Queue).is_none() => "network, gateway, server queue",
        Phase::Network => "network and gateway",
        Phase::Queue => "server queue",
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Delivery => "delivery",
    }
}

fn with_interval(share: TimeShare) -> String {
    match share.interval {
        Some(interval) => {
            let interval = interval.scaled(100.0);
            format!("{} [{:.1}, {:.1}]", share_text(share.value), interval.low, interval.high)
        }
        None => share_text(share.value),
    }
}
