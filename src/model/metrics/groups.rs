//! The metrics for each group of requests: by turn, class or adapter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Latency, latency_values};
use crate::model::record::Record;
use crate::model::server::share_of;
use crate::seconds;
use crate::stats::{Distribution, DurationInterval};

/// The property that groups requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    /// Groups by the turn of a session.
    Turn,
    /// Groups by the class of a mixed workload.
    Class,
    /// Groups by the LoRA adapter.
    Adapter,
}

impl GroupBy {
    /// All groupings, in the order of reports.
    pub(crate) const ALL: [Self; 3] = [Self::Turn, Self::Class, Self::Adapter];

    /// The name in reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Class => "class",
            Self::Adapter => "adapter",
        }
    }

    /// The group of a request; `None` if it is in none.
    fn group_key(self, record: &Record) -> Option<GroupKey> {
        let facets = record.facets.as_deref()?;
        match self {
            Self::Turn => facets.turn.map(GroupKey::Number),
            Self::Class => facets.class.clone().map(GroupKey::Text),
            Self::Adapter => facets.adapter.clone().map(GroupKey::Text),
        }
    }
}

/// The name of a group; numbers sort by value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupKey {
    Number(u32),
    Text(String),
}

impl From<GroupKey> for String {
    fn from(name: GroupKey) -> Self {
        match name {
            // Displayed turns count from 1.
            GroupKey::Number(number) => (number + 1).to_string(),
            GroupKey::Text(text) => text,
        }
    }
}

/// The metrics of one group of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupMetrics {
    /// The group's name; turns count from 1.
    pub name: String,
    /// The number of requests.
    pub requests: usize,
    /// The number of answered requests.
    pub completed: usize,
    /// The number of failed requests.
    pub failed: usize,
    /// The number of abandoned requests.
    pub abandoned: usize,
    /// Prompt tokens of the answered requests.
    pub input_tokens: u64,
    /// Output tokens of the answered requests.
    pub output_tokens: u64,
    /// The group's share of the output tokens of all completed requests; `None` where there are no output tokens.
    pub output_share: Option<f64>,
    /// The share of the prompt tokens that the server found in its prefix cache; `None` if the server does not report
    /// it.
    pub cached_share: Option<f64>,
    /// The summary of TTFT.
    pub ttft: Option<LatencySummary>,
    /// The summary of TPOT.
    pub tpot: Option<LatencySummary>,
    /// The summary of TPOT as vLLM computes it, where it differs for any request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_tpot: Option<LatencySummary>,
    /// The summary of E2E.
    #[serde(rename = "e2el")]
    pub e2e: Option<LatencySummary>,
}

impl GroupMetrics {
    /// The mean prompt length in tokens.
    pub(crate) fn mean_input(&self) -> Option<f64> {
        (self.completed > 0).then(|| self.input_tokens as f64 / self.completed as f64)
    }

    /// The summary of TPOT as vLLM computes it.
    pub(crate) fn vllm_tpot(&self) -> Option<LatencySummary> {
        self.vllm_tpot.or(self.tpot)
    }

    /// Removes all intervals.
    pub(super) fn remove_intervals(&mut self) {
        let latencies = [&mut self.ttft, &mut self.tpot, &mut self.vllm_tpot, &mut self.e2e];
        for latency in latencies.into_iter().flatten() {
            (latency.mean_interval, latency.median_interval, latency.p99_interval) = (None, None, None);
        }
    }

    /// The metrics of a group with these counts. Its latencies are those of the kept requests, in the order of time.
    fn compute(name: GroupKey, counts: &GroupCounts, kept: &[&Record]) -> Self {
        let timing =
            |latency| LatencySummary::from_times(latency_values(kept.iter().copied(), latency).collect());
        let (cached, prompts) = counts.cached;
        Self {
            name: name.into(),
            requests: counts.completed + counts.failed + counts.abandoned,
            completed: counts.completed,
            failed: counts.failed,
            abandoned: counts.abandoned,
            input_tokens: counts.input_tokens,
            output_tokens: counts.output_tokens,
            output_share: None,
            cached_share: share_of(cached as f64, prompts as f64),
            ttft: timing(Latency::Ttft),
            tpot: timing(Latency::Tpot),
            vllm_tpot: vllm_tpot(kept),
            e2e: timing(Latency::E2e),
        }
    }
}

