use std::time::Duration;

use super::mix::RequestLengths;
use super::*;
use crate::analysis::search::DEFAULT_HEADROOM;
use crate::testing::sample_run;

fn question(tokens: u64, shapes: &[(u32, u32)]) -> PlanInput {
    let shapes = shapes.iter().map(|&(prompt, output)| RequestLengths { prompt, output });
    PlanInput {
        pool: KvPool::from_tokens(tokens, "the log"),
        mix: RequestMix::from_lengths(shapes, "flags").unwrap(),
        headroom: DEFAULT_HEADROOM,
        speed: None,
        wanted: None,
        percent: 99.0,
        seed: 0,
    }
}

fn paced(tokens: u64, shapes: &[(u32, u32)]) -> PlanInput {
    let pace = ServiceTime { ttft: Duration::ZERO, tpot: Duration::from_millis(30) };
    PlanInput { speed: Some(ServerSpeed::Given { pace }), ..question(tokens, shapes) }
}

#[test]
fn the_operators_guides_example_holds_to_the_digit() {
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
    // The mean over requests is 1000. At an instant 19 of 20 requests are long and half written: 905 on average.
    assert_eq!(even.limit, 1000);
    assert!((1000..1105).contains(&even.at_all_stages.limit), "{}", even.at_all_stages.limit);
}

#[test]
fn the_suggestion_fits_at_all_stages_too() {
    // Few requests are very long, but at most instants one of the few in flight is.
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
    // From the distribution function of Poisson(96): P(N ≤ 119) = 0.9899, P(N ≤ 120) = 0.9917.
    assert_eq!(demand.in_flight.percentile, 120.0);
    // The server computes at most 96 requests, and the others wait: E min(N, 96) = 92.1, with 650 tokens each.
    assert!((0.54..0.55).contains(&demand.pool_share.mean), "{:?}", demand.pool_share);
    assert!((0.57..0.60).contains(&demand.pool_share.percentile), "{:?}", demand.pool_share);
}

#[test]
fn the_percentile_of_a_count_is_poissons_own() {
    for (mean, expected) in [(0.0, 0.0), (0.5, 3.0), (1.0, 4.0), (4.0, 9.0), (100.0, 124.0)] {
        assert_eq!(demand::in_flight(mean, 99.0).percentile, expected, "{mean}");
    }
    // The exact distribution and the normal approximation agree here.
    let [below, above] = [0.999e6, 1.001e6].map(|mean| demand::in_flight(mean, 99.0).percentile / mean);
    assert!((below - above).abs() < 1e-5, "{below} {above}");
}

/// Requests whose demand has a standard deviation equal to its mean (CV 1): for 5,000 of them, P99 is 3.3 % above the
/// mean.
#[test]
fn many_requests_fit_by_their_percentile_and_not_by_their_mean() {
    let law: Vec<(u32, u32)> = (0..400)
        .map(|rank| -1000.0 * (1.0 - (f64::from(rank) + 0.5) / 400.0).ln())
        .map(|prompt: f64| (prompt as u32 + 1, 1))
        .collect();
    let at = |tokens: u64| plan(&PlanInput { percent: 99.0, ..question(tokens, &law) }).unwrap();
    for tokens in [4_900_000, 6_000_000, 60_000_000] {
        let on_average = tokens as f64 / 1000.0;
        let left_free = 1.0 - at(tokens).at_all_stages.limit as f64 / on_average;
        let expected = 2.326 / on_average.sqrt();
        assert!((0.8..1.2).contains(&(left_free / expected)), "{tokens}: {left_free} against {expected}");
    }
}

#[test]
fn the_suggestion_says_whether_its_pace_was_measured_there() {
    let pace = ServiceTime { ttft: Duration::ZERO, tpot: Duration::from_millis(5) };
    let at = |in_flight| {
        let speed = ServerSpeed::Measured { pace, in_flight, results: 1 };
        plan(&PlanInput { speed: Some(speed), ..question(110_000, &[(500, 300)]) }).unwrap().service.unwrap()
    };
    let reach = [2.0, 96.0, 400.0].map(|in_flight| at(in_flight).reach.unwrap());
    assert_eq!(reach, [ConcurrencyReach::Above, ConcurrencyReach::Within, ConcurrencyReach::Below]);
}

