use proptest::prelude::*;

use super::*;
use crate::model::server::ReplicaMetrics;
use crate::server::metrics_text::MetricsText;

/// Records samples a second apart; `None` is a missing answer.
fn record(pages: &[Option<&str>]) -> ServerMetrics {
    let mut recorder = MetricsRecorder::new(["http://a/metrics".to_owned()], Duration::from_secs(1));
    for (second, page) in (0..).zip(pages) {
        let at = Timestamp::from_second(1_000 + second).unwrap();
        recorder.push(at, vec![page.map(|page| MetricsSnapshot::from_page(&MetricsText::parse(page)))]);
    }
    recorder.finish(Timestamp::from_second(1_000).unwrap())
}

#[test]
fn gauges_are_levels_and_counters_increases() {
    let server = record(&[
        Some("vllm:num_requests_running 1\nvllm:num_preemptions_total 5\n"),
        Some("vllm:num_requests_running 3\nvllm:num_preemptions_total 5\n"),
        Some("vllm:num_requests_running 2\nvllm:num_preemptions_total 7\n"),
    ]);
    assert_eq!(server.at_s, [0.0, 1.0, 2.0]);
    let replica = &server.replicas[0];
    assert_eq!(replica.engine.as_deref(), Some("vLLM"));
    assert_eq!(replica.gauges[&ServerSignal::Running], [Some(1.0), Some(3.0), Some(2.0)]);
    assert_eq!(replica.counters[&ServerSignal::Preemptions], [None, Some(0.0), Some(2.0)]);
    assert_eq!(server.counter_total(ServerSignal::Preemptions), Some(2.0));
}

#[test]
fn idle_samples_before_and_after_the_run_are_in_no_mean() {
    let running = |levels: &[u32]| {
        let pages: Vec<String> =
            levels.iter().map(|level| format!("vllm:num_requests_running {level}\n")).collect();
        let pages: Vec<Option<&str>> = pages.iter().map(|page| Some(page.as_str())).collect();
        record(&pages).gauge_summary(ServerSignal::Running).unwrap()
    };
    assert_eq!(running(&[0, 12, 14, 13, 0]), GaugeSummary { mean: 13.0, peak: 14.0 });
    assert_eq!(running(&[0, 8]), GaugeSummary { mean: 4.0, peak: 8.0 }, "there are no others");
    let late =
        record(&[Some(""), Some("vllm:num_requests_running 6\n"), Some("vllm:num_requests_running 0\n")]);
    assert_eq!(late.gauge_summary(ServerSignal::Running).unwrap().mean, 6.0);
}

#[test]
fn a_hole_between_samples_is_as_long_as_it_was() {
    let mut recorder = MetricsRecorder::new(["http://a/metrics".to_owned()], Duration::from_secs(1));
    for ms in [0, 1_000, 2_100, 8_800, 9_000] {
        recorder.push(Timestamp::from_millisecond(ms).unwrap(), vec![None]);
    }
    let server = recorder.finish(Timestamp::from_millisecond(0).unwrap());
    assert_eq!(server.longest_gap, Duration::from_millis(6_700));
}

#[test]
fn a_sample_from_before_the_run_has_a_time_below_zero() {
    let mut recorder = MetricsRecorder::new(["http://a/metrics".to_owned()], Duration::from_secs(1));
    for millisecond in [999_250, 1_000_000, 1_000_750] {
        let page = MetricsText::parse("vllm:num_requests_running 1\n");
        recorder.push(
            Timestamp::from_millisecond(millisecond).unwrap(),
            vec![Some(MetricsSnapshot::from_page(&page))],
        );
    }
    assert_eq!(recorder.finish(Timestamp::from_second(1_000).unwrap()).at_s, [-0.75, 0.0, 0.75]);
}

#[test]
fn what_is_missing_is_missing_and_nothing_is_lost() {
    let page = |count: u32| format!("vllm:prompt_tokens_total {count}\n");
    let server = record(&[Some(&page(10)), None, Some(&page(30)), Some("")]);
    assert_eq!(server.missed_samples(), 1);
    assert_eq!(server.replicas[0].counters[&ServerSignal::PromptTokens], [None, None, Some(20.0), None]);
}

#[test]
fn a_restart_is_noticed_and_what_came_after_counts() {
    let page = |start: u32, count: u32, sum: f64| {
        format!(
            "process_start_time_seconds {start}\nvllm:generation_tokens_total {count}\n\
             vllm:time_to_first_token_seconds_sum {sum}\nvllm:time_to_first_token_seconds_count {count}\n"
        )
    };
    let server = record(&[Some(&page(7, 100, 9.0)), Some(&page(7, 110, 10.0)), Some(&page(9, 4, 2.0))]);
    assert_eq!(server.restarts().collect::<Vec<_>>(), [2.0]);
    assert_eq!(server.counter_total(ServerSignal::GenerationTokens), Some(14.0));
    let ttft = server.histogram_total(ServerSignal::Ttft).unwrap();
    assert_eq!((ttft.count, ttft.sum), (14.0, 3.0));
    assert_eq!(server.replicas[0].means_s[&ServerSignal::Ttft], [None, Some(0.1), Some(0.5)]);
    assert!(!server.replicas[0].gauges.contains_key(&ServerSignal::ProcessStart));
    assert_eq!(server.replicas[0].started, Some(7.0), "the run began on that start");
}

#[test]
fn a_counter_that_falls_is_a_restart_too() {
    let server = record(&[Some("vllm:prompt_tokens_total 8\n"), Some("vllm:prompt_tokens_total 3\n")]);
    assert_eq!(server.restarts().count(), 1);
    assert_eq!(server.counter_total(ServerSignal::PromptTokens), Some(3.0));
}

