//! What a page tells, whatever engine and version wrote it.

use std::collections::BTreeMap;

mod name_set;
mod names;

pub use name_set::NameSet;
pub use names::{Engine, NAMES, Name};

use super::page::{Page, Sample};
use crate::core::server::{Histogram, Kind, Signal};

/// A page in our own words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Whose names the page has.
    pub engine: Option<Engine>,
    values: BTreeMap<Signal, Value>,
}

/// What a page says of a signal.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A gauge or a counter, its series merged.
    Number(f64),
    /// A counter by the values of a label.
    Parts(BTreeMap<String, f64>),
    /// A histogram, its series merged.
    Histogram(Histogram),
    /// The labels of each series.
    Facts(Vec<BTreeMap<String, String>>),
}

impl Reading {
    /// Of a page. Where it has a signal under two names, the newer name counts.
    pub fn of(page: &Page<'_>) -> Self {
        let mut reading = Self::default();
        for (signal, names) in NAMES {
            let found = names.iter().find_map(|name| Some((name, value(page, *signal, name)?)));
            if let Some((name, value)) = found {
                reading.engine = reading.engine.or(name.engine);
                reading.values.insert(*signal, value);
            }
        }
        if counts_blocks(page) {
            reading.count_tokens();
        }
        reading
    }

    /// Makes tokens of counters of the prefix cache that are of blocks; where nobody tells how large a block is, only
    /// their ratio means something.
    fn count_tokens(&mut self) {
        let block = match self.get(Signal::CacheConfig) {
            Some(Value::Facts(engines)) => {
                engines.iter().find_map(|labels| labels.get("block_size")?.parse().ok())
            }
            _ => None,
        };
        let counters = [Signal::PrefixQueries, Signal::PrefixHits];
        let [queries, hits] = counters.map(|signal| self.number(signal));
        counters.iter().for_each(|signal| drop(self.values.remove(signal)));
        let told: Vec<(Signal, f64)> = match block {
            Some::<f64>(size) => {
                let counted = counters.into_iter().zip([queries, hits]);
                counted.filter_map(|(signal, blocks)| Some((signal, blocks? * size))).collect()
            }
            None => {
                let rate = queries.zip(hits).filter(|(queries, _)| *queries > 0.0);
                rate.map(|(queries, hits)| (Signal::PrefixHitRate, hits / queries)).into_iter().collect()
            }
        };
        self.values.extend(told.into_iter().map(|(signal, number)| (signal, Value::Number(number))));
    }

    /// Whether the server started again after an earlier reading, or lost its counts: another process answers, or a
    /// counter fell.
    pub fn began_anew_since(&self, earlier: &Self) -> bool {
        let started = |reading: &Self| reading.number(Signal::ProcessStart);
        let another = started(earlier).zip(started(self)).is_some_and(|(then, now)| (now - then).abs() > 1.0);
        another
            || self.values().any(|(signal, value)| match (value, earlier.get(signal)) {
                (Value::Histogram(now), Some(Value::Histogram(then))) => now.count < then.count,
                (_, Some(_)) if signal.facts().kind == Kind::Counter => {
                    self.number(signal) < earlier.number(signal)
                }
                _ => false,
            })
    }

    /// Whether no engine that we know wrote the page.
    pub fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    /// What it says of a signal.
    pub fn get(&self, signal: Signal) -> Option<&Value> {
        self.values.get(&signal)
    }

    /// All that it says.
    pub fn values(&self) -> impl Iterator<Item = (Signal, &Value)> {
        self.values.iter().map(|(signal, value)| (*signal, value))
    }

    /// A gauge, or a counter with its parts added up.
    pub fn number(&self, signal: Signal) -> Option<f64> {
        match self.get(signal)? {
            Value::Number(number) => Some(*number),
            Value::Parts(parts) => Some(parts.values().sum()),
            Value::Histogram(_) | Value::Facts(_) => None,
        }
    }

    /// A histogram.
    pub fn histogram(&self, signal: Signal) -> Option<&Histogram> {
        match self.get(signal)? {
            Value::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }
}

/// Whether the page says that its prefix cache is counted in blocks: vLLM up to v0.8.5 does, under the same name as the
/// tokens since v0.9.0.
fn counts_blocks(page: &Page<'_>) -> bool {
    let counters = page.families.iter().filter(|family| family.name.starts_with("vllm:gpu_prefix_cache_"));
    counters.filter_map(|family| family.help.as_deref()).any(|help| help.contains("blocks"))
}

fn value(page: &Page<'_>, signal: Signal, name: &Name) -> Option<Value> {
    let facts = signal.facts();
    match facts.kind {
        Kind::Time => page.histogram(name.sample, |sample| name.fits(sample)).map(Value::Histogram),
        Kind::Info => labels(page, name),
        Kind::Gauge | Kind::Counter => {
            let found = || page.named(name.sample).filter(|sample| name.fits(sample) && is_known(sample));
            match name.parts {
                Some(label) => parts(found(), label),
                None => facts.merge.of(found().map(|sample| sample.value)).map(Value::Number),
            }
        }
    }
}

/// llama.cpp says NaN, and vLLM -1, for what they do not know; all that is told of is above zero.
fn is_known(sample: &Sample<'_>) -> bool {
    sample.value.is_finite() && sample.value >= 0.0
}

fn parts<'p>(samples: impl Iterator<Item = &'p Sample<'p>>, label: &str) -> Option<Value> {
    let mut parts = BTreeMap::new();
    for sample in samples {
        *parts.entry(sample.label(label).unwrap_or_default().to_owned()).or_insert(0.0) += sample.value;
    }
    (!parts.is_empty()).then_some(Value::Parts(parts))
}

fn labels(page: &Page<'_>, name: &Name) -> Option<Value> {
    let owned = |(label, value): &(&str, std::borrow::Cow<'_, str>)| ((*label).to_owned(), value.to_string());
    let series: Vec<_> = page
        .named(name.sample)
        .filter(|sample| name.fits(sample))
        .map(|sample| sample.labels.iter().map(owned).collect())
        .collect();
    (!series.is_empty()).then_some(Value::Facts(series))
}

#[cfg(test)]
mod tests;
