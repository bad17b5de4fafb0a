use super::*;
use crate::server::metrics_text::MetricsText;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn reading(page: &str) -> Option<MetricsSnapshot> {
    Some(MetricsSnapshot::from_page(&MetricsText::parse(page)))
}

fn look(monitor: &mut ServerMonitor, seconds: u64, page: &str) -> Vec<StatusChange> {
    monitor.observe(at(seconds), reading(page))
}

fn condition(monitor: &ServerMonitor, signal: ServerSignal) -> SignalCondition {
    *monitor.conditions().find(|condition| condition.signal == signal).unwrap()
}

fn swapped(count: u32) -> String {
    format!("vllm:num_requests_swapped {count}\n")
}

#[test]
fn swapping_for_five_minutes_is_an_alert_and_before_that_a_warning() {
    let mut monitor = ServerMonitor::default();
    for seconds in (0..=298).step_by(2) {
        look(&mut monitor, seconds, &swapped(3));
        assert_eq!(monitor.status(), SignalStatus::Warn, "at {seconds} s");
    }
    let changes = look(&mut monitor, 300, &swapped(3));
    assert!(
        matches!(changes[..], [StatusChange::SignalChanged { now: Some(now), before: SignalStatus::Warn, .. }] if now.state == SignalStatus::Alert)
    );
    assert_eq!(condition(&monitor, ServerSignal::Swapped).lasted, at(300));
    assert!(monitor.has_alerted());
    let changes = look(&mut monitor, 302, &swapped(0));
    assert!(
        matches!(changes[..], [StatusChange::SignalChanged { before: SignalStatus::Alert, lasted, .. }] if lasted == at(302)),
        "{changes:?}"
    );
    assert_eq!(monitor.status(), SignalStatus::Ok);
    assert!(monitor.has_alerted(), "that there was one is not forgotten");
    let (signal, spell) = monitor.incidents().next().unwrap();
    assert_eq!((signal, spell.times, spell.time), (ServerSignal::Swapped, 1, at(302)), "as the changes said");
    assert_eq!((spell.worst.figure, spell.worst.state), (3.0, SignalStatus::Alert));
}

#[test]
fn what_stops_in_between_begins_anew() {
    let mut monitor = ServerMonitor::default();
    look(&mut monitor, 0, &swapped(1));
    look(&mut monitor, 200, &swapped(0));
    look(&mut monitor, 220, &swapped(1));
    look(&mut monitor, 240, &swapped(1));
    assert_eq!(condition(&monitor, ServerSignal::Swapped).lasted, at(20));
}

#[test]
fn a_short_silence_is_told_and_does_not_end_what_lasts() {
    let mut monitor = ServerMonitor::default();
    look(&mut monitor, 0, &swapped(1));
    assert_eq!(monitor.observe(at(2), None), [StatusChange::Unreachable]);
    assert_eq!(monitor.observe(at(12), None), []);
    assert_eq!((monitor.unreachable_for(), monitor.status()), (Some(at(10)), SignalStatus::Warn));
    let changes = look(&mut monitor, 14, &swapped(1));
    assert_eq!(changes[0], StatusChange::Reachable(at(12)));
    assert_eq!(condition(&monitor, ServerSignal::Swapped).lasted, at(14));
    assert_eq!(monitor.incidents().next().unwrap().1.time, at(14), "the sum agrees with what was shown");
    assert!(!monitor.has_alerted());
}

#[test]
fn after_a_long_silence_nobody_knows_what_was_and_it_was_an_alert() {
    let mut monitor = ServerMonitor::default();
    look(&mut monitor, 0, &swapped(1));
    look(&mut monitor, 2, &swapped(1));
    for seconds in (4..=80).step_by(2) {
        monitor.observe(at(seconds), None);
    }
    assert_eq!(monitor.status(), SignalStatus::Alert);
    look(&mut monitor, 82, &swapped(1));
    assert_eq!(condition(&monitor, ServerSignal::Swapped).lasted, at(0));
    assert!(monitor.has_alerted());
}

