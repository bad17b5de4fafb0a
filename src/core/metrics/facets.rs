//! The same figures for each value of a facet: turn by turn, class by class, adapter by adapter.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Latency, values};
use crate::core::record::Record;
use crate::core::stats::percentile;
use crate::core::units::seconds;

/// By what requests are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facet {
    /// The turn of a session.
    Turn,
    /// The class of a mixed workload.
    Class,
    /// The LoRA adapter.
    Adapter,
}

impl Facet {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 3] = [Self::Turn, Self::Class, Self::Adapter];

    /// The name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Class => "class",
            Self::Adapter => "adapter",
        }
    }

    /// The row of a request; `None` if it is in none.
    fn of(self, record: &Record) -> Option<Name> {
        let facets = record.facets.as_deref()?;
        match self {
            Self::Turn => facets.turn.map(Name::Number),
            Self::Class => facets.class.clone().map(Name::Text),
            Self::Adapter => facets.adapter.clone().map(Name::Text),
        }
    }
}

/// A row's name: numbers are in the order of their values.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Number(u32),
    Text(String),
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        match name {
            // People count turns from 1.
            Name::Number(number) => (number + 1).to_string(),
            Name::Text(text) => text,
        }
    }
}

/// The requests that have one value of a facet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The value; turns count from 1.
    pub name: String,
    /// How many there were.
    pub requests: usize,
    /// How many of them got their answer.
    pub completed: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many of them were abandoned.
    pub abandoned: usize,
    /// Prompt tokens of the completed ones.
    pub input_tokens: u64,
    /// Output tokens of the completed ones.
    pub output_tokens: u64,
    /// The share of all completed requests' output tokens; `None` where there are none.
    pub output_share: Option<f64>,
    /// The share of the prompt tokens that the server found in its prefix cache; `None` if it does not tell.
    pub cached_share: Option<f64>,
    /// TTFT.
    pub ttft: Option<Timing>,
    /// TPOT.
    pub tpot: Option<Timing>,
    /// TPOT as vLLM computes it, where that differs for any request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_tpot: Option<Timing>,
    /// E2E.
    #[serde(rename = "e2el")]
    pub e2e: Option<Timing>,
}

impl Row {
    /// Mean length of the prompts in tokens.
    pub fn mean_input(&self) -> Option<f64> {
        (self.completed > 0).then(|| self.input_tokens as f64 / self.completed as f64)
    }

    /// TPOT as vLLM computes it.
    pub fn vllm_tpot(&self) -> Option<Timing> {
        self.vllm_tpot.or(self.tpot)
    }

    fn of(name: Name, records: &[&Record]) -> Self {
        let answered = || records.iter().filter(|record| record.succeeded());
        let timing = |latency| Timing::of(values(records.iter().copied(), latency).collect());
        Self {
            name: name.into(),
            requests: records.len(),
            completed: answered().count(),
            failed: records.iter().filter(|record| record.failed()).count(),
            abandoned: records.iter().filter(|record| record.was_abandoned()).count(),
            input_tokens: answered().map(|record| u64::from(record.prompt_tokens.count)).sum(),
            output_tokens: answered().map(|record| u64::from(record.output_tokens.count)).sum(),
            output_share: None,
            cached_share: cached_share(records),
            ttft: timing(Latency::Ttft),
            tpot: timing(Latency::Tpot),
            vllm_tpot: vllm_tpot(records),
            e2e: timing(Latency::E2e),
        }
    }
}

/// Three numbers of a latency. Percentiles interpolate linearly between closest ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The arithmetic mean.
    #[serde(rename = "mean_s", with = "seconds")]
    pub mean: Duration,
    /// The median.
    #[serde(rename = "median_s", with = "seconds")]
    pub median: Duration,
    /// The 99th percentile: of few requests little but the largest value.
    #[serde(rename = "p99_s", with = "seconds")]
    pub p99: Duration,
}

impl Timing {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let count = u32::try_from(times.len()).ok()?;
        Some(Self {
            median: percentile(&times, 50.0)?,
            p99: percentile(&times, 99.0)?,
            mean: times.iter().sum::<Duration>() / count,
        })
    }
}

fn vllm_tpot(records: &[&Record]) -> Option<Timing> {
    let counted = records.iter().filter(|record| Latency::Tpot.counts(record));
    let differs = counted.clone().any(|record| record.tpot() != record.vllm_tpot());
    differs.then(|| Timing::of(counted.filter_map(|record| record.vllm_tpot()).collect())).flatten()
}

