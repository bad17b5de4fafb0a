//! The console block of `vllm bench serve`, for scripts that read it: labels, order and widths are vLLM's (0.33.0).
//!
//! A missing value (a latency without a sample, a rate of a run that took no time) prints as `nan`: a parser reads
//! that as a number, and unlike vLLM's zero it is not mistaken for a measurement. The block has no place for the
//! verdict and other notes; [`render_notes`] writes them.

use std::io::{self, Write};
use std::time::Duration;

use super::text::{interruption, latency};
use crate::model::metrics::{FailureCount, Latency, Metrics, scalar};
use crate::model::plain_text::one_line;
use crate::model::run::Run;
use crate::model::server::SpecDecodeStats;
use crate::model::validity::CheckOutcome;
use crate::report::text::validity;

/// Width of a separator line, in characters.
const WIDTH: usize = 50;

/// The most failures that are shown.
const MAX_FAILURES: usize = 10;

/// The sections in order: vLLM's name and title of each.
const SECTIONS: [(Latency, &str, &str); 6] = [
    (Latency::Ttft, "TTFT", "Time to First Token"),
    (Latency::Tpot, "TPOT", "Time per Output Token (excl. 1st token)"),
    (Latency::Itl, "ITL", "Inter-token Latency"),
    (Latency::E2e, "E2EL", "End-to-end Latency"),
    (Latency::Lag, "Client Queue Time", "Client-side Queueing"),
    (Latency::E2eFromDue, "E2EL incl. Client Queue", "Queue-inclusive End-to-end Latency"),
];

/// Writes the block.
pub(crate) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    failures(&run.metrics.failures, to)?;
    let title = match run.is_predicted() {
        true => " Predicted Serving Result ",
        false => " Serving Benchmark Result ",
    };
    writeln!(to, "{title:=^WIDTH$}")?;
    requests(run, to)?;
    rates(&run.metrics, to)?;
    for (latency, name, title) in SECTIONS {
        if run.selection.latencies.contains(&latency) && is_section_shown(latency, run) {
            section(run, (latency, name, title), to)?;
        }
    }
    if let Some(speculation) = run.server.as_ref().and_then(SpecDecodeStats::from_server) {
        speculative_decoding(&speculation, to)?;
    }
    writeln!(to, "{:=^WIDTH$}", "")
}

fn speculative_decoding(speculation: &SpecDecodeStats, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{:-^WIDTH$}", "Speculative Decoding")?;
    number_line("Acceptance rate (%):", Some(100.0 * speculation.acceptance_rate()), to)?;
    number_line("Acceptance length:", speculation.acceptance_length(), to)?;
    if let Some(drafts) = speculation.drafts {
        count_line("Drafts:", drafts as u64, to)?;
    }
    count_line("Draft tokens:", speculation.draft_tokens as u64, to)?;
    count_line("Accepted tokens:", speculation.accepted_tokens as u64, to)?;
    if !speculation.by_position.is_empty() {
        writeln!(to, "Per-position acceptance (%):")?;
    }
    let mut positions = speculation.by_position.iter().enumerate();
    positions.try_for_each(|(at, share)| number_line(&format!("  Position {at}:"), Some(100.0 * share), to))
}

/// Writes what a reader of the block must also know: that the run was cut short, that our TPOT differs from the
/// block's, and the run's failed checks. Writes nothing for a complete, valid run.
pub(crate) fn render_notes(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let objections = [CheckOutcome::Invalid, CheckOutcome::Warning]
        .map(|outcome| run.validity.checks_with(outcome).count());
    if run.spec.target.insecure {
        writeln!(to, "TLS certificates: not checked")?;
    }
    if run.interrupted {
        interruption(&run.metrics, to)?;
    }
    if run.selection.latencies.contains(&Latency::Tpot) {
        latency::vllm_tpot(&run.metrics, to)?;
    }
    if run.is_predicted() || objections != [0, 0] {
        validity::run_banner(run, to)?;
        validity::warnings(&run.validity, to)?;
    }
    Ok(())
}

/// Writes one line for each failure class. vLLM has no classes, and writes one line for each request.
fn failures(failures: &[FailureCount], to: &mut impl Write) -> io::Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    writeln!(to, "Failed requests during benchmark run detected (capping to {MAX_FAILURES}):")?;
    for (i, FailureCount { class, count, example, advice }) in failures.iter().take(MAX_FAILURES).enumerate()
    {
        writeln!(to, "Error {i}: {class} ({count} requests, the first: {})", one_line(example))?;
        advice.iter().try_for_each(|advice| writeln!(to, "  {}", one_line(advice)))?;
    }
    Ok(())
}

