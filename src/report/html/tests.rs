use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::analysis::ab::{AbDesign, Arm, BlockPair};
use crate::analysis::compare::CompareConfig;
use crate::analysis::plan::check::check_plan;
use crate::analysis::plan::mix::{RequestLengths, RequestMix};
use crate::analysis::plan::pool::KvPool;
use crate::analysis::plan::{PlanInput, plan};
use crate::analysis::sweep::{SweepPoint, SweepRanking};
use crate::model::record::{Failure, FailureClass, Record};
use crate::model::run_spec::Load;
use crate::report::sweep::{CellOutput, CellState, SweepCell};
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
        run.spec.load = Load::closed(cap);
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

/// A name that is markup, and longer than a page shows.
fn hostile_name(kind: &str) -> String {
    format!("{kind}</script><script>alert(1)</script><img src=x onerror=\"a\">'\u{1b}[31m\u{202e}")
        + &"ü".repeat(10_240)
}

#[track_caller]
fn check_that_names_are_text(page: &str, kinds: &[&str]) {
    assert_eq!(page.matches("<script>").count(), 1);
    for forbidden in ["<img", "alert(1)</script", "\u{1b}", "\u{202e}", &"ü".repeat(2_000)] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    for kind in kinds {
        assert!(page.contains(&format!("{kind}&lt;&#x2f;script&gt;&lt;script&gt;alert(1)")), "{kind}");
    }
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

/// An A/B comparison of servers with these names: B is slower, and the last pair does not count.
fn ab_page(servers: [String; 2]) -> String {
    let blocks: Vec<Run> = [200, 210, 220, 230, 240, 250].map(large).into();
    let pair = |runs: &[Run]| BlockPair { first: Arm::A, runs: [runs[0].clone(), runs[1].clone()] };
    let mut pairs: Vec<BlockPair> = blocks.chunks(2).map(pair).collect();
    pairs.push(BlockPair { first: Arm::B, runs: [sample_run::run(false), sample_run::run(false)] });
    let design = AbDesign {
        servers,
        pairs: 5,
        block: std::time::Duration::from_secs(15),
        fresh_starts: true,
        allow_invalid: false,
    };
    let runs = |arm: Arm| {
        let counted = pairs.iter().filter(|pair| pair.is_counted(false));
        counted.map(move |pair| &pair.runs[arm as usize])
    };
    let latencies = Arm::BOTH.map(|arm| SideLatencies::from_runs(&arm.to_string(), runs(arm)));
    let metrics = ["ttft.mean", "e2el.p95", "failure_rate"].map(|name| name.parse().unwrap());
    let ab = AbComparison::compare(design, pairs.clone(), &metrics, CompareConfig::default());
    let mut page = Vec::new();
    render_ab(&ab, &latencies, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn the_page_of_an_ab_comparison_has_verdicts_differences_and_pairs() {
    let page = ab_page(["http://a", "http://b"].map(Into::into));
    for part in [
        "<h1>http:&#x2f;&#x2f;b against http:&#x2f;&#x2f;a</h1>",
        "Pairs of blocks: 3 of 5 count",
        "Caveat: only 4 of 5 pairs are complete",
        "<h3>Differences of B</h3>",
        "<h3>TTFT mean by pair</h3>",
        "pair 4 is left out",
        "A (n = 660)",
        "B (n = 690)",
    ] {
        assert!(page.contains(part), "{part}");
    }
    check_that_names_are_text(&ab_page([hostile_name("one"), hostile_name("two")]), &["one", "two"]);
}

/// The points of a sweep of sets under two loads, three times each.
fn sweep_points(sets: usize, name: impl Fn(usize) -> String) -> Vec<SweepPoint> {
    let run = |set: usize, load: usize, repeat: usize| {
        let mut run = large(40 + 7 * set + repeat);
        run.spec.load = Load::closed([4, 16][load]);
        run.metrics.duration = run.metrics.duration.div_f64(1.0 + set as f64);
        run
    };
    let point = |(load, set): (usize, usize)| SweepPoint {
        set: name(set),
        load: format!("load{load}"),
        gpus: 2.0,
        runs: (0..3).map(|repeat| run(set, load, repeat)).collect(),
    };
    (0..2).flat_map(|load| (0..sets).map(move |set| (load, set))).map(point).collect()
}

/// The page of a sweep of these points. Another set crashed, for this reason.
fn sweep_page(points: &[SweepPoint], why: &str) -> String {
    let ranking = SweepRanking::rank(points, &["ttft.p95 < 10s".parse().unwrap()]);
    let cell = |set, load, state| SweepCell { set, load, repeat: 1, seed: 0, file: "a.json", state };
    let runs = points.iter().flat_map(|point| point.runs.iter().map(move |run| (point, run)));
    let measured =
        runs.map(|(point, run)| cell(&point.set, &point.load, CellState::Measured(CellOutput::Run(run))));
    let report = SweepReport {
        plan: serde_json::Value::Null,
        cells: measured.chain([cell("broken", "load0", CellState::Failed(why))]).collect(),
        ranking: &ranking,
        capacities: &[],
        interrupted: false,
    };
    let mut page = Vec::new();
    render_sweep(&report, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn the_page_of_a_sweep_has_sets_front_curves_and_cells() {
    let page = sweep_page(&sweep_points(3, |set| format!("set{set}")), "it crashed");
    for part in [
        "4 sets, 2 loads, 19 cells",
        "<h3>Load load1</h3>",
        "<h3>Who leads under load1</h3>",
        "<h3>Output token throughput, load load0</h3>",
        "<h3>Throughput per GPU against speed per user</h3>",
        "<h3>TTFT P95 against load</h3>",
        "serves most",
        "Measured: 18 of 19",
        "<td>failed</td>",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let names = |set: usize| if set == 0 { hostile_name("set") } else { format!("set{set}") };
    check_that_names_are_text(
        &sweep_page(&sweep_points(2, names), &hostile_name("crash")),
        &["set", "crash"],
    );
}

#[test]
fn the_page_of_a_sweep_of_a_dozen_sets_is_small() {
    let page = sweep_page(&sweep_points(12, |set| format!("set-with-a-long-name-{set}")), "");
    assert!(page.len() < LIMIT / 2, "{} bytes", page.len());
    assert!(page.contains("Curves against load are those of the sets on the Pareto front."));
}

#[test]
fn the_page_of_a_plan_has_it_beside_the_run() {
    let shape = RequestLengths { prompt: 500, output: 300 };
    let plan = plan(&PlanInput {
        pool: KvPool::from_tokens(110_000, hostile_name("pool")),
        mix: RequestMix::from_lengths([shape], hostile_name("mix")).unwrap(),
        headroom: 0.3,
        speed: None,
        wanted: None,
        percent: 99.0,
        seed: 0,
    })
    .unwrap();
    let check = check_plan(&plan, &large(300));
    let mut page = Vec::new();
    render_plan(&plan, &check, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for part in
        ["<td>Limit</td><td>137 concurrent requests", "peak in flight (plan: limit)", "run, % of the plan"]
    {
        assert!(page.contains(part), "{part}");
    }
    for planned in check.rows.iter().filter_map(|row| row.planned) {
        assert!(page.contains(&format!("<data value=\"{planned}\">")), "{planned}");
    }
    check_that_names_are_text(&page, &["pool", "mix"]);
}
