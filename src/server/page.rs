//! A `/metrics` page in [Prometheus' text format](https://prometheus.io/docs/instrumenting/exposition_formats/), read whole.
//!
//! Any text is a page: servers write values that the format does not know, proxies cut pages off. What is no line of the
//! format is left out and counted, and the rest stands.

use std::borrow::Cow;

mod line;

use crate::core::server::Histogram;

/// What a server says of itself at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page<'a> {
    /// In their order. A family that is announced twice is there twice.
    pub families: Vec<Family<'a>>,
    /// How many lines were neither samples nor comments.
    pub broken: usize,
}

/// Samples under one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family<'a> {
    /// The name, without `_bucket`, `_sum` or `_count`.
    pub name: &'a str,
    /// What the page says it is.
    pub kind: Kind,
    /// What the page says of it.
    pub help: Option<Cow<'a, str>>,
    /// In their order.
    pub samples: Vec<Sample<'a>>,
}

/// The types of the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, unless the server starts again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values at or below bounds.
    Histogram,
    /// Quantiles, worked out by the server.
    Summary,
    /// The page does not say.
    #[default]
    Untyped,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// Its name, `_bucket` and all.
    pub name: &'a str,
    /// In their order, escapes resolved.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// May be infinite or NaN.
    pub value: f64,
    /// Milliseconds since 1970, from a page that says when.
    pub timestamp: Option<i64>,
}

impl Sample<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_ref())
    }
}

impl<'a> Family<'a> {
    fn named(name: &'a str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Whether a sample of this name is one of the family's.
    fn owns(&self, sample: &str) -> bool {
        let Some(rest) = sample.strip_prefix(self.name) else { return false };
        match self.kind {
            Kind::Histogram => matches!(rest, "" | "_bucket" | "_sum" | "_count"),
            Kind::Summary => matches!(rest, "" | "_sum" | "_count"),
            // OpenMetrics announces a counter without the suffix of its samples.
            Kind::Counter => matches!(rest, "" | "_total"),
            Kind::Gauge | Kind::Untyped => rest.is_empty(),
        }
    }
}

impl<'a> Page<'a> {
    /// Reads a page.
    pub fn parse(text: &'a str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            match line::read(line) {
                line::Line::Nothing => {}
                line::Line::Help(name, help) => page.announced(name).help = Some(help),
                line::Line::Type(name, kind) => page.announced(name).kind = kind,
                line::Line::Sample(sample) => page.take(sample),
                line::Line::Broken => page.broken += 1,
            }
        }
        page
    }

    /// The last family if it has this name and no samples yet, else a new one.
    fn announced(&mut self, name: &'a str) -> &mut Family<'a> {
        let goes_on = |family: &Family<'_>| family.name == name && family.samples.is_empty();
        if !self.families.last().is_some_and(goes_on) {
            self.families.push(Family::named(name));
        }
        self.families.last_mut().expect("one was pushed where there was none")
    }

    fn take(&mut self, sample: Sample<'a>) {
        if !self.families.last().is_some_and(|family| family.owns(sample.name)) {
            self.families.push(Family::named(sample.name));
        }
        self.families.last_mut().expect("one was pushed where there was none").samples.push(sample);
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample<'a>> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// The samples of exactly this name.
    pub fn named<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Sample<'a>> {
        self.samples().filter(move |sample| sample.name == name)
    }

    /// The histogram of this name, all its series that are `wanted` together; `None` if there is none that is whole.
    ///
    /// Series with other bounds than the rest keep what they have in common.
    pub fn histogram(&self, name: &str, wanted: impl Fn(&Sample<'_>) -> bool) -> Option<Histogram> {
        let mut buckets: Vec<(f64, f64, usize)> = Vec::new();
        let (mut sum, mut count, mut series) = (0.0, 0.0, 0);
        for sample in self.samples().filter(|sample| wanted(sample) && sample.value.is_finite()) {
            match sample.name.strip_prefix(name) {
                Some("_sum") => sum += sample.value,
                Some("_count") => (count, series) = (count + sample.value, series + 1),
                Some("_bucket") => {
                    let Some(bound) = sample.label("le").and_then(line::number) else { continue };
                    match buckets.iter_mut().find(|bucket| bucket.0 == bound) {
                        Some(bucket) => (bucket.1, bucket.2) = (bucket.1 + sample.value, bucket.2 + 1),
                        None => buckets.push((bound, sample.value, 1)),
                    }
                }
                _ => {}
            }
        }
        buckets.retain(|bucket| bucket.2 == series && bucket.0.is_finite());
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let buckets = buckets.into_iter().map(|(bound, below, _)| (bound, below)).collect();
        (series > 0).then_some(Histogram { buckets, sum, count })
    }
}

#[cfg(test)]
mod tests;
