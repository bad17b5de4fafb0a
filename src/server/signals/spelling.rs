//! Spellings of a metric name: exporters add prefixes, and change separators and suffixes.
//!
//! `vllm:num_requests_running` is `ray_vllm:num_requests_running` or `ray_vllm_num_requests_running` with Ray Serve.
//! Behind an OpenTelemetry collector it is `vllm_num_requests_running`; there a gauge may end in `_ratio`, a counter
//! gains or loses `_total`, and the collector's namespace precedes the name.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::names::SIGNAL_NAMES;
use crate::server::metrics_text::MetricsText;

/// Suffixes that exporters add or remove. Units of another size, such as `_milliseconds`, are not among them.
const ENDINGS: [&str; 2] = ["_total", "_ratio"];

/// The suffixes of a histogram's samples.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// TensorRT-LLM's prefix, which its releases before 1.1 lack.
const UNPREFIXED: &str = "trtllm_";

/// The label of every TensorRT-LLM metric, which distinguishes its unprefixed names from another program's.
const UNPREFIXED_LABEL: &str = "model_name";

/// The keys of the table of names.
static KNOWN_KEYS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    SIGNAL_NAMES.iter().flat_map(|(_, names)| *names).map(|name| key(name.sample).into_owned()).collect()
});

/// The names on a page that are spellings of names in the table.
#[derive(Debug, Default)]
pub(super) struct NameSpellings<'p>(HashMap<&'static str, Vec<&'p str>>);

impl<'p> NameSpellings<'p> {
    /// Finds the spellings on a page.
    pub(super) fn new(page: &'p MetricsText<'_>) -> Self {
        let mut found = Self::default();
        let mut seen = HashSet::new();
        for sample in page.samples() {
            if !seen.insert(sample.name) {
                continue;
            }
            let is_labelled = sample.label(UNPREFIXED_LABEL).is_some();
            found.add(sample.name, is_labelled);
            let base = OF_HISTOGRAMS.iter().find_map(|ending| sample.name.strip_suffix(ending));
            if let Some(base) = base
                && seen.insert(base)
            {
                found.add(base, is_labelled);
            }
        }
        found
    }

    fn add(&mut self, spelled: &'p str, is_labelled: bool) {
        if let Some(known) = known(spelled, is_labelled) {
            self.0.entry(known).or_default().push(spelled);
        }
    }

    /// Returns the page's spellings of a name in the table, the name itself first.
    pub(super) fn spellings_of(&self, name: &str) -> Vec<&'p str> {
        let mut spelled = self.0.get(key(name).as_ref()).cloned().unwrap_or_default();
        spelled.sort_by_key(|spelled| *spelled != name);
        spelled
    }
}

/// The key in the table that a name on a page spells: the whole name, or the part after a prefix.
fn known(spelled: &str, is_labelled: bool) -> Option<&'static str> {
    let key = key(spelled);
    let mut starts = std::iter::once(0).chain(memchr::memchr_iter(b'_', key.as_bytes()).map(|at| at + 1));
    let after_prefix = starts.find_map(|start| KNOWN_KEYS.get(&key[start..]));
    let unprefixed = || KNOWN_KEYS.get(&format!("{UNPREFIXED}{key}")).filter(|_| is_labelled);
    after_prefix.or_else(unprefixed).map(String::as_str)
}

/// Normalizes a name: removes the differences that exporters introduce.
fn key(name: &str) -> Cow<'_, str> {
    let stem = ENDINGS.iter().fold(name, |name, ending| name.strip_suffix(ending).unwrap_or(name));
    if stem.contains([':', '.']) { Cow::Owned(stem.replace([':', '.'], "_")) } else { Cow::Borrowed(stem) }
}
