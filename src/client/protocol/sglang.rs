//! SGLang's own `/generate`: every event repeats the text so far and the count of its tokens. With
//! `--incremental-streaming-output`, an event carries only new text; the request timer detects this.

use serde_json::value::RawValue;

use super::error;
use super::finish::FinishSignal;
use super::object::{self, LenientCount, LenientNumber, object};
use super::server_times::{difference, seconds};
use super::text::Text;
use crate::client::protocol::parsed_event::{EventOutput, ParsedEvent, TokenUsage};
use crate::model::record::ServerTimes;

/// Parses the data of one event, or a document.
pub(crate) fn parse(data: &[u8]) -> serde_json::Result<ParsedEvent<'_>> {
    let SglangEvent { text, meta_info, error, .. } = object::read(data)?;
    let server_times = meta_info.server_times();
    let SglangMeta {
        prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, finish_reason, ..
    } = meta_info;
    let usage = TokenUsage::new(prompt_tokens.0, completion_tokens.0);
    Ok(ParsedEvent {
        output: EventOutput::SoFar { text, tokens: completion_tokens.0 },
        usage: usage.map(|usage| usage.with_cached(cached_tokens.0).with_reasoning(reasoning_tokens.0)),
        server_times,
        ending: FinishSignal::parse(finish_reason, None),
        error: error::error_message(error),
        ..ParsedEvent::default()
    })
}

object! {
    struct SglangEvent<'a> {
        text: Option<Text<'a>> = "text",
        meta_info: SglangMeta<'a> = "meta_info",
        error: Option<&'a RawValue> = "error",
    }
}

object! {
    struct SglangMeta<'a> {
        prompt_tokens: LenientCount = "prompt_tokens",
        completion_tokens: LenientCount = "completion_tokens",
        cached_tokens: LenientCount = "cached_tokens",
        reasoning_tokens: LenientCount = "reasoning_tokens",
        finish_reason: Option<Text<'a>> = "finish_reason",
        /// In seconds. The fields that end in `_ts` are seconds since 1970.
        queue_time: LenientNumber = "queue_time",
        request_received_ts: LenientNumber = "request_received_ts",
        prefill_finished_ts: LenientNumber = "prefill_finished_ts",
        /// The older name of `prefill_finished_ts`.
        prefill_finished_time: LenientNumber = "prefill_finished_time",
        decode_finished_ts: LenientNumber = "decode_finished_ts",
    }
}

impl SglangMeta<'_> {
    fn server_times(&self) -> ServerTimes {
        let prefilled = LenientNumber(self.prefill_finished_ts.0.or(self.prefill_finished_time.0));
        let prefill = difference(difference(prefilled, self.request_received_ts), self.queue_time);
        let decode = difference(self.decode_finished_ts, prefilled);
        ServerTimes::new(seconds(self.queue_time), seconds(prefill), seconds(decode))
    }
}
