use std::time::Duration;

use super::mix::Shape;
use super::*;
use crate::core::run::sample;

fn question(tokens: u64, shapes: &[(u32, u32)]) -> Question {
    let shapes = shapes.iter().map(|&(prompt, output)| Shape { prompt, output });
    Question {
        pool: Pool::of_tokens(tokens, "--kv-tokens"),
        mix: Mix::of(shapes, "flags").unwrap(),
        headroom: HEADROOM,
        pace: None,
        wanted: None,
        percent: 99.0,
        seed: 0,
    }
}

fn paced(tokens: u64, shapes: &[(u32, u32)]) -> Question {
    let pace = Pace { ttft: Duration::ZERO, tpot: Duration::from_millis(30) };
    Question { pace: Some(pace), ..question(tokens, shapes) }
}

#[test]
fn the_chapters_example_holds_to_the_digit() {
    let plan = plan(&question(110_000, &[(500, 300)])).unwrap();
    assert_eq!((plan.limit, plan.suggestion), (137, 96));
}

#[test]
fn more_fit_where_requests_are_at_all_stages() {
    let plan = plan(&question(110_000, &[(500, 300)])).unwrap();
    // Each keeps 650 tokens on average with a deviation of 300/√12: 110,000 = 650 n + 2.33 · 86.6 · √n at n = 165.
    assert!((163..=167).contains(&plan.at_all_stages.limit), "{}", plan.at_all_stages.limit);
}

#[test]
fn long_requests_count_for_as_long_as_they_take() {
    let even = plan(&question(1_000_000, &[(0, 100), (0, 1900)])).unwrap();
    // By number the mean is 1000; at an instant 19 of 20 are long ones, half written: 905 on average.
    assert_eq!(even.limit, 1000);
    assert!((1000..1105).contains(&even.at_all_stages.limit), "{}", even.at_all_stages.limit);
}

#[test]
fn the_suggestion_fits_at_all_stages_too() {
    // Few are very long, but at most instants one of the few in flight is.
    let uneven = plan(&question(20_000, &[(10, 10), (10, 10), (10, 10), (10, 4000)])).unwrap();
    assert!(uneven.at_all_stages.limit < uneven.limit, "{uneven:?}");
    assert!(uneven.suggestion <= uneven.at_all_stages.limit, "{uneven:?}");
}

#[test]
fn littles_law_gives_the_rate_and_poisson_the_percentile() {
    let service = plan(&paced(110_000, &[(500, 300)])).unwrap().service.unwrap();
    let demand = service.demand;
    assert!((demand.time_s - 8.97).abs() < 1e-9);
    assert!((demand.requests_per_s - 96.0 / 8.97).abs() < 1e-9);
    assert!((demand.in_flight.mean - 96.0).abs() < 1e-9);
    // The 99th percentile of Poisson(96) is 120.
    assert!((118.0..=122.0).contains(&demand.in_flight.percentile), "{:?}", demand.in_flight);
    assert!((0.56..0.58).contains(&demand.pool_share.mean), "{:?}", demand.pool_share);
    assert!((0.68..0.74).contains(&demand.pool_share.percentile), "{:?}", demand.pool_share);
}

#[test]
fn replicas_serve_the_mean_and_the_percentile() {
    let wanted = |rate| Question { wanted: Rate::per_second(rate), ..paced(110_000, &[(500, 300)]) };
    let fleet = |rate| plan(&wanted(rate)).unwrap().fleet.unwrap();
    assert_eq!((fleet(10.7).replicas, fleet(10.8).replicas, fleet(107.0).replicas), (1, 2, 10));
    // Without headroom the mean fills the pool, and only more servers leave room for what comes by chance.
    let full = plan(&Question { headroom: 0.0, ..wanted(15.27) }).unwrap().fleet.unwrap();
    assert_eq!((full.by_mean, full.by_percentile, full.replicas), (1, 2, 2));
    assert!(full.each.in_flight.percentile <= 137.0);
}

#[test]
fn the_same_question_has_the_same_answer() {
    let question = paced(50_000, &[(500, 300), (100, 20), (4000, 900)]);
    assert_eq!(plan(&question), plan(&question));
}

#[test]
fn windows_let_more_long_requests_in() {
    let mut question = question(0, &[(31_000, 1000)]);
    question.pool.capacity = 64_000_000;
    question.pool.cost = pool::KvCost { full: 10.0, windowed: 52.0, window: 1024 };
    let each = 10.0 * 32_000.0 + 52.0 * 1024.0;
    assert_eq!(plan(&question).unwrap().limit, (64_000_000.0_f64 / each) as u64);
}

#[test]
fn what_has_no_plan_says_why() {
    let too_small = plan(&question(799, &[(500, 300)])).unwrap_err();
    assert!(too_small.to_string().contains("800 tokens on average and the KV pool has 799"), "{too_small}");
    let no_pace = Question { wanted: Rate::per_second(1.0), ..question(110_000, &[(500, 300)]) };
    assert_eq!(plan(&no_pace), Err(PlanError::NoPace));
    assert_eq!(plan(&paced(110_000, &[(500, 1)])), Err(PlanError::NoTime));
    let endless = Question { wanted: Rate::per_second(1e12), ..paced(110_000, &[(500, 300)]) };
    assert!(matches!(plan(&endless), Err(PlanError::TooMuch(_))));
    assert!(Mix::of([Shape { prompt: 0, output: 0 }], "x.json").is_err());
}

#[test]
fn huge_pools_and_loads_are_planned_at_once() {
    let huge = Question { wanted: Rate::per_second(1e9), ..paced(u64::MAX, &[(1, 2)]) };
    let plan = plan(&huge).unwrap();
    assert!(plan.limit > 1 << 60 && plan.at_all_stages.limit >= plan.limit);
}

#[test]
fn a_run_is_held_against_the_plan() {
    let run = sample::run(false);
    let mix = Mix::of_run(&run, "run.json").unwrap();
    let plan = plan(&Question { mix, ..paced(1_000_000, &[(1, 1)]) }).unwrap();
    let check = check::check(&plan, &run);
    assert_eq!(check.rows.len(), 5);
    let tokens = check.rows[0];
    assert!((tokens.planned.unwrap() - tokens.shown.unwrap()).abs() <= 1.0, "{tokens:?}");
    assert!(check.findings.last().unwrap().contains("in flight"), "{:?}", check.findings);
}
