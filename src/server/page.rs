//! The `/metrics` page: Prometheus' text format, as far as it is read here.

/// The sum of all series of a name; `None` if there is no series of it.
pub(super) fn sum(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| value(line, name));
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

fn value(line: &str, name: &str) -> Option<u64> {
    let rest = line.strip_prefix(name)?;
    let after_labels = match rest.strip_prefix('{') {
        // Label values are quoted, and may hold a brace; the last one closes.
        Some(labels) => &labels[labels.rfind('}')? + 1..],
        None => rest.strip_prefix(' ')?,
    };
    let value: f64 = after_labels.split_whitespace().next()?.parse().ok()?;
    (value >= 0.0).then_some(value as u64)
}
