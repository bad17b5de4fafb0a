//! The signals of a `/metrics` page, independent of engine and version.

use std::collections::BTreeMap;

mod iterations;
mod names;
mod ranks;
mod spelling;
mod version_names;

pub(crate) use crate::server::signals::version_names::VersionNames;
pub(crate) use names::{EngineFamily, SIGNAL_NAMES, SignalName};

use crate::model::server::{ScrapedHistogram, ServerSignal, SignalKind, is_possible};
use crate::server::metrics_text::{MetricsText, ScrapedSample};
use ranks::CountedSeries;
use spelling::NameSpellings;

/// The signals of one page.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MetricsSnapshot {
    /// The engine whose metric names the page has.
    pub engine: Option<EngineFamily>,
    values: BTreeMap<ServerSignal, SignalValue>,
    /// The gauges of a share that the page reports above 1. They have no value.
    impossible: BTreeMap<ServerSignal, f64>,
}

/// The value of a signal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SignalValue {
    /// A gauge or a counter, summed over its series.
    Number(f64),
    /// A counter, split by the values of a label.
    Parts(BTreeMap<String, f64>),
    /// A histogram, merged over its series.
    Histogram(ScrapedHistogram),
    /// The labels of each series.
    Facts(Vec<BTreeMap<String, String>>),
}

impl MetricsSnapshot {
    /// Parses a server's answer to `/metrics`: a page in Prometheus' text format, or TensorRT-LLM's JSON.
    pub(crate) fn parse(text: &str) -> Self {
        iterations::parse_iterations(text)
            .map(Self::without_impossible)
            .unwrap_or_else(|| Self::from_page(&MetricsText::parse(text)))
    }

    /// Creates the snapshot of a server that has reported nothing yet.
    pub(crate) fn empty(engine: EngineFamily) -> Self {
        Self { engine: Some(engine), ..Self::default() }
    }

    /// Extracts the signals of a page. If the page has a signal under two names, the newer name counts.
    pub(crate) fn from_page(page: &MetricsText<'_>) -> Self {
        let mut reading = Self::default();
        let spellings = NameSpellings::new(page);
        for (signal, names) in SIGNAL_NAMES {
            let spelled = |name: &'static SignalName| {
                spellings.spellings_of(name.sample).into_iter().map(move |it| (name, it))
            };
            let found = names
                .iter()
                .flat_map(spelled)
                .find_map(|(name, spelled)| Some((name, value(page, *signal, (name, spelled))?)));
            if let Some((name, value)) = found {
                reading.engine = reading.engine.or(name.engine);
                reading.values.insert(*signal, value);
            }
        }
        if counts_blocks(page) {
            reading.count_tokens();
        }
        reading.without_impossible()
    }

    /// Moves the shares above 1 out of the values.
    fn without_impossible(mut self) -> Self {
        self.values.retain(|signal, value| match value {
            SignalValue::Number(level) if signal.info().is_share() && !is_possible(*level) => {
                self.impossible.insert(*signal, *level);
                false
            }
            _ => true,
        });
        self
    }

    /// The gauges of a share that the page reports above 1.
    pub(crate) fn impossible(&self) -> &BTreeMap<ServerSignal, f64> {
        &self.impossible
    }

    /// Converts prefix cache counters from blocks to tokens. If the block size is unknown, only the counters' ratio
    /// is meaningful, and is kept as the hit rate.
    fn count_tokens(&mut self) {
        let block = match self.get(ServerSignal::CacheConfig) {
            Some(SignalValue::Facts(engines)) => {
                engines.iter().find_map(|labels| labels.get("block_size")?.parse().ok())
            }
            _ => None,
        };
        let counters = [ServerSignal::PrefixQueries, ServerSignal::PrefixHits];
        let [queries, hits] = counters.map(|signal| self.number(signal));
        counters.iter().for_each(|signal| drop(self.values.remove(signal)));
        let numbers: Vec<(ServerSignal, f64)> = match block {
            Some::<f64>(size) => {
                let counted = counters.into_iter().zip([queries, hits]);
                counted.filter_map(|(signal, blocks)| Some((signal, blocks? * size))).collect()
            }
            None => {
                let rate = queries.zip(hits).filter(|(queries, _)| *queries > 0.0);
                rate.map(|(queries, hits)| (ServerSignal::PrefixHitRate, hits / queries))
                    .into_iter()
                    .collect()
            }
        };
        self.values.extend(numbers.into_iter().map(|(signal, number)| (signal, SignalValue::Number(number))));
    }

    /// Whether the server restarted or lost its counters after an earlier snapshot: another process answers, or a
    /// counter fell.
    pub(crate) fn has_restarted_since(&self, earlier: &Self) -> bool {
        let started = |reading: &Self| reading.number(ServerSignal::ProcessStart);
        let another = started(earlier).zip(started(self)).is_some_and(|(then, now)| (now - then).abs() > 1.0);
        another
            || self.values().any(|(signal, value)| match (value, earlier.get(signal)) {
                (SignalValue::Histogram(now), Some(SignalValue::Histogram(then))) => now.count < then.count,
                (_, Some(_)) if signal.info().kind == SignalKind::Counter => {
                    self.number(signal) < earlier.number(signal)
                }
                _ => false,
            })
    }

    /// Whether an engine wrote the page without any value.
    pub(crate) fn has_no_values(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether no known engine wrote the page.
    pub(crate) fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    /// Returns the value of a signal.
    pub(crate) fn get(&self, signal: ServerSignal) -> Option<&SignalValue> {
        self.values.get(&signal)
    }

    /// Returns all signals with their values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (ServerSignal, &SignalValue)> {
        self.values.iter().map(|(signal, value)| (*signal, value))
    }

    /// Returns a gauge, or a counter summed over its parts.
    pub(crate) fn number(&self, signal: ServerSignal) -> Option<f64> {
        match self.get(signal)? {
            SignalValue::Number(number) => Some(*number),
            SignalValue::Parts(parts) => Some(parts.values().sum()),
            SignalValue::Histogram(_) | SignalValue::Facts(_) => None,
        }
    }

    /// Returns a histogram.
    pub(crate) fn histogram(&self, signal: ServerSignal) -> Option<&ScrapedHistogram> {
        match self.get(signal)? {
            SignalValue::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }
}

