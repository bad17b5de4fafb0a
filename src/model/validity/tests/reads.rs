//! Tests of events that are read late, together, or in bursts.

use super::*;

#[test]
fn a_read_delay_is_fatal_only_without_kernel_stamps() {
    let mut case = Case::clean();
    case.evidence.read_delay = Some(ms(40));
    assert_eq!(case.outcome(CheckName::ReadDelay), CheckOutcome::Passed);
    case.evidence.timestamp_source = Some(TimestampSource::Reader);
    case.assert(CheckName::ReadDelay, CheckOutcome::Invalid);
    case.evidence.read_delay = None;
    case.assert(CheckName::ReadDelay, CheckOutcome::Warning);
    case.evidence.read_delay = Some(Duration::from_micros(900));
    assert_eq!(case.outcome(CheckName::ReadDelay), CheckOutcome::Passed);
}

/// A server that writes each event by itself every `gap`, and a reader that reads when every `together`-th has been
/// written: all but one gap of them are zero, and the read delay is at most the gap.
fn read_late(case: &mut Case, gap: Duration, together: u32) {
    case.itl = (0..1000).map(|i| if i % together == 0 { gap * together } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(1.0 - f64::from(together).recip());
    case.evidence.read_delay = Some(gap * 9 / 10);
}

#[test]
fn events_that_a_late_reader_takes_together_are_objected_to() {
    for (gap, together) in [(ms(10), 2), (ms(10), 10), (Duration::from_micros(500), 3)] {
        let mut case = Case::clean();
        read_late(&mut case, gap, together);
        case.assert(CheckName::MergedReads, CheckOutcome::Invalid);
        case.evidence.merged_reads = Some(0.05);
        case.assert(CheckName::MergedReads, CheckOutcome::Warning);
        case.evidence.merged_reads = Some(0.009);
        assert_eq!(case.outcome(CheckName::MergedReads), CheckOutcome::Passed);
    }
}

#[test]
fn events_that_the_server_sends_together_are_no_objection() {
    for (pause, together) in [(ms(40), 2), (ms(40), 8), (ms(5), 5)] {
        let mut case = Case::clean();
        read_late(&mut case, pause / together, together);
        case.evidence.read_delay = Some(Duration::from_micros(200));
        assert_eq!(case.outcome(CheckName::MergedReads), CheckOutcome::Passed, "{together} every {pause:?}");
    }
}

#[test]
fn who_merged_reads_of_unknown_delay_is_not_judged() {
    let mut case = Case::clean();
    case.evidence.merged_reads = Some(0.5);
    case.evidence.read_delay = None;
    assert_eq!(case.outcome(CheckName::MergedReads), CheckOutcome::NotJudged);
}

/// A gateway that forwards 16 events of a server at a time: the first token waits for the others.
fn buffered() -> Case {
    let mut case = Case::clean();
    case.itl = (0..1600).map(|i| if i % 16 == 0 { ms(208) } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(0.94);
    case.evidence.burst_starts = Some(0.99);
    case
}

/// The means that the client measured.
fn as_measured(case: &Case) -> ServerMeanLatencies {
    let metrics = Metrics::compute(&case.records, &case.itl, &case.spec.slo, &case.percents);
    let mean = |latency: Latency| metrics.latencies[&latency].mean;
    ServerMeanLatencies { ttft: mean(Latency::Ttft), tpot: mean(Latency::Tpot) }
}

#[test]
fn a_buffer_on_the_way_makes_times_within_the_stream_invalid_and_nothing_else() {
    let case = buffered();
    case.assert(CheckName::Bursts, CheckOutcome::Invalid);
    assert_eq!(case.only_objection().scope, CheckScope::Stream);
    let advice = case.only_objection().advice;
    for fix in ["proxy_buffering off", "X-Accel-Buffering: no", "option http-no-delay"] {
        assert!(advice.contains(fix), "{advice}");
    }
    let verdict = case.verdict();
    assert_eq!(verdict.invalid_metrics().as_deref(), Some("TTFT, TPOT and ITL"));
    assert_eq!(verdict.run_invalid_reason(), None);
    // Answers that arrive in one read, while the reader was also late.
    let mut whole = Case { itl: std::iter::repeat_n(Duration::ZERO, 100).collect(), ..buffered() };
    whole.evidence.merged_reads = Some(0.99);
    whole.assert(CheckName::Bursts, CheckOutcome::Invalid);
    whole.evidence.read_delay = Some(ms(150));
    assert_eq!(whole.outcome(CheckName::Bursts), CheckOutcome::Invalid);
}

#[test]
fn several_tokens_of_a_step_at_once_are_no_buffer() {
    // Speculative decoding: the tokens of a step together, the first one alone.
    let mut case = Case::clean();
    case.itl = (0..1000).map(|i| if i % 4 == 0 { ms(40) } else { Duration::ZERO }).collect();
    case.evidence.merged_reads = Some(0.75);
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Passed);
    // Where even the first step has several tokens, the server's own times show that nothing arrived later than it was
    // sent.
    case.evidence.burst_starts = Some(0.9);
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Invalid);
    case.evidence.server_times = Some(as_measured(&case));
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Passed);
}

#[test]
fn the_servers_own_times_tell_on_a_buffer_that_only_some_answers_go_through() {
    let mut case = buffered();
    case.evidence.burst_starts = Some(0.3);
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Passed);
    let servers = as_measured(&case);
    case.evidence.server_times = Some(ServerMeanLatencies { tpot: servers.tpot.mul_f64(1.1), ..servers });
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Invalid);
    for record in &mut case.records {
        let times = &mut record.times;
        for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
            times.map_time(milestone, |at| at + ms(120));
        }
    }
    case.evidence.server_times = Some(servers);
    // The network may cause a TTFT above the server's, unless most answers begin with a burst.
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Passed);
    case.evidence.burst_starts = Some(0.6);
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Invalid);
}

#[test]
fn events_that_follow_each_other_within_milliseconds_hide_nothing() {
    let mut case = buffered();
    case.itl = (0..1600).map(|i| if i % 16 == 0 { ms(3) } else { Duration::ZERO }).collect();
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::Passed);
    case.evidence.burst_starts = None;
    assert_eq!(case.outcome(CheckName::Bursts), CheckOutcome::NotJudged);
}
