use super::*;
use crate::analysis::sweep::SweepPoint;
use crate::testing::sample_run;

fn point(set: &str, runs: &[f64]) -> SweepPoint {
    let run = |rate: &f64| {
        let mut run = sample_run::run(false);
        run.metrics.duration = std::time::Duration::from_secs_f64(3.0 / rate);
        // A hundredth of a millisecond apart from run to run.
        let ttft = run.metrics.latencies.get_mut(&crate::model::metrics::Latency::Ttft).unwrap();
        ttft.mean = std::time::Duration::from_micros(100_000 + 10 * (*rate as u64 % 10));
        run
    };
    SweepPoint { set: set.into(), load: "rate20".into(), gpus: 1.0, runs: runs.iter().map(run).collect() }
}

fn with_sweep<T>(look: impl FnOnce(&SweepReport<'_>) -> T) -> T {
    let points = [point("fast", &[200.0, 201.0, 199.0]), point("slow", &[100.0, 101.0, 99.0])];
    let ranking = SweepRanking::rank(&points, &["output_throughput >= 150".parse().unwrap()]);
    let cell = |set, file, state| SweepCell { set, load: "rate20", repeat: 1, seed: 0, file, state };
    look(&SweepReport {
        plan: Value::Null,
        cells: vec![
            cell("fast", "fast-rate20-r1.json", CellState::Measured(CellOutput::Run(&points[0].runs[0]))),
            cell("slow", "slow-rate20-r1.json", CellState::Invalid(CellOutput::Run(&points[1].runs[0]))),
            cell("broken", "broken-rate20-r1.json", CellState::Failed("it crashed")),
            cell("late", "late-rate20-r1.json", CellState::Open),
        ],
        ranking: &ranking,
        capacities: &[],
        interrupted: true,
    })
}

#[test]
fn the_report_names_winners_doubts_and_what_is_missing() {
    let text = with_sweep(|sweep| {
        let mut text = Vec::new();
        render(sweep, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    for line in [
        "Output token throughput: fast wins",
        "TTFT mean: the same, within the margin",
        "output_throughput >= 150: fast under rate20 serves most, 200 tok/s per GPU",
        "Measured: 1 of 4",
        "slow under rate20, repeat 1: INVALID: measured, and left out of the table (`sweep.allow_invalid` includes it)",
        "broken under rate20, repeat 1: it crashed",
        "Interrupted: the same command continues with the remaining cells",
    ] {
        assert!(text.lines().any(|of_text| of_text == line), "{line}\n{text}");
    }
    assert!(text.contains("200 [197, 203] *"), "{text}");
}

/// Throughput has a winner, the mean TTFT is the same, and of the P95 of TTFT no interval is known.
#[test]
fn a_sweep_that_cannot_tell_advises_more_repeats() {
    let text = with_sweep(|sweep| {
        let undecided = |name: &str| {
            let figure = name.parse().unwrap();
            is_undecided(sweep.ranking.leads.iter().find(|lead| lead.figure == figure).unwrap())
        };
        assert_eq!(["output_throughput", "ttft.mean", "ttft.p95"].map(undecided), [false, false, true]);
        let mut text = Vec::new();
        render(sweep, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    assert_eq!(text.matches("measure more repeats: raise `sweep.repeats`").count(), 1, "{text}");
}

#[test]
fn loads_of_one_set_are_rows_of_one_table() {
    let at =
        |load: &str, rate| SweepPoint { load: load.into(), ..point("fast", &[rate, rate + 1.0, rate - 1.0]) };
    let points = [at("c1", 100.0), at("c2", 150.0), at("c4", 180.0)];
    let ranking = SweepRanking::rank(&points, &[]);
    let mut text = Vec::new();
    render(
        &SweepReport {
            plan: Value::Null,
            cells: Vec::new(),
            ranking: &ranking,
            capacities: &[],
            interrupted: false,
        },
        &mut text,
    )
    .unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("Set fast") && lines[1].starts_with("Load  Runs  "), "{text}");
    let loads: Vec<&str> = lines[2..5].iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(loads, ["c1", "c2", "c4"], "{text}");
    assert!(!lines[2..5].concat().contains('*'), "{text}");
}

#[test]
fn the_table_for_scripts_has_a_line_for_each_run_and_no_zero_for_what_was_not_measured() {
    let csv = with_sweep(|sweep| String::from_utf8(csv(sweep).unwrap()).unwrap());
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["set", "fast", "slow"]);
    let at = |name: &str| rows[0].iter().position(|head| *head == name).unwrap();
    assert_eq!(rows[1][at("output_throughput")].parse::<f64>().unwrap().round(), 200.0);
    assert_eq!(rows[1][at("goodput_ratio")], "", "without an SLO nothing is good");
    assert_eq!(rows[2][at("state")], "invalid");
}

#[test]
fn the_json_says_what_became_of_every_cell() {
    let json = with_sweep(json);
    let states: Vec<_> = json["cells"].as_array().unwrap().iter().map(|cell| cell["state"].clone()).collect();
    assert_eq!(states, ["measured", "invalid", "failed", "open"]);
    assert_eq!(json["ranking"]["leads"][0]["set"], "fast");
    assert_eq!(json["cells"][3]["file"], Value::Null);
}
