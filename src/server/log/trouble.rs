//! Lines about lack of memory.

use super::fields::count;

/// The counter's names, from v0.4.2 and from v0.5.1 on.
const COUNTERS: [&str; 2] = ["total_num_cumulative_preemption=", "total_cumulative_preemption_cnt="];

/// Reads V0's warning of a preemption: how many there have been since the start.
pub(super) fn preempted(text: &str) -> Option<u64> {
    let after = COUNTERS.iter().find_map(|name| Some(&text[text.find(name)? + name.len()..]))?;
    count(after, "")
}