/// Mean, median and 99th percentile of a latency, each with its 95 % interval where the group has enough requests.
/// Percentiles interpolate linearly between closest ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatencySummary {
    /// The arithmetic mean.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// The 95 % interval of the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_interval: Option<DurationInterval>,
    /// The median.
    #[serde(rename = "median_s", with = "seconds")]
    pub median: Duration,
    /// The 95 % interval of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_interval: Option<DurationInterval>,
    /// The 99th percentile: with few requests, close to the largest value.
    #[serde(rename = "p99_s", with = "seconds")]
    pub p99: Duration,
    /// The 95 % interval of the 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_interval: Option<DurationInterval>,
}

impl LatencySummary {
    /// Summarizes values in the order of time.
    fn from_times(times: Vec<Duration>) -> Option<Self> {
        let Distribution { mean, mean_interval, median, median_interval, percentiles, .. } =
            Distribution::from_values(times, &[99.0])?;
        let p99 = percentiles.first()?;
        let (p99, p99_interval) = (p99.value, p99.interval);
        Some(Self { mean, mean_interval, median, median_interval, p99, p99_interval })
    }
}

fn vllm_tpot(records: &[&Record]) -> Option<LatencySummary> {
    let counted = records.iter().filter(|record| Latency::Tpot.applies_to(record));
    let differs = counted.clone().any(|record| record.tpot() != record.vllm_tpot());
    differs
        .then(|| LatencySummary::from_times(counted.filter_map(|record| record.vllm_tpot()).collect()))
        .flatten()
}

/// The counts of one group.
#[derive(Debug, Default)]
struct GroupCounts {
    completed: usize,
    failed: usize,
    abandoned: usize,
    input_tokens: u64,
    output_tokens: u64,
    /// The cached tokens, and the prompt tokens of the requests whose cached tokens the server reported.
    cached: (u64, u64),
}

impl GroupCounts {
    fn add(&mut self, record: &Record) {
        if record.is_success() {
            self.completed += 1;
            self.input_tokens += u64::from(record.prompt_tokens.count);
            self.output_tokens += u64::from(record.output_tokens.count);
        } else if record.is_abandoned() {
            self.abandoned += 1;
        } else {
            self.failed += 1;
        }
        if let Some(cached) = record.cached_tokens {
            self.cached.0 += u64::from(cached);
            self.cached.1 += u64::from(record.prompt_tokens.count);
        }
    }
}

/// The counts of the groups of every grouping that any of the requests has.
#[derive(Debug, Default)]
pub(super) struct GroupTally(BTreeMap<GroupBy, BTreeMap<GroupKey, GroupCounts>>);

impl GroupTally {
    /// Adds a Record.
    pub(super) fn add(&mut self, record: &Record) {
        // Most runs have no labels at all.
        if record.facets.is_none() {
            return;
        }
        for grouping in GroupBy::ALL {
            if let Some(name) = grouping.group_key(record) {
                self.0.entry(grouping).or_default().entry(name).or_default().add(record);
            }
        }
    }

    /// The metrics of the groups. Their latencies are those of the kept requests, in the order of time.
    pub(super) fn finish<'a>(
        self,
        kept: impl Iterator<Item = &'a Record> + Clone,
    ) -> BTreeMap<GroupBy, Vec<GroupMetrics>> {
        let rows = |grouping: GroupBy, groups: BTreeMap<GroupKey, GroupCounts>| {
            let mut records = BTreeMap::<GroupKey, Vec<&Record>>::new();
            for record in kept.clone() {
                if let Some(name) = grouping.group_key(record) {
                    records.entry(name).or_default().push(record);
                }
            }
            let row = |(name, counts): (GroupKey, GroupCounts)| {
                let kept = records.remove(&name).unwrap_or_default();
                GroupMetrics::compute(name, &counts, &kept)
            };
            let mut rows: Vec<GroupMetrics> = groups.into_iter().map(row).collect();
            set_output_shares(&mut rows);
            rows
        };
        self.0.into_iter().map(|(grouping, groups)| (grouping, rows(grouping, groups))).collect()
    }
}