#[test]
fn parts_are_what_was_counted_of_each() {
    let page = |stop: u32, length: &str| {
        format!("vllm:request_success_total{{finished_reason=\"stop\"}} {stop}\n{length}")
    };
    let length = "vllm:request_success_total{finished_reason=\"length\"} 2\n";
    let server = record(&[Some(&page(10, "")), Some(&page(13, length))]);
    let expected = [("length".to_owned(), 2.0), ("stop".to_owned(), 3.0)];
    assert_eq!(
        server.counter_parts(ServerSignal::Finished),
        expected,
        "V0 has a reason only after its first use"
    );
    assert_eq!(server.counter_total(ServerSignal::Finished), Some(5.0));
}

#[test]
fn a_course_survives_its_json() {
    let server = record(&[
        Some(
            "vllm:num_requests_running 1\nvllm:cache_config_info{block_size=\"16\"} 1\nvllm:num_preemptions_total 5",
        ),
        None,
        Some("vllm:num_requests_running 3\nvllm:num_preemptions_total 6"),
    ]);
    let json = serde_json::to_string(&server).unwrap();
    assert_eq!(serde_json::from_str::<ServerMetrics>(&json).unwrap(), server);
}

/// A replica's state in a sample: whether it answers, its running requests, its new counts, whether it restarted.
type Moment = (bool, u32, u32, bool);

fn moments() -> impl Strategy<Value = Vec<(Moment, Moment)>> {
    let moment = || (prop::bool::weighted(0.9), 0..100_u32, 0..50_u32, prop::bool::weighted(0.05));
    prop::collection::vec((moment(), moment()), 1..200)
}

/// The pages of a replica through these states.
fn pages(moments: impl Iterator<Item = Moment>) -> Vec<Option<String>> {
    let (mut start, mut count) = (1_000, 0);
    let page = |(answers, running, more, restarts): Moment| {
        if restarts {
            (start, count) = (start + 10, 0);
        }
        count += more;
        let page = format!(
            "process_start_time_seconds {start}\nvllm:num_requests_running {running}\n\
             vllm:num_preemptions_total {count}\nvllm:time_to_first_token_seconds_sum {count}\n\
             vllm:time_to_first_token_seconds_count {count}\n"
        );
        answers.then_some(page)
    };
    moments.map(page).collect()
}

/// Records with at most `most` points besides the first.
fn thinned(pages: &[Vec<Option<String>>; 2], most: usize) -> ServerMetrics {
    let urls = ["http://a/metrics", "http://b/metrics"].map(ToOwned::to_owned);
    let mut recorder = MetricsRecorder { most, ..MetricsRecorder::new(urls, Duration::from_secs(1)) };
    for (second, (a, b)) in (0..).zip(pages[0].iter().zip(&pages[1])) {
        let reading = |page: &Option<String>| {
            page.as_deref().map(|page| MetricsSnapshot::from_page(&MetricsText::parse(page)))
        };
        recorder.push(Timestamp::from_second(1_000 + second).unwrap(), vec![reading(a), reading(b)]);
    }
    recorder.finish(Timestamp::from_second(1_000).unwrap())
}

proptest! {
    #[test]
    fn thinning_keeps_sums_means_and_peaks_exactly(moments in moments(), most in 1..10_usize) {
        let pages = [pages(moments.iter().map(|both| both.0)), pages(moments.iter().map(|both| both.1))];
        let (thin, whole) = (thinned(&pages, 2 * most), thinned(&pages, 1_000));
        prop_assert!(thin.point_count() <= 2 * most + 1, "{} points", thin.point_count());
        prop_assert_eq!(thin.taken, moments.len());
        prop_assert_eq!(thin.counter_total(ServerSignal::Preemptions), whole.counter_total(ServerSignal::Preemptions));
        prop_assert_eq!(thin.gauge_summary(ServerSignal::Running), whole.gauge_summary(ServerSignal::Running));
        prop_assert_eq!(thin.histogram_total(ServerSignal::Ttft), whole.histogram_total(ServerSignal::Ttft));
        prop_assert_eq!((thin.missed_samples(), thin.restarts().count()), (whole.missed_samples(), whole.restarts().count()));
        prop_assert!(thin.at_s.is_sorted());
        prop_assert_eq!((thin.at_s[0], thin.at_s.last()), (0.0, whole.at_s.last()));
        for (thin, whole) in thin.replicas.iter().zip(&whole.replicas) {
            let peak = |replica: &ReplicaMetrics| {
                let levels = replica.gauges.get(&ServerSignal::Running).into_iter().flatten().flatten();
                levels.copied().fold(0.0, f64::max)
            };
            prop_assert_eq!(peak(thin), peak(whole));
        }
    }
}

#[test]
fn points_of_a_long_run_are_equally_far_apart() {
    let page = |second: u32| {
        Some(format!("vllm:num_requests_running {}\nvllm:num_preemptions_total {second}\n", second % 10))
    };
    let pages: Vec<_> = (0..1_001).map(page).collect();
    let server = thinned(&[pages.clone(), pages], 100);
    assert_eq!((server.point_count(), server.taken), (64, 1_001));
    let steps: Vec<f64> = server.at_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps[..steps.len() - 1].iter().all(|step| *step == 16.0), "{steps:?}");
    assert_eq!(server.replicas[0].counters[&ServerSignal::Preemptions][1..3], [Some(16.0), Some(16.0)]);
    assert_eq!(server.gauge_summary(ServerSignal::Running).unwrap().peak, 18.0);
}
