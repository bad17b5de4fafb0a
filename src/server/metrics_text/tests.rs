use proptest::prelude::*;

use super::*;

fn values(page: &MetricsText<'_>, name: &str) -> Vec<f64> {
    page.samples_named(name).map(|sample| sample.value).collect()
}

#[test]
fn families_have_their_type_help_and_samples() {
    let page = MetricsText::parse(
        "# HELP a_total What \\\\ a\\nis.\n# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5e+3\n\
         # TYPE b histogram\nb_sum 1\nb_bucket{le=\"+Inf\"} 2\nb_count 2\nb_created 1.7e9\n",
    );
    let [a, b, created] = &page.families[..] else { panic!("{page:?}") };
    assert_eq!((a.name, a.kind, a.help.as_deref()), ("a_total", MetricType::Counter, Some("What \\ a\nis.")));
    assert_eq!(a.samples.len(), 2);
    assert_eq!((b.name, b.kind, b.samples.len()), ("b", MetricType::Histogram, 3));
    assert_eq!((created.name, created.kind), ("b_created", MetricType::Untyped));
    assert_eq!(values(&page, "a_total"), [2.0, 3500.0]);
    assert_eq!(page.broken, 0);
}

#[test]
fn label_values_may_hold_anything() {
    let text = r#"m{a="x}y",b="{'k': 'v'}",c="\"q\" \\ \n \x",d="",} 1"#;
    let page = MetricsText::parse(text);
    let sample = page.samples().next().unwrap();
    let label = |name| sample.label(name).unwrap();
    assert_eq!((label("a"), label("b")), ("x}y", "{'k': 'v'}"));
    assert_eq!((label("c"), label("d")), ("\"q\" \\ \n \\x", ""));
    assert_eq!(sample.label("e"), None);
}

#[test]
fn numbers_are_those_of_go_and_python() {
    let page =
        MetricsText::parse("a NaN\nb +Inf\nc -Inf\nd -nan\ne 8.128902e+06\nf\t 12 \ng 3 1700000000123\n");
    let value = |name| values(&page, name)[0];
    assert!(value("a").is_nan() && value("d").is_nan());
    assert_eq!((value("b"), value("c")), (f64::INFINITY, f64::NEG_INFINITY));
    assert_eq!((value("e"), value("f"), value("g")), (8_128_902.0, 12.0, 3.0));
    assert_eq!(page.samples_named("g").next().unwrap().timestamp, Some(1_700_000_000_123));
}

#[test]
fn an_example_after_a_value_is_no_mistake() {
    let page = MetricsText::parse("a_bucket{le=\"1\"} 3 # {trace_id=\"x\"} 0.5 1.7e9\n# EOF\n");
    assert_eq!((values(&page, "a_bucket"), page.broken), (vec![3.0], 0));
}

#[test]
fn broken_lines_are_counted_and_the_rest_stands() {
    let broken =
        ["a", "a b", "a{", "a{x} 1", "a{x=\"} 1", "1a 2", "a 1 2 3", "a{x=\"1\"}", "# TYPE", "<html>"];
    let text = format!("before 1\n{}\nafter 2\n", broken.join("\n"));
    let page = MetricsText::parse(&text);
    assert_eq!(page.broken, broken.len(), "{page:?}");
    assert_eq!(page.samples().count(), 2);
}

#[test]
fn histograms_of_several_series_are_one() {
    let page = MetricsText::parse(
        "h_bucket{e=\"0\",le=\"0.5\"} 1\nh_bucket{e=\"0\",le=\"2\"} 3\nh_bucket{e=\"0\",le=\"+Inf\"} 4\n\
         h_count{e=\"0\"} 4\nh_sum{e=\"0\"} 9\n\
         h_bucket{e=\"1\",le=\"0.5\"} 2\nh_bucket{e=\"1\",le=\"1\"} 2\nh_bucket{e=\"1\",le=\"2.0\"} 2\n\
         h_count{e=\"1\"} 2\nh_sum{e=\"1\"} 0.5\n",
    );
    let all = page.histogram("h", |_| true).unwrap();
    assert_eq!(all.buckets, [(0.5, 3.0), (2.0, 5.0)]);
    assert_eq!((all.sum, all.count), (9.5, 6.0));
    let one = page.histogram("h", |sample| sample.label("e") == Some("0")).unwrap();
    assert_eq!((one.buckets.len(), one.count), (2, 4.0));
}

#[test]
fn a_histogram_that_is_cut_off_is_none() {
    assert_eq!(
        MetricsText::parse("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 3").histogram("h", |_| true),
        None
    );
}

#[test]
fn a_name_in_quotes_stands_in_the_braces() {
    let page = MetricsText::parse(
        "{\"vllm.num_requests_running\", engine=\"0\"} 3\n{ \"a b\" } 4 1700000000123\n{\"\"} 1\n{x=\"1\"} 2\n",
    );
    let samples: Vec<_> =
        page.samples().map(|sample| (sample.name, sample.label("engine"), sample.value)).collect();
    assert_eq!(samples, [("vllm.num_requests_running", Some("0"), 3.0), ("a b", None, 4.0)]);
    assert_eq!(page.broken, 2);
}

