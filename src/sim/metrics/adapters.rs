//! The LoRA adapters that have requests in the engine.

use std::collections::BTreeMap;

/// Waiting and running requests by adapter. A preempted request still counts as running.
#[derive(Debug, Default)]
pub(in crate::sim) struct AdapterLoad {
    waiting: BTreeMap<String, usize>,
    running: BTreeMap<String, usize>,
}

impl AdapterLoad {
    /// Records a request that waits for its first step.
    pub(in crate::sim) fn record_waiting(&mut self, adapter: &str) {
        *self.waiting.entry(adapter.to_owned()).or_default() += 1;
    }

    /// Records that a waiting request runs.
    pub(in crate::sim) fn record_running(&mut self, adapter: &str) {
        take(&mut self.waiting, adapter);
        *self.running.entry(adapter.to_owned()).or_default() += 1;
    }

    /// Records that a request is gone; `scheduled` is whether it ran.
    pub(in crate::sim) fn record_left(&mut self, adapter: &str, scheduled: bool) {
        take(if scheduled { &mut self.running } else { &mut self.waiting }, adapter);
    }

    /// Returns the names with running and with waiting requests, joined by commas as in vLLM's labels.
    pub(super) fn labels(&self) -> [String; 2] {
        [&self.running, &self.waiting]
            .map(|adapters| adapters.keys().map(String::as_str).collect::<Vec<_>>().join(","))
    }
}

fn take(adapters: &mut BTreeMap<String, usize>, adapter: &str) {
    if let Some(count) = adapters.get_mut(adapter) {
        *count -= 1;
        if *count == 0 {
            adapters.remove(adapter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_named_as_long_as_it_has_requests() {
        let mut adapters = AdapterLoad::default();
        for adapter in ["b", "a", "a"] {
            adapters.record_waiting(adapter);
        }
        adapters.record_running("a");
        assert_eq!(adapters.labels(), ["a", "a,b"]);
        adapters.record_running("a");
        adapters.record_left("b", false);
        adapters.record_left("a", true);
        assert_eq!(adapters.labels(), ["a", ""]);
        adapters.record_left("a", true);
        assert_eq!(adapters.labels(), ["", ""]);
    }
}