/// Over the requests of which the server told.
fn cached_share(records: &[&Record]) -> Option<f64> {
    let told = records.iter().filter_map(|record| Some((record.cached_tokens?, record.prompt_tokens.count)));
    let (cached, all) = told
        .fold((0_u64, 0_u64), |(cached, all), (more, of)| (cached + u64::from(more), all + u64::from(of)));
    (all > 0).then(|| cached as f64 / all as f64)
}

/// The rows of every facet that any of the requests has.
pub(super) fn rows<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> BTreeMap<Facet, Vec<Row>> {
    // Most runs have no facets at all.
    if !records.clone().any(|record| record.facets.is_some()) {
        return BTreeMap::new();
    }
    let of = |facet: Facet| {
        let mut groups = BTreeMap::<Name, Vec<&Record>>::new();
        for record in records.clone() {
            if let Some(name) = facet.of(record) {
                groups.entry(name).or_default().push(record);
            }
        }
        let mut rows: Vec<Row> = groups.into_iter().map(|(name, records)| Row::of(name, &records)).collect();
        share(&mut rows);
        rows
    };
    Facet::ALL.into_iter().map(|facet| (facet, of(facet))).filter(|(_, rows)| !rows.is_empty()).collect()
}

fn share(rows: &mut [Row]) {
    let all: u64 = rows.iter().map(|row| row.output_tokens).sum();
    for row in rows {
        row.output_share = (all > 0).then(|| row.output_tokens as f64 / all as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Facets, Failure, FailureClass};
    use crate::core::simulated::record;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    /// Sent at 0, with its first token after `ttft` ms.
    fn of(facets: Facets, ttft: u64) -> Record {
        let mut record = record(0, ms(0), ms(ttft), ms(ttft + 100));
        record.times.sent = Some(ms(0));
        record.output_tokens.count = 10;
        record.facets = Some(facets.into());
        record
    }

    fn turn(turn: u32) -> Facets {
        Facets { turn: Some(turn), ..Facets::default() }
    }

    #[test]
    fn turns_are_counted_from_one_and_stay_in_order() {
        let records: Vec<Record> = [10, 2, 0, 2].into_iter().map(|n| of(turn(n), 50)).collect();
        let rows = rows(records.iter());
        let names: Vec<_> = rows[&Facet::Turn].iter().map(|row| (row.name.as_str(), row.requests)).collect();
        assert_eq!(names, [("1", 1), ("3", 2), ("11", 1)]);
        assert_eq!(rows.len(), 1, "no row without a value");
    }

    #[test]
    fn each_row_has_its_own_latencies_and_its_share() {
        let class = |name: &str| Facets { class: Some(name.into()), ..Facets::default() };
        let records = [of(class("chat"), 10), of(class("chat"), 30), of(class("code"), 500)];
        let rows = &rows(records.iter())[&Facet::Class];
        assert_eq!(rows[0].ttft, Some(Timing { mean: ms(20), median: ms(20), p99: ms(30) - ms(2) / 10 }));
        assert_eq!(rows[1].ttft.map(|ttft| ttft.median), Some(ms(500)));
        assert_eq!(rows[0].output_share, Some(20.0 / 30.0));
        assert_eq!(rows[0].mean_input(), Some(100.0));
    }

    #[test]
    fn failures_and_abandoned_requests_are_counted_apart() {
        let mut records = [of(turn(0), 10), of(turn(0), 20), of(turn(0), 40)];
        records[0].outcome = Err(Failure::new(FailureClass::Status(500), ""));
        records[1].outcome = Err(Failure::new(FailureClass::Abandoned, ""));
        let row = &rows(records.iter())[&Facet::Turn][0];
        assert_eq!((row.completed, row.failed, row.abandoned), (1, 1, 1));
        assert_eq!(row.ttft.map(|ttft| ttft.mean), Some(ms(40)), "latencies are of who stayed");
        assert_eq!(row.e2e.map(|e2e| e2e.mean), Some(ms(140)));
    }

    #[test]
    fn the_cached_share_is_of_those_that_tell() {
        let mut records = [of(turn(0), 10), of(turn(0), 20)];
        assert_eq!(rows(records.iter())[&Facet::Turn][0].cached_share, None);
        records[1].cached_tokens = Some(80);
        assert_eq!(rows(records.iter())[&Facet::Turn][0].cached_share, Some(0.8));
    }

    #[test]
    fn a_run_without_facets_has_no_rows() {
        assert!(rows([record(0, ms(0), ms(1), ms(2))].iter()).is_empty());
    }
}