#[test]
fn a_fitted_pace_is_that_of_the_suggestion_and_of_each_replica() {
    let ms = |value: f64| Duration::from_secs_f64(value / 1e3);
    let ladder = [1.0, 10.0, 100.0].map(|in_flight| speed::MeasuredSpeed {
        in_flight,
        pace: ServiceTime { ttft: Duration::ZERO, tpot: ms(10.0 + 0.2 * in_flight) },
    });
    let speed = ServerSpeed::from_results(&ladder);
    let asked = PlanInput { speed, wanted: Rate::per_second(20.0), ..question(110_000, &[(500, 300)]) };
    let plan = plan(&asked).unwrap();
    let (service, fleet) = (plan.service.unwrap(), plan.fleet.unwrap());
    assert!((service.pace.tpot.as_secs_f64() - 0.0292).abs() < 1e-6, "{service:?}");
    assert!((service.demand.requests_per_s - 96.0 / (299.0 * 0.0292)).abs() < 1e-3);
    // Each of the two servers receives 10 req/s: c = 10 · 299 · (10 + 0.2 c) ms, so c = 29.9 / (1 − 0.598) = 74.4.
    assert_eq!(fleet.replicas, 2);
    assert!((fleet.each.in_flight.mean - 29.9 / 0.402).abs() < 0.1, "{:?}", fleet.each);
}

#[test]
fn replicas_serve_the_mean_and_the_percentile() {
    let wanted = |rate| PlanInput { wanted: Rate::per_second(rate), ..paced(110_000, &[(500, 300)]) };
    let fleet = |rate| plan(&wanted(rate)).unwrap().fleet.unwrap();
    assert_eq!((fleet(10.7).replicas, fleet(10.8).replicas, fleet(107.0).replicas), (1, 2, 10));
    // Without headroom the mean fills the pool, and only more servers leave room for random variation.
    let full = plan(&PlanInput { headroom: 0.0, ..wanted(15.27) }).unwrap().fleet.unwrap();
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
    question.pool.cost = pool::KvCost { full: 10.0, windowed: 52.0, window: 1024, state: 0.0 };
    let each = 10.0 * 32_000.0 + 52.0 * 1024.0;
    assert_eq!(plan(&question).unwrap().limit, (64_000_000.0_f64 / each) as u64);
}

#[test]
fn what_has_no_plan_says_why() {
    let too_small = plan(&question(799, &[(500, 300)])).unwrap_err();
    assert!(too_small.to_string().contains("800 tokens on average and the KV pool has 799"), "{too_small}");
    let no_pace = PlanInput { wanted: Rate::per_second(1.0), ..question(110_000, &[(500, 300)]) };
    assert_eq!(plan(&no_pace), Err(PlanError::NoPace));
    assert_eq!(plan(&paced(110_000, &[(500, 1)])), Err(PlanError::NoTime));
    let endless = PlanInput { wanted: Rate::per_second(1e12), ..paced(110_000, &[(500, 300)]) };
    assert!(matches!(plan(&endless), Err(PlanError::TooMuch(_))));
    assert!(RequestMix::from_lengths([RequestLengths { prompt: 0, output: 0 }], "x.json").is_err());
}

#[test]
fn huge_pools_and_loads_are_planned_at_once() {
    let huge = PlanInput { wanted: Rate::per_second(1e9), ..paced(u64::MAX, &[(1, 2)]) };
    let plan = plan(&huge).unwrap();
    assert!(plan.limit > 1 << 60 && plan.at_all_stages.limit >= plan.limit);
}

#[test]
fn a_run_is_held_against_the_plan() {
    let run = sample_run::run(false);
    let mix = RequestMix::from_run(&run, "run.json").unwrap();
    let plan = plan(&PlanInput { mix, ..paced(1_000_000, &[(1, 1)]) }).unwrap();
    let check = check::check_plan(&plan, &run);
    assert_eq!(check.rows.len(), 5);
    let tokens = check.rows[0];
    assert!((tokens.planned.unwrap() - tokens.shown.unwrap()).abs() <= 1.0, "{tokens:?}");
    assert!(check.findings.last().unwrap().contains("in flight"), "{:?}", check.findings);
}
