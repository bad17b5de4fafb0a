//! TensorRT-LLM's iteration line, which it writes with `print_iter_log: true`.
//!
//! The format is that of `py_executor.py`, 2025 to August 2026: `key = value` pairs, in one version
//! `num_scheduled_requests` with a colon. Only rank 0 counts, since the others compute the same requests.

use super::stats::{EngineId, StatsLine};

/// Parses an iteration line. Returns `None` if it is incomplete, `Some(None)` if it is another rank's.
pub(super) fn parse_iteration(text: &str) -> Option<Option<StatsLine>> {
    let step_s = value(text, "host_step_time")?.strip_suffix("ms")?.parse::<f64>().ok()? / 1e3;
    let running = value(text, "num_scheduled_requests")?.parse().ok()?;
    let states = &text[text.find("states = {")?..];
    // Tokens of a step divided by its time. Idle steps wait for requests, and have neither.
    let rate = |key: &str| {
        let tokens: f64 = value(states, key)?.parse().ok()?;
        Some(tokens / step_s).filter(|rate| rate.is_finite() && *rate >= 0.0)
    };
    let (prompt, generation) = (rate("'num_ctx_tokens'"), rate("'num_generation_tokens'"));
    let kv = value(text, "kv_cache_util").and_then(|share| share.parse().ok());
    let kv = kv.filter(|share| (0.0..=1.0).contains(share));
    let stats = StatsLine { prompt, generation, running, kv, ..StatsLine::new(EngineId::Only) };
    let is_first = value(text, "rank")? == "0";
    states.contains('}').then_some(is_first.then_some(stats))
}

/// The value after a key, up to a comma or the closing brace.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let starts = text.match_indices(key).map(|(at, _)| at);
    let whole = |at: &usize| *at == 0 || text[..*at].ends_with([' ', '{', ',']);
    let mut rests = starts.filter(whole).map(|at| &text[at + key.len()..]);
    let rest = rests.find_map(|rest| rest.strip_prefix(" = ").or_else(|| rest.strip_prefix(": ")))?;
    let end = rest.find([',', '}'])?;
    Some(rest[..end].trim())
}
