//! What a page tells, whatever engine and version wrote it.

use std::collections::BTreeMap;

mod names;

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
        reading
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
