//! Which LoRA adapters have requests in the engine.

use std::collections::BTreeMap;

/// Requests by adapter, waiting and running. A preempted request still counts as running.
#[derive(Debug, Default)]
pub(in crate::sim) struct Adapters {
    waiting: BTreeMap<String, usize>,
    running: BTreeMap<String, usize>,
}

impl Adapters {
    /// A request waits for its first step.
    pub(in crate::sim) fn wait(&mut self, adapter: &str) {
        *self.waiting.entry(adapter.to_owned()).or_default() += 1;
    }

    /// A request that waited runs.
    pub(in crate::sim) fn run(&mut self, adapter: &str) {
        take(&mut self.waiting, adapter);
        *self.running.entry(adapter.to_owned()).or_default() += 1;
    }

    /// A request is gone; it ran if its `scheduled` says so.
    pub(in crate::sim) fn leave(&mut self, adapter: &str, scheduled: bool) {
        take(if scheduled { &mut self.running } else { &mut self.waiting }, adapter);
    }

    /// The names with running and with waiting requests, joined by commas as in vLLM's labels.
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
        let mut adapters = Adapters::default();
        for adapter in ["b", "a", "a"] {
            adapters.wait(adapter);
        }
        adapters.run("a");
        assert_eq!(adapters.labels(), ["a", "a,b"]);
        adapters.run("a");
        adapters.leave("b", false);
        adapters.leave("a", true);
        assert_eq!(adapters.labels(), ["a", ""]);
        adapters.leave("a", true);
        assert_eq!(adapters.labels(), ["", ""]);
    }
}
