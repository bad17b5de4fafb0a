use super::*;
use crate::analysis::compare::DifferenceVerdict;
use crate::model::metrics::Latency;
use crate::model::validity::CheckOutcome;
use crate::testing::sample_run;

fn design(pairs: usize) -> AbDesign {
    let servers = ["http://a", "http://b"].map(ToOwned::to_owned);
    AbDesign { servers, pairs, block: Duration::from_secs(15), fresh_starts: true, allow_invalid: false }
}

fn run(ms: f64) -> Run {
    let mut run = sample_run::run(false);
    run.metrics.latencies.get_mut(&Latency::Ttft).unwrap().mean = Duration::from_secs_f64(ms / 1e3);
    run.validity.valid = true;
    run.validity.checks.retain(|check| check.outcome != CheckOutcome::Invalid);
    run
}

fn pair(a: f64, b: f64) -> BlockPair {
    BlockPair { first: Arm::A, runs: [run(a), run(b)] }
}

fn spoiled(mut pair: BlockPair) -> BlockPair {
    let check = &mut pair.runs[1].validity.checks[0];
    (check.outcome, check.figure, check.advice) = (CheckOutcome::Invalid, None, "the client was late".into());
    pair.runs[1].validity.valid = false;
    pair
}

fn ttft(ab: &AbComparison) -> DifferenceVerdict {
    ab.comparison.rows().find(|row| row.figure.to_string() == "ttft.mean").unwrap().call
}

fn ab(design: AbDesign, pairs: Vec<BlockPair>) -> AbComparison {
    AbComparison::compare(design, pairs, &["ttft.mean".parse().unwrap()], CompareConfig::default())
}

#[test]
fn every_second_pair_turns_the_order_round_and_the_first_is_drawn() {
    let order = |seed| first_arms(8, seed);
    for seed in 0..50 {
        for two in order(seed).chunks(2) {
            assert_eq!(two[0], two[1].other());
        }
    }
    let first = (0..50).filter(|&seed| order(seed)[0] == Arm::A).count();
    assert!((10..=40).contains(&first), "{first} of 50 begin with A");
    assert_eq!(order(7), order(7));
    assert_eq!(super::first_arms(3, 1).len(), 3);
}

#[test]
fn a_pair_with_an_invalid_block_is_left_out_and_told() {
    let pairs = vec![pair(100.0, 121.0), spoiled(pair(100.0, 1.0)), pair(101.0, 120.0), pair(99.0, 119.0)];
    let result = ab(design(4), pairs.clone());
    assert_eq!((result.counted_pairs(), ttft(&result)), (3, DifferenceVerdict::Worse));
    assert!(result.is_believable());
    let [pair, one_sided] = &result.comparison.caveats[..] else { panic!("{:?}", result.comparison.caveats) };
    assert_eq!(pair, "pair 2 is left out: B is INVALID: the client was late");
    assert!(one_sided.contains("B is INVALID in 1 and A in 0; it may favor B"), "{one_sided}");

    let all = ab(AbDesign { allow_invalid: true, ..design(4) }, pairs);
    assert_eq!((all.counted_pairs(), all.comparison.caveats.len()), (4, 0));
    assert!(matches!(ttft(&all), DifferenceVerdict::CannotTell { .. }));
}

#[test]
fn pairs_that_both_servers_spoil_alike_are_not_called_one_sided() {
    let by_a = |mut pair: BlockPair| {
        pair.runs.reverse();
        let mut pair = spoiled(pair);
        pair.runs.reverse();
        pair
    };
    let same = || pair(100.0, 100.0);
    let result = ab(design(4), vec![same(), spoiled(same()), by_a(same()), same()]);
    assert_eq!(result.comparison.caveats.len(), 2, "{:?}", result.comparison.caveats);
    assert!(result.comparison.caveats.iter().all(|caveat| caveat.contains("is left out")));
}

#[test]
fn too_many_invalid_blocks_are_not_to_be_believed() {
    let mut pairs = vec![pair(100.0, 100.0), pair(101.0, 101.0)];
    pairs.extend((0..3).map(|_| spoiled(pair(100.0, 100.0))));
    let result = ab(design(5), pairs);
    assert!(!result.is_believable());
    assert!(
        result.comparison.caveats.last().unwrap().contains("too few valid pairs"),
        "{:?}",
        result.comparison.caveats
    );
    assert!(!ab(design(1), vec![pair(1.0, 1.0)]).is_believable(), "one pair is no comparison");
}

#[test]
fn an_interrupted_comparison_says_how_far_it_came_and_serialises() {
    let result = ab(design(8), vec![pair(100.0, 100.5), pair(100.0, 99.6), pair(100.2, 100.0)]);
    assert_eq!(result.comparison.caveats, ["only 3 of 8 pairs are complete"]);
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!((&json["planned_pairs"], &json["block_s"]), (&8.into(), &15.0.into()));
    assert_eq!((&json["pairs"][0]["first"], &json["base"]["name"]), (&"A".into(), &"A".into()));
    assert_eq!(json["candidates"][0]["rows"][0]["figure"], "ttft.mean");
}
