//! What a client measured of a run, as far as a calibration uses it.

use serde::{Deserialize, Serialize};

use super::reported::ReportedLoad;
use crate::model::digest::Digest;
use crate::model::stated::{StatedRequest, StatedResult};

/// An answered request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MeasuredRequest {
    /// The time of sending, in seconds after the first request's.
    pub start: f64,
    pub prompt: u32,
    pub output: u32,
    /// TTFT in seconds.
    pub ttft: f64,
    /// The time from the first token to the last, in seconds.
    pub decode: f64,
}

impl MeasuredRequest {
    /// The time for each token after the first; `None` for a single token.
    pub(crate) fn tpot(&self) -> Option<f64> {
        (self.output > 1).then(|| self.decode / f64::from(self.output - 1))
    }

    pub(crate) fn e2e(&self) -> f64 {
        self.ttft + self.decode
    }
}

/// Requests that are not used, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LeftOut {
    /// Failed: they loaded the server for an unknown time.
    pub failed: u64,
    /// Without a prompt token, an output token, a time of sending or TTFT.
    pub incomplete: u64,
    /// With times that are negative or not finite, or with tokens in no time at all.
    pub impossible: u64,
}

impl LeftOut {
    pub(crate) fn total(&self) -> u64 {
        self.failed + self.incomplete + self.impossible
    }
}

/// A run with its requests, in the order of sending.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MeasuredRun {
    pub name: String,
    /// SHA-256 of the file, if it was read from one.
    pub sha256: Option<Digest>,
    pub requests: Vec<MeasuredRequest>,
    pub left_out: LeftOut,
    /// What the server reported of its load.
    pub reported: Option<ReportedLoad>,
}

/// The longest plausible time of a request. Longer ones are errors of a clock or a unit.
const MAX_SECONDS: f64 = 1e6;

impl MeasuredRun {
    /// Takes the requests of a result; `None` if it has only means.
    pub(crate) fn from_stated(name: String, stated: &StatedResult) -> Option<Self> {
        let mut run = Self { name, ..Self::default() };
        for request in stated.requests.as_ref()? {
            match measured(request) {
                Ok(measured) => run.requests.push(measured),
                Err(Unusable::Failed) => run.left_out.failed += 1,
                Err(Unusable::Incomplete) => run.left_out.incomplete += 1,
                Err(Unusable::Impossible) => run.left_out.impossible += 1,
            }
        }
        run.requests.sort_by(|a, b| a.start.total_cmp(&b.start));
        let first = run.requests.first().map_or(0.0, |request| request.start);
        run.requests.iter_mut().for_each(|request| request.start -= first);
        Some(run)
    }

    /// The number of requests in flight when each is sent, with itself.
    pub(super) fn in_flight(&self) -> Vec<usize> {
        let mut ends: Vec<f64> = self.requests.iter().map(|request| request.start + request.e2e()).collect();
        ends.sort_by(f64::total_cmp);
        let ended = |start: f64| ends.partition_point(|end| *end <= start);
        let numbered = self.requests.iter().enumerate();
        numbered.map(|(at, request)| (at + 1).saturating_sub(ended(request.start))).collect()
    }

    /// The time from the first request to the last answer, in seconds.
    pub(super) fn makespan(&self) -> f64 {
        self.requests.iter().map(|request| request.start + request.e2e()).fold(0.0, f64::max)
    }
}

enum Unusable {
    Failed,
    Incomplete,
    Impossible,
}

fn measured(request: &StatedRequest) -> Result<MeasuredRequest, Unusable> {
    if request.failed {
        return Err(Unusable::Failed);
    }
    let tokens = |count: Option<u64>| {
        count
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count > 0)
            .ok_or(Unusable::Incomplete)
    };
    let (prompt, output) = (tokens(request.input_tokens)?, tokens(request.output_tokens)?);
    let start = request.start_s.ok_or(Unusable::Incomplete)?;
    let ttft = request.ttft_ms.ok_or(Unusable::Incomplete)? / 1e3;
    // The gaps of a stream have the decode time even where events carry several tokens.
    let gaps = (!request.itl_ms.is_empty()).then(|| request.itl_ms.iter().sum::<f64>() / 1e3);
    let decode = match (output, request.e2e_ms, gaps) {
        (1, _, _) => 0.0,
        (_, Some(e2e), _) => e2e / 1e3 - ttft,
        (_, None, Some(gaps)) => gaps,
        (_, None, None) => request.tpot_ms.ok_or(Unusable::Incomplete)? / 1e3 * f64::from(output - 1),
    };
    let is_time = |seconds: f64, least: f64| seconds > least && seconds < MAX_SECONDS;
    let is_possible =
        is_time(ttft, 0.0) && start.abs() < MAX_SECONDS && (output == 1 || is_time(decode, 0.0));
    if !is_possible {
        return Err(Unusable::Impossible);
    }
    Ok(MeasuredRequest { start, prompt, output, ttft, decode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stated::Tool;

    fn request(start_s: f64) -> StatedRequest {
        StatedRequest {
            start_s: Some(start_s),
            ttft_ms: Some(50.0),
            e2e_ms: Some(250.0),
            input_tokens: Some(100),
            output_tokens: Some(11),
            ..StatedRequest::default()
        }
    }

    fn run(requests: Vec<StatedRequest>) -> MeasuredRun {
        let stated = StatedResult { requests: Some(requests), ..StatedResult::new(Tool::VllmBench) };
        MeasuredRun::from_stated("run.json".to_owned(), &stated).unwrap()
    }

    #[test]
    fn requests_are_in_the_order_of_sending_from_the_first() {
        let run = run(vec![request(7.0), request(5.0)]);
        assert_eq!(run.requests.iter().map(|request| request.start).collect::<Vec<_>>(), [0.0, 2.0]);
        assert!((run.requests[0].tpot().unwrap() - 0.02).abs() < 1e-12);
        assert!((run.makespan() - 2.25).abs() < 1e-12);
    }

    #[test]
    fn fewer_gaps_than_tokens_still_add_up_to_the_decode_time() {
        let itl_ms = vec![60.0, 40.0];
        let run = run(vec![StatedRequest { e2e_ms: None, itl_ms, ..request(0.0) }]);
        assert!((run.requests[0].decode - 0.1).abs() < 1e-12);
    }

    #[test]
    fn unusable_requests_are_left_out_and_counted() {
        let run = run(vec![
            StatedRequest { failed: true, ..request(0.0) },
            StatedRequest { output_tokens: Some(0), ..request(0.0) },
            StatedRequest { input_tokens: None, ..request(0.0) },
            StatedRequest { ttft_ms: Some(f64::NAN), ..request(0.0) },
            StatedRequest { e2e_ms: Some(40.0), ..request(0.0) },
            StatedRequest { start_s: Some(f64::INFINITY), ..request(0.0) },
            request(1.0),
        ]);
        assert_eq!(run.left_out, LeftOut { failed: 1, incomplete: 2, impossible: 3 });
        assert_eq!((run.requests.len(), run.left_out.total()), (1, 6));
    }
}