#[test]
fn a_page_of_no_engine_is_told_by_what_it_looks_like() {
    let cases = [
        // ../shared/data/faults/B22-router.prom.
        (
            "vllm_router:current_qps{server=\"a\"} 2.5\nvllm_router:avg_latency{server=\"a\"} 1.2\npython_info 1.0\n",
            "it has vllm_router:current_qps, vllm_router:avg_latency: these look like a router's: vLLM's",
            PageOrigin::Router,
        ),
        // Names from SMG's documentation (40 metrics, four shown here).
        (
            "# TYPE smg_http_requests_total counter\nsmg_http_requests_total 3\nsmg_worker_pool_size 2\nsmg_worker_cb_state 0\nsmg_router_ttft_seconds_count 1\n",
            "it has smg_http_requests_total, smg_worker_pool_size, smg_worker_cb_state and 1 more: these look like a router's: SGLang's (SMG)",
            PageOrigin::Router,
        ),
        (
            "sgl_router_active_workers 2\n",
            "it has sgl_router_active_workers: these look like a router's: SGLang's",
            PageOrigin::Router,
        ),
        // ../shared/data/formats/metrics_epp.prom and metrics_lmcache.prom.
        (
            "llm_d_epp_request_total 49\n",
            "it has llm_d_epp_request_total: these look like a router's: llm-d's scheduler",
            PageOrigin::Router,
        ),
        (
            "lmcache:num_hit_tokens_total 1\n",
            "it has lmcache:num_hit_tokens_total: these look like LMCache's",
            PageOrigin::Router,
        ),
        (
            "litellm_requests_metric_total 1\n",
            "it has litellm_requests_metric_total: these look like a gateway's: LiteLLM",
            PageOrigin::Router,
        ),
        (
            "envoy_cluster_upstream_rq 1\n",
            "it has envoy_cluster_upstream_rq: these look like a gateway's: Envoy",
            PageOrigin::Router,
        ),
        (
            "my_router_requests 1\n",
            "it has my_router_requests: these look like a router's",
            PageOrigin::Router,
        ),
        (
            "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 1\n",
            "it has DCGM_FI_DEV_GPU_UTIL: these look like a GPU exporter's",
            PageOrigin::Other,
        ),
        (
            "vllm:num_requests_running NaN\nvllm:kv_cache_usage_perc -1\n",
            "it has vllm:num_requests_running, vllm:kv_cache_usage_perc: these look like vLLM's, and none has a value: \
             all are NaN or below 0",
            PageOrigin::Other,
        ),
        (
            "sglang:some_counter 3\n",
            "it has sglang:some_counter: these look like SGLang's, but none of them says how busy it is",
            PageOrigin::Other,
        ),
        ("temperature 20\n", "it has temperature: of an unknown program", PageOrigin::Other),
        (
            "python_info 1\nprocess_start_time_seconds 1.7e9\nhttp_requests_total 3\n",
            "it has only generic process metrics",
            PageOrigin::Process,
        ),
        ("", "the page is empty", PageOrigin::Other),
        (
            "<html><head><title> 502 Bad\n Gateway</title>",
            "it is an HTML page: 502 Bad Gateway",
            PageOrigin::Other,
        ),
        ("<html>hello", "it is an HTML page", PageOrigin::Other),
        (
            "{\"detail\":\"Not Found\"}",
            "it is JSON, and not TensorRT-LLM's: {\"detail\":\"Not Found\"}",
            PageOrigin::Other,
        ),
        ("Not\u{1b}[31m Found", "it has no metrics: Not[31m Found", PageOrigin::Other),
    ];
    for (text, looks, origin) in cases {
        assert_eq!(describe(text), (looks.to_owned(), origin), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_described(text in r#"[a-b#{}="\\\\ ,\n0-1\t.<é]{0,80}"#) {
        prop_assert!(!describe(&text).0.contains('\n'));
    }

    #[test]
    fn any_bytes_are_a_page(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let page = MetricsText::parse(&text);
        prop_assert!(page.samples().count() + page.broken <= text.lines().count());
    }

    /// Random bytes seldom resemble a sample; these characters do.
    #[test]
    fn no_near_miss_panics(text in r#"[a-b#{}="\\ ,\n0-1\t.é]{0,80}"#) {
        let page = MetricsText::parse(&text);
        let _ = page.histogram("a", |_| true);
        prop_assert!(page.samples().count() + page.broken <= text.lines().count());
    }

    #[test]
    fn what_is_written_is_read(name in "[a-z_:][a-z0-9_:]{0,9}", label in "\\PC{0,12}", value in any::<f64>()) {
        let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let text = format!("{name}{{l=\"{escaped}\"}} {value}");
        let page = MetricsText::parse(&text);
        let sample = page.samples().next().unwrap();
        prop_assert_eq!((sample.name, sample.label("l")), (name.as_str(), Some(label.as_str())));
        prop_assert!(sample.value == value || value.is_nan());
    }
}