fn set_output_shares(rows: &mut [GroupMetrics]) {
    let all: u64 = rows.iter().map(|row| row.output_tokens).sum();
    for row in rows {
        row.output_share = (all > 0).then(|| row.output_tokens as f64 / all as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Failure, FailureClass, Milestone, RequestLabels};
    use crate::testing::queue::record;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Sent at 0, with its first token after `ttft` ms.
    fn of(facets: RequestLabels, ttft: u64) -> Record {
        let mut record = record(0, ms(0), ms(ttft), ms(ttft + 100));
        record.times.set(Milestone::Sent, ms(0));
        record.output_tokens.count = 10;
        record.facets = Some(facets.into());
        record
    }

    fn group_metrics<'a>(
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> BTreeMap<GroupBy, Vec<GroupMetrics>> {
        let mut tally = GroupTally::default();
        records.clone().for_each(|record| tally.add(record));
        tally.finish(records)
    }

    fn turn(turn: u32) -> RequestLabels {
        RequestLabels { turn: Some(turn), ..RequestLabels::default() }
    }

    #[test]
    fn turns_are_counted_from_one_and_stay_in_order() {
        let records: Vec<Record> = [10, 2, 0, 2].into_iter().map(|n| of(turn(n), 50)).collect();
        let rows = group_metrics(records.iter());
        let names: Vec<_> =
            rows[&GroupBy::Turn].iter().map(|row| (row.name.as_str(), row.requests)).collect();
        assert_eq!(names, [("1", 1), ("3", 2), ("11", 1)]);
        assert_eq!(rows.len(), 1, "no row without a value");
    }

    #[test]
    fn each_row_has_its_own_latencies_and_its_share() {
        let class = |name: &str| RequestLabels { class: Some(name.into()), ..RequestLabels::default() };
        let records = [of(class("chat"), 10), of(class("chat"), 30), of(class("code"), 500)];
        let rows = &group_metrics(records.iter())[&GroupBy::Class];
        let ttft = rows[0].ttft.unwrap();
        assert_eq!((ttft.mean, ttft.median, ttft.p99), (ms(20), ms(20), ms(30) - ms(2) / 10));
        assert_eq!(rows[1].ttft.map(|ttft| ttft.median), Some(ms(500)));
        assert_eq!(rows[0].output_share, Some(20.0 / 30.0));
        assert_eq!(rows[0].mean_input(), Some(100.0));
    }

    #[test]
    fn each_row_has_the_intervals_that_its_requests_allow() {
        let turns = |n: u64| (0..n).map(|i| of(turn(0), 50 + i * 37 % 100)).collect::<Vec<_>>();
        let timing = |n: u64| group_metrics(turns(n).iter())[&GroupBy::Turn][0].ttft.unwrap();
        let few = timing(5);
        assert_eq!((few.mean_interval, few.p99_interval), (None, None));
        let some = timing(100);
        let mean = some.mean_interval.unwrap();
        assert!(mean.low < some.mean && some.mean < mean.high, "{some:?}");
        assert!(some.median_interval.is_some() && some.p99_interval.is_none(), "{some:?}");
        assert!(timing(1000).p99_interval.is_some());
        let json = serde_json::to_value(some).unwrap();
        assert!(json["mean_interval"]["low_s"].is_number() && json.get("p99_interval").is_none(), "{json}");
    }

    #[test]
    fn failures_and_abandoned_requests_are_counted_apart() {
        let mut records = [of(turn(0), 10), of(turn(0), 20), of(turn(0), 40)];
        records[0].outcome = Err(Failure::new(FailureClass::Status(500), "").into());
        records[1].outcome = Err(Failure::new(FailureClass::Abandoned, "").into());
        let row = &group_metrics(records.iter())[&GroupBy::Turn][0];
        assert_eq!((row.completed, row.failed, row.abandoned), (1, 1, 1));
        assert_eq!(row.ttft.map(|ttft| ttft.mean), Some(ms(40)), "latencies are of who stayed");
        assert_eq!(row.e2e.map(|e2e| e2e.mean), Some(ms(140)));
    }

    #[test]
    fn the_cached_share_is_of_those_that_tell() {
        let mut records = [of(turn(0), 10), of(turn(0), 20)];
        assert_eq!(group_metrics(records.iter())[&GroupBy::Turn][0].cached_share, None);
        records[1].cached_tokens = Some(80);
        assert_eq!(group_metrics(records.iter())[&GroupBy::Turn][0].cached_share, Some(0.8));
    }

    #[test]
    fn a_run_without_facets_has_no_rows() {
        assert!(group_metrics([record(0, ms(0), ms(1), ms(2))].iter()).is_empty());
    }
}
