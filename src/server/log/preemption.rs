//! Lines about preemptions for lack of memory.

use crate::server::log::key_values::count;

/// The counter's names since v0.4.2 and since v0.5.1.
const COUNTERS: [&str; 2] = ["total_num_cumulative_preemption=", "total_cumulative_preemption_cnt="];

/// Parses V0's preemption warning: the number of preemptions since the start.
pub(super) fn parse_preemption(text: &str) -> Option<u64> {
    let after = COUNTERS.iter().find_map(|name| Some(&text[text.find(name)? + name.len()..]))?;
    count(after, "")
}
