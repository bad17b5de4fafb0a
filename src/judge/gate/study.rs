//! How often gates err, on requests through a queue whose truth is known.

use super::*;
use crate::core::run::sample;
use crate::core::simulated::Queue;

/// Blocks of a gate that is extended as often as it may be.
const BLOCKS: usize = 5;

/// A run of so many requests, with services so many times as long.
fn run(requests: usize, seed: u64, slower: f64) -> Run {
    let usual = Queue::default();
    let queue = Queue {
        seed,
        service: usual.service.mul_f64(slower),
        prefill: usual.prefill.mul_f64(slower),
        ..usual
    };
    sample::of_records(sample::spec(), queue.open(requests, 8.0), vec![95.0], true)
}

/// What gates of candidates that are so much slower come to: failed, passed, open; and at how many looks.
fn gates(count: u64, requests: usize, slower: f64, blocks: usize) -> [usize; 3] {
    let mut outcomes = [0; 3];
    for gate in 0..count {
        let seed = 1000 * gate;
        let baseline = [run(requests, seed, 1.0)];
        let rules = defaults(&baseline);
        let minute = std::time::Duration::from_secs(60);
        let mut looks = Looks::planned(ALPHA, minute, minute * (blocks as u32 - 1));
        let mut candidate = Vec::new();
        let mut findings = Vec::new();
        for block in 1..=blocks {
            candidate.push(run(requests, seed + block as u64, slower));
            let Some(level) = looks.next(block, block == blocks) else { continue };
            let joined = [joined(&candidate, &[95.0]).unwrap()];
            let sides = Sides { baseline: &baseline, candidate: &joined, same_start: true };
            findings = settle(findings, look(&rules, &sides, level), looks.taken());
        }
        let counting = |finding: &&Finding| finding.rule.severity == Severity::Fail;
        let answers = || findings.iter().filter(counting).map(|finding| finding.answer);
        let outcome = match (answers().any(|a| a == Answer::Fail), answers().all(|a| a == Answer::Pass)) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        outcomes[outcome] += 1;
    }
    outcomes
}

#[test]
fn equal_servers_seldom_fail_and_a_much_slower_one_never_passes() {
    let [failed, ..] = gates(30, 300, 1.0, 1);
    assert!(failed <= 4, "{failed} of 30");
    let [failed, ..] = gates(15, 200, 1.0, BLOCKS);
    assert!(failed <= 3, "{failed} of 15, extended");
    let [failed, passed, _] = gates(10, 600, 1.5, 1);
    assert_eq!((failed, passed), (10, 0));
}

/// The table in the note: `cargo test --release --lib gate::study -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn table_of_gates() {
    println!("slower  requests  blocks  failed  passed  open  (of 200)");
    for (slower, requests, blocks) in [
        (1.0, 600, 1),
        (1.0, 1200, 1),
        (1.0, 600, BLOCKS),
        (1.02, 1200, 1),
        (1.05, 1200, 1),
        (1.1, 1200, 1),
        (1.1, 1200, BLOCKS),
        (1.2, 1200, 1),
        (1.2, 1200, BLOCKS),
    ] {
        let [failed, passed, open] = gates(200, requests, slower, blocks);
        println!("{slower:>6}  {requests:>8}  {blocks:>6}  {failed:>6}  {passed:>6}  {open:>4}");
        if slower == 1.0 {
            // 10 of 200 are expected at most; 19 or more have a chance of less than 1 %.
            assert!(failed < 19, "{failed} of 200");
        }
    }
}