fn requests(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let (metrics, load) = (&run.metrics, &run.spec.load);
    count_line("Successful requests:", metrics.completed as u64, to)?;
    count_line("Failed requests:", metrics.failed as u64, to)?;
    if let Some(cap) = load.max_concurrency {
        count_line("Maximum request concurrency:", cap.get() as u64, to)?;
    }
    if load.request_rate.is_finite() {
        number_line("Request rate configured (RPS):", Some(load.request_rate.get()), to)?;
    }
    number_line("Benchmark duration (s):", Some(metrics.duration.as_secs_f64()), to)?;
    count_line("Total input tokens:", metrics.input_tokens.total, to)?;
    match metrics.is_pooling() {
        true => Ok(()),
        false => count_line("Total generated tokens:", metrics.output_tokens.total, to),
    }
}

fn rates(metrics: &Metrics, to: &mut impl Write) -> io::Result<()> {
    let value = |key: &str| scalar(key).and_then(|scalar| (scalar.value)(metrics));
    number_line("Request throughput (req/s):", value("request_throughput"), to)?;
    if metrics.is_pooling() {
        number_line("Input throughput (inputs/s):", value("input_sequence_throughput"), to)?;
    }
    if metrics.good.is_some() {
        number_line("Request goodput (req/s):", value("request_goodput"), to)?;
    }
    if !metrics.is_pooling() {
        number_line("Output token throughput (tok/s):", value("output_throughput"), to)?;
        number_line("Peak output token throughput (tok/s):", metrics.peak_output_tokens_per_s, to)?;
        number_line("Peak concurrent requests:", Some(metrics.peak_in_flight as f64), to)?;
    }
    if metrics.input_audio.is_some() {
        number_line("RTFx (Inverse Real-Time Factor):", value("rtfx"), to)?;
    }
    number_line("Total token throughput (tok/s):", value("total_token_throughput"), to)
}

/// Whether vLLM prints a requested section. It prints client-side queueing only with a concurrency cap, and the
/// queue-inclusive latency only if the requests also follow a schedule.
fn is_section_shown(latency: Latency, run: &Run) -> bool {
    let load = &run.spec.load;
    match latency {
        Latency::Lag => load.max_concurrency.is_some(),
        Latency::E2eFromDue => load.max_concurrency.is_some() && load.request_rate.is_finite(),
        _ => true,
    }
}

fn section(run: &Run, (latency, name, title): (Latency, &str, &str), to: &mut impl Write) -> io::Result<()> {
    let distribution = match latency {
        Latency::Tpot => run.metrics.vllm_tpot(),
        _ => run.metrics.latencies.get(&latency),
    };
    writeln!(to, "{title:-^WIDTH$}")?;
    let mut line = |statistic: &str, value: Option<Duration>| {
        number_line(&format!("{statistic} {name} (ms):"), value.map(|value| value.as_secs_f64() * 1e3), to)
    };
    line("Mean", distribution.map(|d| d.mean))?;
    line("Median", distribution.map(|d| d.median))?;
    for p in &run.selection.percents {
        let found = distribution.and_then(|d| d.percentiles.iter().find(|percentile| percentile.p == *p));
        line(&format!("P{p}"), found.map(|percentile| percentile.value))?;
    }
    Ok(())
}

fn count_line(label: &str, value: u64, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{label:<40} {value:<10}")
}

