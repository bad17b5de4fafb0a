//! The server's own times for a request, under the names and in the units of each server. `docs/answers.md` lists them.

use std::time::Duration;

use super::object::{LenientNumber, object};
use crate::model::record::ServerTimes;

object! {
    /// vLLM's `metrics`, next to the usage.
    pub(super) struct VllmMetrics<'a> {
        queue_ms: LenientNumber = "queue_time_ms",
        /// From the first schedule, without the queue, to the first token.
        prefill_ms: LenientNumber = "time_to_first_token_ms",
        decode_ms: LenientNumber = "generation_time_ms",
    }
}

impl VllmMetrics<'_> {
    pub(super) fn server_times(&self) -> ServerTimes {
        let [queue, prefill, decode] = [self.queue_ms, self.prefill_ms, self.decode_ms].map(millis);
        ServerTimes::new(queue, prefill, decode)
    }
}

object! {
    /// Dynamo's `nvext`, sent to a request with `"nvext": {"extra_fields": ["timing"]}`.
    pub(super) struct DynamoExtension<'a> {
        timing: DynamoTiming<'a> = "timing",
    }
}

object! {
    /// The names are those of Dynamo's request trace.
    struct DynamoTiming<'a> {
        queue_ms: LenientNumber = "prefill_wait_time_ms",
        prefill_ms: LenientNumber = "prefill_time_ms",
        ttft_ms: LenientNumber = "ttft_ms",
        total_ms: LenientNumber = "total_time_ms",
    }
}

impl DynamoExtension<'_> {
    pub(super) fn server_times(&self) -> ServerTimes {
        let DynamoTiming { queue_ms, prefill_ms, ttft_ms, total_ms, .. } = self.timing;
        let decode = difference(total_ms, ttft_ms);
        ServerTimes::new(millis(queue_ms), millis(prefill_ms), millis(decode))
    }
}

/// The duration of a number of seconds; `None` for a negative one or one without meaning.
pub(super) fn seconds(number: LenientNumber) -> Option<Duration> {
    Duration::try_from_secs_f64(number.0?).ok()
}

pub(super) fn millis(number: LenientNumber) -> Option<Duration> {
    seconds(LenientNumber(number.0.map(|number| number / 1e3)))
}

pub(super) fn nanos(number: LenientNumber) -> Option<Duration> {
    seconds(LenientNumber(number.0.map(|number| number / 1e9)))
}

pub(super) fn difference(later: LenientNumber, earlier: LenientNumber) -> LenientNumber {
    LenientNumber(later.0.zip(earlier.0).map(|(later, earlier)| later - earlier))
}

#[cfg(test)]
mod tests {
    use crate::client::protocol::parsed_event::{ParseFn, ParsedEvent};
    use crate::client::protocol::{chunk, llama_cpp, ollama, responses, sglang};

    /// The queue, prefill and decode times of an event, in milliseconds.
    fn times_ms(parse: ParseFn, json: &str) -> [Option<f64>; 3] {
        let ParsedEvent { server_times, .. } = parse(json.as_bytes()).unwrap();
        [server_times.queue, server_times.prefill, server_times.decode]
            .map(|time| time.get().map(|time| time.as_secs_f64() * 1e3))
    }

    #[test]
    fn the_times_of_each_server_are_read_in_their_units() {
        let vllm = r#""metrics":{"time_to_first_token_ms":31.5,"generation_time_ms":400.25,"queue_time_ms":2.0,"mean_itl_ms":20.5,"tokens_per_second":46.3}"#;
        let usage = r#""usage":{"prompt_tokens":4,"completion_tokens":20}"#;
        let cases: [(ParseFn, String, [Option<f64>; 3]); 6] = [
            (
                chunk::parse,
                format!(r#"{{"choices":[],{usage},{vllm}}}"#),
                [Some(2.0), Some(31.5), Some(400.25)],
            ),
            (
                responses::parse,
                format!(r#"{{"type":"response.completed","response":{{"status":"completed",{vllm}}}}}"#),
                [Some(2.0), Some(31.5), Some(400.25)],
            ),
            (
                chunk::parse,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"timings":{"prompt_n":24,"prompt_ms":30.0,"predicted_n":20,"predicted_ms":400}}"#.into(),
                [None, Some(30.0), Some(400.0)],
            ),
            (
                llama_cpp::parse,
                r#"{"content":"","stop":true,"timings":{"prompt_ms":30.5,"predicted_ms":400.0}}"#.into(),
                [None, Some(30.5), Some(400.0)],
            ),
            (
                chunk::parse,
                r#"{"choices":[],"nvext":{"timing":{"prefill_wait_time_ms":3,"prefill_time_ms":37.5,"ttft_ms":40.5,"total_time_ms":440.5}}}"#.into(),
                [Some(3.0), Some(37.5), Some(400.0)],
            ),
            (
                ollama::parse,
                r#"{"done":true,"done_reason":"stop","prompt_eval_duration":30000000,"eval_duration":400000000}"#.into(),
                [None, Some(30.0), Some(400.0)],
            ),
        ];
        for (parse, json, expected) in cases {
            assert_eq!(times_ms(parse, &json), expected, "{json}");
        }
    }

    #[test]
    fn sglang_reports_points_in_time() {
        let json = r#"{"text":"ok","meta_info":{"completion_tokens":2,"queue_time":0.25,"request_received_ts":1024.0,
            "prefill_finished_ts":1024.75,"decode_finished_ts":1026.0}}"#;
        assert_eq!(times_ms(sglang::parse, json), [Some(250.0), Some(500.0), Some(1250.0)]);
        let older = json.replace("prefill_finished_ts", "prefill_finished_time");
        assert_eq!(times_ms(sglang::parse, &older), times_ms(sglang::parse, json));
    }

    #[test]
    fn a_time_without_meaning_is_absent() {
        for value in ["null", "-1", "\"soon\"", "{}", "1e300"] {
            let json =
                format!(r#"{{"choices":[],"metrics":{{"queue_time_ms":{value},"generation_time_ms":5}}}}"#);
            assert_eq!(times_ms(chunk::parse, &json), [None, None, Some(5.0)], "{value}");
        }
        assert_eq!(times_ms(chunk::parse, r#"{"choices":[],"metrics":null,"nvext":null}"#), [None; 3]);
    }
}
