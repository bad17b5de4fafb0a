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
    if answered < metrics.completed {
        writeln!(to, "From a sample of {answered} of {} answers", metrics.completed)?;
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::record::{Record, ServerTimes};
    use crate::testing::sample_run;

    /// The section of a run with one answer for each queue time in milliseconds; an answer with `None` has no server times.
    fn rendered(queues_ms: &[Option<u64>], change: impl FnOnce(&mut Metrics)) -> String {
        let ms = Duration::from_millis;
        let answer = |queue: &Option<u64>| Record {
            server_times: ServerTimes::new(queue.map(ms), queue.map(|_| ms(30)), Some(ms(95))).boxed(),
            ..sample_run::records().remove(0)
        };
        let records = queues_ms.iter().map(answer).collect();
        let mut run = sample_run::of_records(sample_run::spec(), records, Vec::new(), false);
        change(&mut run.metrics);
        let mut text = Vec::new();
        render(&run.metrics, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_phase_has_its_mean_and_shares() {
        let text = rendered(&[Some(60), Some(40)], |_| {});
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let words = |name: &str| row(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words("server queue")[2..], ["50", "49.0", "%", "58.8", "%"], "{text}");
        assert_eq!(words("delivery")[1..], ["5.00"], "{text}");
        assert!(text.ends_with("Slowest 1 % by TTFT: 58.8 % server queue\n"), "{text}");
    }

    #[test]
    fn the_answers_that_it_was_computed_from_are_counted() {
        assert_eq!(rendered(&[None], |_| {}), "");
        let some = rendered(&[Some(60), None], |_| {});
        assert!(some.contains("Answers with the server's times: 1 of 2 (50"), "{some}");
        let wrong = rendered(&[Some(60), Some(80)], |_| {});
        assert!(wrong.contains("Left out: 1 of 2 answers"), "{wrong}");
        let sampled = rendered(&[Some(60)], |metrics| metrics.completed = 400_000);
        assert!(sampled.contains("From a sample of 1 of 400000 answers\n"), "{sampled}");
    }
}