#[test]
fn a_restart_is_told_and_makes_no_rates() {
    let page = |start: u32, count: u32| {
        format!(
            "process_start_time_seconds {start}\nvllm:num_requests_swapped 1\nvllm:num_preemptions_total {count}\n"
        )
    };
    let mut monitor = ServerMonitor::default();
    look(&mut monitor, 0, &page(100, 50));
    look(&mut monitor, 10, &page(100, 60));
    assert_eq!(condition(&monitor, ServerSignal::Preemptions).figure, 1.0);
    let changes = look(&mut monitor, 20, &page(900, 3));
    assert_eq!(changes[0], StatusChange::Restarted);
    assert!(monitor.conditions().all(|condition| condition.signal != ServerSignal::Preemptions));
    assert_eq!(condition(&monitor, ServerSignal::Swapped).lasted, at(0));
    look(&mut monitor, 30, &page(900, 3));
    assert_eq!(condition(&monitor, ServerSignal::Preemptions).figure, 0.0);
}

#[test]
fn rates_are_of_the_last_half_minute() {
    let page = |count: u64| format!("vllm:num_preemptions_total {count}\n");
    let mut monitor = ServerMonitor::default();
    for seconds in (0..=100).step_by(2) {
        look(&mut monitor, seconds, &page(seconds.min(50)));
    }
    assert_eq!(condition(&monitor, ServerSignal::Preemptions).figure, 0.0);
    look(&mut monitor, 102, &page(53));
    assert!((condition(&monitor, ServerSignal::Preemptions).figure - 0.1).abs() < 1e-12);
}

#[test]
fn latencies_of_an_idle_server_are_not_those_of_its_past() {
    let page = |count: u32| {
        format!(
            "vllm:num_requests_running 0\nvllm:time_to_first_token_seconds_bucket{{le=\"1\"}} {count}\n\
             vllm:time_to_first_token_seconds_bucket{{le=\"0.6\"}} 0\nvllm:time_to_first_token_seconds_bucket{{le=\"+Inf\"}} {count}\n\
             vllm:time_to_first_token_seconds_sum {count}\nvllm:time_to_first_token_seconds_count {count}\n"
        )
    };
    let mut monitor = ServerMonitor::default();
    look(&mut monitor, 0, &page(5));
    assert_eq!(monitor.status(), SignalStatus::Ok);
    look(&mut monitor, 2, &page(9));
    assert_eq!(condition(&monitor, ServerSignal::Ttft).state, SignalStatus::Warn);
    let mut changes = Vec::new();
    for seconds in (4..=40).step_by(2) {
        changes.extend(look(&mut monitor, seconds, &page(9)));
    }
    let (_, row) = monitor.tracks().find(|(signal, _)| *signal == ServerSignal::Ttft).unwrap();
    assert_eq!((row.condition, row.history.back()), (None, Some(&None)));
    assert!(
        matches!(changes[..], [StatusChange::SignalChanged { now: None, before: SignalStatus::Warn, .. }]),
        "{changes:?}"
    );
}

#[test]
fn history_has_an_end() {
    let mut monitor = ServerMonitor::default();
    for seconds in 0..1000 {
        look(&mut monitor, seconds, &swapped(0));
    }
    assert!(monitor.tracks().all(|(_, row)| row.history.len() == HISTORY_LEN));
    assert!(monitor.snapshots.len() < 40);
}

/// The total duration at the end is the sum of the durations in the reported changes.
#[test]
fn a_spell_lasts_as_long_as_was_shown() {
    let mut monitor = ServerMonitor::default();
    let mut shown = Duration::ZERO;
    for (seconds, count) in [(0, 0), (2, 1), (4, 0), (6, 1), (8, 2), (10, 1), (13, 0), (15, 0)] {
        for changes in look(&mut monitor, seconds, &swapped(count)) {
            if let StatusChange::SignalChanged { before: SignalStatus::Warn, lasted, .. } = changes {
                shown += lasted;
            }
        }
    }
    let (_, spell) = monitor.incidents().next().unwrap();
    assert_eq!((spell.times, spell.time, shown), (2, at(9), at(9)));
}
