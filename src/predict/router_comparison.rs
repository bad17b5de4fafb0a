//! Routers under the same arrivals and deviations: paired differences.

use std::collections::BTreeMap;

use super::metric_values::MetricValues;
use super::router::RouterPolicy;
use super::what_if::{PredictionError, WhatIf};
use crate::model::prediction::{PairedDifference, PredictedValue, RouterComparison, RouterDifferences};

/// The metrics that routers are compared by.
const COMPARED: [&str; 7] =
    ["ttft.mean", "ttft.p50", "ttft.p95", "ttft.p99", "tpot.mean", "e2el.mean", "output_throughput"];

/// Compares each router with the first.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(crate) fn compare_routers(
    question: &WhatIf<'_>,
    policies: &[RouterPolicy],
) -> Result<Option<RouterComparison>, PredictionError> {
    let Some((base, others)) = policies.split_first() else { return Ok(None) };
    let values = |policy: RouterPolicy| {
        let mut question = question.clone();
        question.fleet.router = policy;
        question.all_values()
    };
    let (base_central, base_members) = values(*base)?;
    let mut differences = Vec::with_capacity(others.len());
    for other in others {
        let (central, members) = values(*other)?;
        let pairs = members.iter().zip(&base_members);
        let pairs: Vec<(&MetricValues, &MetricValues)> = pairs.collect();
        differences.push(RouterDifferences {
            router: other.to_string(),
            differences: paired((&central, &base_central), &pairs),
        });
    }
    Ok(Some(RouterComparison { base: base.to_string(), others: differences }))
}

/// The difference of each metric, the first of a pair minus the second.
pub(super) fn paired(
    (central, base): (&MetricValues, &MetricValues),
    members: &[(&MetricValues, &MetricValues)],
) -> BTreeMap<String, PairedDifference> {
    let difference = |name: &&str| {
        let minus = |one: &MetricValues, other: &MetricValues| Some(one.get(*name)? - other.get(*name)?);
        let within: Vec<f64> = members.iter().filter_map(|(one, other)| minus(one, other)).collect();
        let difference = PredictedValue::from_members(minus(central, base)?, &within)?;
        Some(((*name).to_owned(), PairedDifference { base: *base.get(*name)?, difference }))
    };
    COMPARED.iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_in_both_alike_is_not_in_the_difference() {
        let values = |ttft: f64| -> MetricValues { [("ttft.mean".to_owned(), ttft)].into() };
        let base: Vec<MetricValues> = (0..20).map(|at| values(100.0 + 10.0 * f64::from(at))).collect();
        let other: Vec<MetricValues> = (0..20).map(|at| values(95.0 + 10.0 * f64::from(at))).collect();
        let pairs: Vec<_> = other.iter().zip(&base).collect();
        let found = paired((&values(195.0), &values(200.0)), &pairs)["ttft.mean"];
        assert!(found.is_different() && found.difference.low == -5.0 && found.base == 200.0, "{found:?}");
        let unpaired: Vec<_> = other.iter().zip(base.iter().rev()).collect();
        assert!(!paired((&values(195.0), &values(200.0)), &unpaired)["ttft.mean"].is_different());
    }
}
