//! Where a simulated run differs from what the server reported of it.

use super::measured::MeasuredRun;
use super::replay::Replay;

/// Peaks of KV use that differ by less than this share are samples of the same peak.
const KV_TOLERANCE: f64 = 0.25;

/// Below this share a pool is as good as empty.
const LEAST_KV_USAGE: f64 = 0.05;

/// Below this share of prompt tokens from the prefix cache, the times of prompt tokens are hardly too low.
const FEW_HITS: f64 = 0.05;

/// Requests that wait, as a share of those in the server, below which none wait.
const FEW_WAITING: f64 = 0.05;

/// The differences between a run as the server reported it and as it was simulated, each with the fact that is likely
/// wrong.
pub(super) fn doubts(run: &MeasuredRun, replay: &Replay) -> Vec<String> {
    let Some(reported) = run.reported else { return Vec::new() };
    let simulated = replay.mean_load;
    let mut doubts = Vec::new();
    if let Some(peak) = reported.peak_kv_usage.filter(|peak| *peak > LEAST_KV_USAGE) {
        let ratio = simulated.peak_kv_usage / peak;
        if !(1.0 - KV_TOLERANCE..=1.0 + KV_TOLERANCE).contains(&ratio) {
            doubts.push(format!(
                "the server reported up to {:.0} % of its KV blocks in use, and the simulation has {:.0} %: num_gpu_blocks is \
                 likely {:.2} times the given number, or the prompts share prefixes",
                100.0 * peak,
                100.0 * simulated.peak_kv_usage,
                ratio
            ));
        }
    }
    if let Some(hits) = reported.prefix_hits.filter(|hits| *hits > FEW_HITS) {
        doubts.push(format!(
            "the server had {:.0} % of the prompt tokens in its prefix cache, and the simulation computes all: the time of a \
             prompt token is too low; measure with unique prompts",
            100.0 * hits
        ));
    }
    match reported.preemptions {
        Some(0.0) if replay.preemptions > 0 => doubts.push(format!(
            "the server preempted no request, and the simulation {}: num_gpu_blocks is likely too low",
            replay.preemptions
        )),
        Some(count) if count > 0.0 && replay.preemptions == 0 => doubts.push(format!(
            "the server preempted {count} times, and the simulation never: num_gpu_blocks is likely too high"
        )),
        _ => {}
    }
    let share = |running: f64, waiting: f64| waiting / (running + waiting).max(f64::MIN_POSITIVE);
    let (real, own) =
        (share(reported.running, reported.waiting), share(simulated.running, simulated.waiting));
    if real > 3.0 * own.max(FEW_WAITING) {
        doubts.push(format!(
            "of the server's requests {:.0} % waited, and in the simulation {:.0} %: max_num_seqs or num_gpu_blocks is likely \
             too high",
            100.0 * real,
            100.0 * own
        ));
    } else if own > 3.0 * real.max(FEW_WAITING) {
        doubts.push(format!(
            "of the simulated requests {:.0} % wait, and on the server {:.0} % did: max_num_seqs or max_num_batched_tokens is \
             likely too low",
            100.0 * own,
            100.0 * real
        ));
    }
    doubts.into_iter().map(|doubt| format!("{}: {doubt}", run.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::calibration::replay::MeanLoad;
    use crate::predict::calibration::reported::ReportedLoad;
    use crate::predict::seen_steps::SeenSteps;

    fn doubts_of(reported: ReportedLoad, mean_load: MeanLoad, preemptions: u64) -> Vec<String> {
        let run = MeasuredRun { name: "a".to_owned(), reported: Some(reported), ..MeasuredRun::default() };
        let replay = Replay { requests: Vec::new(), hull: SeenSteps::default(), preemptions, mean_load };
        doubts(&run, &replay)
    }

    #[test]
    fn a_difference_names_the_fact_that_is_likely_wrong() {
        let reported = ReportedLoad {
            running: 8.0,
            waiting: 0.1,
            peak_kv_usage: Some(0.4),
            preemptions: Some(0.0),
            prefix_hits: Some(0.01),
        };
        let same = MeanLoad { running: 8.2, waiting: 0.0, peak_kv_usage: 0.42 };
        assert_eq!(doubts_of(reported, same, 0), Vec::<String>::new());

        let small_pool = MeanLoad { running: 6.0, waiting: 4.0, peak_kv_usage: 1.0 };
        let doubts = doubts_of(reported, small_pool, 12);
        assert_eq!(doubts.len(), 3, "{doubts:?}");
        assert!(doubts[0].contains("num_gpu_blocks is likely 2.50 times"), "{doubts:?}");
        assert!(doubts[1].contains("the simulation 12: num_gpu_blocks is likely too low"), "{doubts:?}");
        assert!(doubts[2].contains("max_num_seqs or max_num_batched_tokens is likely too low"), "{doubts:?}");

        let cached = ReportedLoad { prefix_hits: Some(0.62), ..reported };
        assert!(doubts_of(cached, same, 0)[0].contains("62 % of the prompt tokens in its prefix cache"));

        let queue = ReportedLoad { waiting: 20.0, ..reported };
        assert!(doubts_of(queue, same, 0)[0].contains("max_num_seqs or num_gpu_blocks is likely too high"));
    }
}