fn number_line(label: &str, value: Option<f64>, to: &mut impl Write) -> io::Result<()> {
    match value {
        Some(value) => writeln!(to, "{label:<40} {value:<10.2}"),
        None => writeln!(to, "{label:<40} {:<10}", "nan"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::server::{ReplicaMetrics, ServerMetrics, ServerSignal};
    use crate::model::units::Rate;
    use crate::model::validity::{Check, CheckName, CheckScope, Verdict};
    use crate::testing::sample_run;

    /// The block of a sample with a failure, which is also in the run's file.
    const BLOCK: &str = "\
Failed requests during benchmark run detected (capping to 10):
Error 0: HTTP 503 (1 requests, the first: busy)
============ Serving Benchmark Result ============
Successful requests:                     1         
Failed requests:                         1         
Maximum request concurrency:             8         
Request rate configured (RPS):           20.00     
Benchmark duration (s):                  0.21      
Total input tokens:                      9         
Total generated tokens:                  3         
Request throughput (req/s):              4.69      
Output token throughput (tok/s):         14.08     
Peak output token throughput (tok/s):    14.08     
Peak concurrent requests:                2.00      
Total token throughput (tok/s):          56.34     
---------------Time to First Token----------------
Mean TTFT (ms):                          100.00    
Median TTFT (ms):                        100.00    
P50 TTFT (ms):                           100.00    
P99 TTFT (ms):                           100.00    
P99.9 TTFT (ms):                         100.00    
==================================================
";

    fn text(run: &Run) -> String {
        let mut text = Vec::new();
        render(run, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn said_beside(run: &Run) -> String {
        let mut text = Vec::new();
        render_notes(run, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_block_is_vllms_to_the_letter() {
        let mut run = sample_run::run(false);
        run.selection.latencies.truncate(1);
        assert_eq!(text(&run), BLOCK);
    }

    #[test]
    fn speculation_has_vllms_section() {
        let counted = |count: f64| vec![None, Some(count)];
        let replica = ReplicaMetrics {
            counters: [
                (ServerSignal::SpecDrafts, counted(100.0)),
                (ServerSignal::SpecDraftTokens, counted(200.0)),
                (ServerSignal::SpecAcceptedTokens, counted(150.0)),
            ]
            .into(),
            parts: [(ServerSignal::SpecAcceptedByPosition, [("0".to_owned(), 90.0)].into())].into(),
            ..ReplicaMetrics::default()
        };
        let server = ServerMetrics {
            interval: Duration::ZERO,
            at_s: vec![0.0, 1.0],
            replicas: vec![replica],
            ..ServerMetrics::default()
        };
        let text = text(&Run { server: Some(server), ..sample_run::run(false) });
        let (_, section) = text.split_once("---------------Speculative Decoding---------------\n").unwrap();
        let lines: Vec<_> =
            section.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[..3], ["Acceptance rate (%): 75.00", "Acceptance length: 2.50", "Drafts: 100"]);
        assert_eq!(lines[3..5], ["Draft tokens: 200", "Accepted tokens: 150"]);
        assert_eq!(lines[5..7], ["Per-position acceptance (%):", "Position 0: 90.00"]);
    }

    #[test]
    fn what_is_absent_is_no_zero_and_still_a_number() {
        let mut run = sample_run::run(false);
        run.metrics.latencies.clear();
        run.metrics.duration = Duration::ZERO;
        let text = text(&run);
        assert!(text.contains("\nMean TTFT (ms):                          nan       \n"), "{text}");
        assert!(text.contains("\nRequest throughput (req/s):              nan       \n"), "{text}");
        assert!(!text.contains("n/a"));
    }

    #[test]
    fn pooling_and_recordings_have_the_lines_that_vllm_gives_them() {
        let labels = |run: &Run| -> Vec<String> {
            let text = text(run);
            let lines = text.lines().skip_while(|line| !line.starts_with("Total input"));
            lines.take_while(|line| !line.starts_with('-')).map(|line| line[..40].trim().to_owned()).collect()
        };
        let mut run = sample_run::run(false);
        run.metrics.input_sequences = Some(2);
        let pooling = ["Total input tokens:", "Request throughput (req/s):", "Input throughput (inputs/s):"];
        assert_eq!(labels(&run), [&pooling[..], &["Total token throughput (tok/s):"]].concat());
        run.metrics.input_sequences = None;
        run.metrics.input_audio = Some(Duration::from_secs(9));
        assert!(labels(&run).contains(&"RTFx (Inverse Real-Time Factor):".to_owned()));
    }

    #[test]
    fn queueing_is_shown_where_vllm_shows_it() {
        let mut run = sample_run::run(false);
        run.selection.latencies = vec![Latency::E2eFromDue, Latency::Lag];
        let both = text(&run);
        assert!(
            both.contains(
                "\n---------------Client-side Queueing---------------\nMean Client Queue Time (ms):"
            )
        );
        assert!(
            both.contains(
                "\n--------Queue-inclusive End-to-end Latency--------\nMean E2EL incl. Client Queue"
            )
        );
        run.spec.load.request_rate = Rate::INFINITE;
        assert!(!text(&run).contains("Queue-inclusive"));
        run.spec.load.max_concurrency = None;
        assert!(!text(&run).contains("Queue"));
    }

    #[test]
    fn objections_are_said_beside_the_block() {
        let mut run = sample_run::run(false);
        run.validity = Verdict { valid: true, checks: Vec::new() };
        assert_eq!(said_beside(&run), "");
        run.interrupted = true;
        assert!(said_beside(&run).contains("was interrupted"));
        let advice = "send less".to_owned();
        let name = CheckName::ScheduleLag;
        run.validity.checks.push(Check {
            name,
            outcome: CheckOutcome::Invalid,
            scope: CheckScope::Run,
            figure: None,
            bound: None,
            advice,
        });
        run.validity.valid = false;
        let said = said_beside(&run);
        assert!(said.contains("INVALID: ") && said.contains("send less"), "{said}");
        assert!(!text(&run).contains("INVALID"));
    }
}
