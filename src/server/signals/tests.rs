use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

mod spellings;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn fixtures(ending: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder().join("fixtures/metrics")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == ending));
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut pages: Vec<_> = wanted.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect();
    pages.sort();
    pages
}

fn reading(page: &str) -> MetricsSnapshot {
    MetricsSnapshot::from_page(&MetricsText::parse(page))
}

fn described(value: &SignalValue) -> String {
    match value {
        SignalValue::Number(number) => number.to_string(),
        SignalValue::Parts(parts) => {
            let parts: Vec<_> = parts.iter().map(|(part, count)| format!("{part} {count}")).collect();
            parts.join(", ")
        }
        SignalValue::Histogram(ScrapedHistogram { buckets, sum, count }) => {
            format!("{count} values, sum {sum:.3}, {} bounds", buckets.len())
        }
        SignalValue::Facts(series) => {
            let labels: Vec<_> = series.iter().map(|labels| labels.len().to_string()).collect();
            format!("{} labels", labels.join(" and "))
        }
    }
}

/// `GOLDEN=write cargo test --lib signals` rewrites the golden file.
#[test]
fn the_signals_of_each_page_are_pinned() {
    let mut table = String::new();
    for (name, page) in fixtures("prom") {
        let page = MetricsText::parse(&page);
        let reading = MetricsSnapshot::from_page(&page);
        let engine = reading.engine.map_or("nobody", EngineFamily::label);
        writeln!(table, "{name}: {engine}, {} broken lines", page.broken).unwrap();
        for (signal, value) in reading.values() {
            writeln!(table, "  {:<26}{}", signal.key(), described(value)).unwrap();
        }
    }
    let path = folder().join("golden/signals.txt");
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(table, fs::read_to_string(&path).unwrap_or_default(), "the table is not {}", path.display());
}

#[test]
fn names_that_are_current_are_on_the_current_list() {
    let (_, families) = fixtures("txt").pop().unwrap();
    let listed = |name: &str| families.lines().any(|line| line.split_whitespace().any(|word| word == name));
    for name in SIGNAL_NAMES.iter().flat_map(|(_, names)| *names) {
        let optional = name.sample.contains("spec_decode") || name.sample.contains("lora");
        if name.engine == Some(EngineFamily::Vllm) && !optional {
            assert_eq!(listed(name.sample), name.until.is_none(), "{name:?}");
        }
    }
}

#[test]
fn every_signal_has_names_and_every_name_one_signal() {
    assert!(SIGNAL_NAMES.iter().map(|(signal, _)| *signal).eq(ServerSignal::all()));
    let mut seen = std::collections::HashSet::new();
    for (signal, names) in SIGNAL_NAMES {
        assert!(!names.is_empty(), "{signal:?}");
        assert!(names.iter().all(|name| seen.insert((name.sample, name.only))), "{signal:?}");
    }
}

#[test]
fn every_name_is_in_the_documentation() {
    let page = include_str!("../../../docs/metrics-and-logs.md");
    for name in SIGNAL_NAMES.iter().flat_map(|(_, names)| *names).filter(|name| name.engine.is_some()) {
        assert!(page.contains(name.sample), "docs/metrics-and-logs.md lacks {}", name.sample);
    }
}

#[test]
fn of_two_names_the_newer_counts() {
    let page = "vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
                vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n";
    assert_eq!(reading(page).number(ServerSignal::KvUsage), Some(0.75), "the fullest engine");
}

#[test]
fn what_the_server_does_not_know_is_not_told() {
    let llama = "# TYPE llamacpp:kv_cache_usage_ratio gauge\nllamacpp:kv_cache_usage_ratio -nan\n\
                 llamacpp:requests_processing 2\nllamacpp:prompt_tokens_total 143\n";
    let reading_ = reading(llama);
    assert_eq!(reading_.engine, Some(EngineFamily::LlamaCpp));
    assert_eq!(
        (reading_.number(ServerSignal::KvUsage), reading_.number(ServerSignal::Running)),
        (None, Some(2.0))
    );
    assert_eq!(reading("vllm:gpu_prefix_cache_hit_rate -1.0\n").number(ServerSignal::PrefixHitRate), None);
}

#[test]
fn tgi_counts_tokens_in_histograms() {
    let page = "# TYPE tgi_queue_size gauge\ntgi_queue_size 3\n# TYPE tgi_request_input_length histogram\n\
                tgi_request_input_length_bucket{le=\"+Inf\"} 2\ntgi_request_input_length_sum 640\n\
                tgi_request_input_length_count 2\n\
                tgi_batch_inference_duration_bucket{le=\"0.1\",method=\"{'method': 'prefill'}\"} 4\n";
    let reading = reading(page);
    assert_eq!(reading.engine, Some(EngineFamily::Tgi));
    assert_eq!(
        (reading.number(ServerSignal::Waiting), reading.number(ServerSignal::PromptTokens)),
        (Some(3.0), Some(640.0))
    );
}

#[test]
fn a_page_of_something_else_is_empty() {
    assert!(reading("process_start_time_seconds 1.7e9\nhttp_requests_total 3\n").is_empty());
    assert!(reading("<html><body>404</body></html>").is_empty());
}

/// The wording of vLLM v0.8.5; v0.9.0 has `tokens` in place of `blocks`.
fn prefix_page(unit: &str, settings: &str) -> String {
    format!(
        "# HELP vllm:gpu_prefix_cache_queries_total GPU prefix cache queries, in terms of number of queried {unit}.\n\
         # TYPE vllm:gpu_prefix_cache_queries_total counter\nvllm:gpu_prefix_cache_queries_total 50.0\n\
         # HELP vllm:gpu_prefix_cache_hits_total GPU prefix cache hits, in terms of number of cached {unit}.\n\
         # TYPE vllm:gpu_prefix_cache_hits_total counter\nvllm:gpu_prefix_cache_hits_total 20.0\n{settings}"
    )
}

#[test]
fn prefix_cache_counters_are_tokens_also_where_the_server_counts_blocks() {
    let settings = "vllm:cache_config_info{block_size=\"16\"} 1.0\n";
    let counted = |page: String| {
        let reading = reading(&page);
        [ServerSignal::PrefixQueries, ServerSignal::PrefixHits, ServerSignal::PrefixHitRate]
            .map(|signal| reading.number(signal))
    };
    assert_eq!(counted(prefix_page("tokens", settings)), [Some(50.0), Some(20.0), None]);
    assert_eq!(counted(prefix_page("blocks", settings)), [Some(800.0), Some(320.0), None]);
    // A value that is not a token count is ignored; the hit rate stays right.
    assert_eq!(counted(prefix_page("blocks", "")), [None, None, Some(0.4)]);
}

#[test]
fn a_share_above_one_has_no_value() {
    let page = reading("vllm:num_requests_running 3\nvllm:kv_cache_usage_perc 45.0\n");
    assert_eq!((page.number(ServerSignal::KvUsage), page.number(ServerSignal::Running)), (None, Some(3.0)));
    assert_eq!(page.impossible(), &[(ServerSignal::KvUsage, 45.0)].into());
    let rounded = reading("vllm:kv_cache_usage_perc 1.0000001\n");
    assert!(rounded.number(ServerSignal::KvUsage).is_some() && rounded.impossible().is_empty());
}
