//! The checks of a run that several clients sent.

use std::time::Duration;

use super::{CheckBounds, CheckInput, grade_schedule_lag};
use crate::model::metrics::Latency;
use crate::model::validity::{Check, CheckName, Quantity, ShardDiagnostics};

/// Checks the clients, if there are several.
pub(super) fn shard_checks(case: &CheckInput<'_>) -> Vec<Check> {
    let shards = &case.evidence.shards;
    if shards.len() < 2 {
        return Vec::new();
    }
    let most = |value: fn(&ShardDiagnostics) -> Option<Duration>| shards.iter().filter_map(value).max();
    let lag = most(|shard| shard.lag);
    let lag = lag.map(|lag| Check {
        name: CheckName::ShardLag,
        ..grade_schedule_lag(&case.spec.load, lag, case.median(Latency::Ttft))
    });
    let starts = most(|shard| shard.start).map(|skew| {
        let advice = "the shards did not begin together, or their wall clocks were set during the run: synchronize the clocks \
                      of the hosts, and start hosts that are not busy";
        grade(case, CheckName::StartSkew, skew, advice)
    });
    let clocks = most(|shard| shard.clock_doubt).map(|doubt| {
        let advice = "the network between the shards is slow, so their starts may be this far apart: use hosts that are closer \
                      to each other";
        grade(case, CheckName::ClockUncertainty, doubt, advice)
    });
    lag.into_iter().chain(starts).chain(clocks).collect()
}

fn grade(case: &CheckInput<'_>, name: CheckName, figure: Duration, advice: &str) -> Check {
    let ttft = case.median(Latency::Ttft);
    let bounds = CheckBounds {
        warning: Some(Quantity::Time(Duration::from_millis(10).max(ttft / 20))),
        invalid: Some(Quantity::Time(Duration::from_millis(50).max(ttft / 4))),
    };
    Check::grade(name, Quantity::Time(figure), bounds, advice)
}
