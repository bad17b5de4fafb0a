//! Parses a complete `/metrics` page in [Prometheus' text
//! format](https://prometheus.io/docs/instrumenting/exposition_formats/).
//!
//! Any text is a page: servers write values that the format does not allow, and proxies cut pages off. Lines that
//! violate the format are counted and left out; the other lines count.

mod metrics_line;
mod page_origin;

use std::borrow::Cow;

use crate::model::server::ScrapedHistogram;
pub(crate) use crate::server::metrics_text::page_origin::{PageOrigin, describe};

/// A parsed `/metrics` page.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MetricsText<'a> {
    /// The families in page order. A family that is announced twice occurs twice.
    pub families: Vec<MetricFamily<'a>>,
    /// The number of lines that were neither samples nor comments.
    pub broken: usize,
}

/// Samples under one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MetricFamily<'a> {
    /// The name, without `_bucket`, `_sum` or `_count`.
    pub name: &'a str,
    /// The type that the page announces.
    pub kind: MetricType,
    /// The help text of the page.
    pub help: Option<Cow<'a, str>>,
    /// The samples in page order.
    pub samples: Vec<ScrapedSample<'a>>,
}

/// The metric types of the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum MetricType {
    /// A value that only grows, unless the server restarts.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of values at or below bounds.
    Histogram,
    /// Quantiles that the server computes.
    Summary,
    /// The page announces no type.
    #[default]
    Untyped,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScrapedSample<'a> {
    /// The sample's name, with suffixes such as `_bucket`.
    pub name: &'a str,
    /// The labels in page order, with escapes resolved.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value, which may be infinite or NaN.
    pub value: f64,
    /// Milliseconds since 1970, if the page states a timestamp.
    pub timestamp: Option<i64>,
}

impl ScrapedSample<'_> {
    /// Returns the value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_ref())
    }
}

impl<'a> MetricFamily<'a> {
    fn from_name(name: &'a str) -> Self {
        // Most families of a page that is not an engine's have one sample; a vector that grows begins with four.
        Self { name, samples: Vec::with_capacity(1), ..Self::default() }
    }

    /// Whether a sample of this name belongs to the family.
    fn has_sample(&self, sample: &str) -> bool {
        let Some(rest) = sample.strip_prefix(self.name) else { return false };
        match self.kind {
            MetricType::Histogram => matches!(rest, "" | "_bucket" | "_sum" | "_count"),
            MetricType::Summary => matches!(rest, "" | "_sum" | "_count"),
            // OpenMetrics announces a counter without the suffix of its samples.
            MetricType::Counter => matches!(rest, "" | "_total"),
            MetricType::Gauge | MetricType::Untyped => rest.is_empty(),
        }
    }
}

impl<'a> MetricsText<'a> {
    /// Parses a page.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            match metrics_line::parse_line(line) {
                metrics_line::MetricsLine::Nothing => {}
                metrics_line::MetricsLine::Help(name, help) => page.family_mut(name).help = Some(help),
                metrics_line::MetricsLine::Type(name, kind) => page.family_mut(name).kind = kind,
                metrics_line::MetricsLine::Sample(sample) => page.add_sample(sample),
                metrics_line::MetricsLine::Broken => page.broken += 1,
            }
        }
        page
    }

    /// Returns the last family if it has this name and no samples yet, else a new one.
    fn family_mut(&mut self, name: &'a str) -> &mut MetricFamily<'a> {
        let goes_on = |family: &MetricFamily<'_>| family.name == name && family.samples.is_empty();
        if !self.families.last().is_some_and(goes_on) {
            self.families.push(MetricFamily::from_name(name));
        }
        self.families.last_mut().expect("one was pushed where there was none")
    }

    fn add_sample(&mut self, sample: ScrapedSample<'a>) {
        if !self.families.last().is_some_and(|family| family.has_sample(sample.name)) {
            self.families.push(MetricFamily::from_name(sample.name));
        }
        self.families.last_mut().expect("one was pushed where there was none").samples.push(sample);
    }

    /// Returns all samples.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &ScrapedSample<'a>> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// Returns the samples with exactly this name.
    pub(crate) fn samples_named<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p ScrapedSample<'a>> {
        self.samples().filter(move |sample| sample.name == name)
    }

    /// Returns the histogram of this name, merged over all its series that are `wanted`; `None` if no complete one
    /// exists. Series whose bounds differ from the others contribute their common bounds.
    pub(crate) fn histogram(
        &self,
        name: &str,
        wanted: impl Fn(&ScrapedSample<'_>) -> bool,
    ) -> Option<ScrapedHistogram> {
        let mut buckets: Vec<(f64, f64, usize)> = Vec::new();
        let (mut sum, mut count, mut series) = (0.0, 0.0, 0);
        for sample in self.samples().filter(|sample| wanted(sample) && sample.value.is_finite()) {
            match sample.name.strip_prefix(name) {
                Some("_sum") => sum += sample.value,
                Some("_count") => (count, series) = (count + sample.value, series + 1),
                Some("_bucket") => {
                    let Some(bound) = sample.label("le").and_then(metrics_line::number) else { continue };
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
        (series > 0).then_some(ScrapedHistogram { buckets, sum, count })
    }
}

#[cfg(test)]
mod tests;
