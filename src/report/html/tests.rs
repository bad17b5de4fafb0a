use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::model::record::{Failure, FailureClass, Record};
use crate::testing::queue::Queue;
use crate::testing::sample_run;

/// The largest page: a megabyte.
const LIMIT: usize = 1_000_000;

fn page(run: &Run) -> String {
    let mut page = Vec::new();
    render(run, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// A run of this many requests, with every request.
fn large(n: usize) -> Run {
    let queue = Queue::default();
    let mut records = queue.open(n, queue.rate(0.8));
    for record in &mut records {
        let gap = record.e2e().unwrap() / 12;
        record.events.gaps = Some((0..10).map(|_| gap).collect());
    }
    sample_run::of_records(sample_run::spec(), records, vec![50.0, 99.0, 99.9], true)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

#[test]
fn the_policy_has_the_hashes_of_the_style_and_the_script() {
    let page = page(&sample_run::run(true));
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\">");
    let policy = policy.replace("&#x27;", "'").replace("&#x2f;", "/");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    for (name, tag) in [("style", "style"), ("script", "script")] {
        let content = between(&page, &format!("<{tag}>"), &format!("</{tag}>"));
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(content));
        assert!(policy.contains(&format!("{name}-src 'sha256-{hash}'")), "{name}: {policy}");
    }
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
}

#[test]
fn the_page_loads_nothing_and_has_no_inline_style() {
    let page = page(&large(300));
    for link in [" src=", "@import", "url(", "<link", " style=", " onclick", "<iframe", "href=\"http"] {
        assert!(!page.contains(link), "{link}");
    }
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (one, other) = (large(500), large(500));
    assert!(page(&one) == page(&other));
}

#[test]
fn names_and_messages_from_outside_are_text() {
    let attack = "</script><script>alert(1)</script><img src=x onerror=\"a\">'\u{1b}[31m\u{202e}";
    let mut records = sample_run::records();
    records[1].outcome = Err(Failure::new(FailureClass::Status(500), attack).into());
    let mut run = sample_run::of_records(sample_run::spec(), records, vec![99.0], true);
    run.spec.target.model = attack.repeat(200);
    run.environment.server_version = Some(attack.into());
    run.environment.host = attack.into();
    run.inputs.dataset.dataset = attack.into();
    run.command.push(attack.into());
    run.notes.metadata.insert(attack.into(), attack.into());
    let page = page(&run);
    assert_eq!(page.matches("<script>").count(), 1);
    for forbidden in ["<img", "alert(1)</script", "\u{1b}", "\u{202e}"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"));
    assert!(page.contains("\\u001b[31m\\u202e"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn a_page_is_below_a_megabyte_whatever_the_runs_size() {
    let run = large(20_000);
    let size = page(&run).len();
    assert!(size < LIMIT, "{size} bytes");
}

#[test]
fn a_hundred_runs_are_below_a_megabyte() {
    let run = large(2_000);
    let name = "a-long-name-of-a-file".repeat(20);
    let runs = vec![(name.as_str(), PageResult::Run(&run)); 100];
    let mut page = Vec::new();
    render_several(&runs, &mut page).unwrap();
    assert!(page.len() < LIMIT, "{} bytes", page.len());
}

#[test]
fn every_metric_of_the_run_is_on_the_page_with_its_exact_value() {
    let run = large(400);
    let page = page(&run);
    for row in crate::report::run_metrics::scalar_rows(&run) {
        let data = format!("<data value=\"{}\" data-metric=\"{}\">", row.value, row.id);
        assert!(page.contains(&data), "{data}");
    }
    let ttft = &run.metrics.latencies[&crate::model::metrics::Latency::Ttft];
    for listed in &ttft.percentiles {
        let value = listed.value.as_secs_f64() * 1e3;
        let data = format!("<data value=\"{value}\" data-metric=\"ttft.p{}\">", listed.p);
        assert!(page.contains(&data), "{data}");
    }
}

#[test]
fn every_check_is_on_the_page_with_its_figure_and_bound() {
    let run = sample_run::run(true);
    let page = page(&run);
    for check in &run.validity.checks {
        let name = minijinja::HtmlEscape(check.name.label()).to_string();
        assert!(page.contains(&name), "{name}");
        for quantity in [check.figure, check.bound].into_iter().flatten() {
            assert!(page.contains(&format!("<td>{quantity}</td>")), "{quantity}");
        }
    }
    assert!(page.contains("<strong>INVALID</strong> failed requests: 50.0 %"));
}

#[test]
fn what_a_run_does_not_have_is_absent_with_the_reason() {
    let failed: Vec<Record> = sample_run::records().split_off(1);
    let run = sample_run::of_records(sample_run::spec(), failed, vec![99.0], false);
    let text = page(&run);
    assert!(text.contains("No request was answered, so there are no latencies."));
    let body = between(&text, "<body>", "<script>");
    assert!(!body.contains("NaN") && !body.contains(">inf"), "{body}");
    let one = page(&sample_run::run(true));
    assert!(one.contains("TTFT: one value, 100 ms; a distribution needs two."));
}

#[test]
fn the_tables_over_time_have_the_counts_of_the_series() {
    let run = large(300);
    let page = page(&run);
    let table = between(&page, "<h3>Request rate</h3>", "</table>");
    let column = |at: usize| {
        let rows = table.split("<tr data-x").skip(1);
        let cell = move |row: &str| between(row.split("<td>").nth(at + 1).unwrap(), "", "</td>").to_owned();
        rows.map(|row| cell(row).parse::<u32>().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!(column(1), run.series.arrivals);
    assert_eq!(column(2), run.series.sent);
    assert_eq!(column(3), run.series.completions);
    assert_eq!(column(4), run.series.failures);
}

#[test]
fn runs_of_one_server_under_several_loads_have_a_curve() {
    let mut runs: Vec<Run> = [200, 300, 400].map(large).into();
    for (run, cap) in runs.iter_mut().zip([4, 8, 16]) {
        run.spec.load = crate::model::run_spec::Load::closed(cap);
    }
    let named: Vec<(&str, &Run)> = ["a", "b", "c"].into_iter().zip(&runs).collect();
    let several = |runs: &[(&str, &Run)]| {
        let mut page = Vec::new();
        let results: Vec<_> = runs.iter().map(|(name, run)| (*name, PageResult::Run(run))).collect();
        render_several(&results, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    };
    let page = several(&named);
    for part in ["TTFT P95 against load", "Throughput against speed per user", "requests in flight (cap)"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(several(&named[..1].repeat(2)).contains("These runs do not differ in their load."));
}