/// Whether the page counts its prefix cache in blocks: vLLM up to v0.8.5 does, under the same name as the tokens
/// since v0.9.0.
fn counts_blocks(page: &MetricsText<'_>) -> bool {
    let counters = page.families.iter().filter(|family| family.name.contains("gpu_prefix_cache_"));
    counters.filter_map(|family| family.help.as_deref()).any(|help| help.contains("blocks"))
}

/// Returns the value of a signal under a name of the table, in the page's spelling.
fn value(
    page: &MetricsText<'_>,
    signal: ServerSignal,
    (name, spelled): (&SignalName, &str),
) -> Option<SignalValue> {
    let facts = signal.info();
    match facts.kind {
        SignalKind::Time => {
            let count = format!("{spelled}_count");
            let counted =
                CountedSeries::new(page.samples_named(&count).filter(|sample| name.matches(sample)));
            let wanted = |sample: &ScrapedSample<'_>| name.matches(sample) && counted.contains(sample);
            page.histogram(spelled, wanted).map(SignalValue::Histogram)
        }
        SignalKind::Info => label_sets(page, (name, spelled)),
        SignalKind::Gauge | SignalKind::Counter => {
            let known = || {
                page.samples_named(spelled).filter(|sample| name.matches(sample) && is_known_value(sample))
            };
            let counted = CountedSeries::new(known());
            let found = known().filter(|sample| counted.contains(sample));
            match name.parts {
                Some(label) => values_by_label(found, label),
                None => facts.merge.aggregate(found.map(|sample| sample.value)).map(SignalValue::Number),
            }
        }
    }
}

/// llama.cpp reports NaN, and vLLM -1, for unknown values; no known value is negative.
fn is_known_value(sample: &ScrapedSample<'_>) -> bool {
    sample.value.is_finite() && sample.value >= 0.0
}

/// Labels with another spelling in some programs: llm-d's simulator and TensorRT-LLM before 1.1.
const OTHER_LABELS: [(&str, &str); 1] = [("finished_reason", "finish_reason")];

fn values_by_label<'p>(
    samples: impl Iterator<Item = &'p ScrapedSample<'p>>,
    label: &str,
) -> Option<SignalValue> {
    let other = OTHER_LABELS.iter().find(|(usual, _)| *usual == label).map_or(label, |(_, other)| other);
    let mut parts = BTreeMap::new();
    for sample in samples {
        let part = sample.label(label).or_else(|| sample.label(other)).unwrap_or_default();
        *parts.entry(part.to_owned()).or_insert(0.0) += sample.value;
    }
    (!parts.is_empty()).then_some(SignalValue::Parts(parts))
}

fn label_sets(page: &MetricsText<'_>, (name, spelled): (&SignalName, &str)) -> Option<SignalValue> {
    let owned = |(label, value): &(&str, std::borrow::Cow<'_, str>)| ((*label).to_owned(), value.to_string());
    let series: Vec<_> = page
        .samples_named(spelled)
        .filter(|sample| name.matches(sample))
        .map(|sample| sample.labels.iter().map(owned).collect())
        .collect();
    (!series.is_empty()).then_some(SignalValue::Facts(series))
}

#[cfg(test)]
mod tests;
