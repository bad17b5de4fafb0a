//! What counts as success, output and usage, case by case: streams from public reports, and variations of them.

use super::*;
use crate::client::protocol::Protocol;
use crate::model::record::FailureClass::{
    Aborted, BrokenStream, EmptyStream, ErrorEvent, OverLimit, ServerOverloaded, UnknownFinishReason,
};
use crate::model::run_spec::Backend;

mod endings;
mod repeats;

/// An event of a chat stream with this delta, and with further fields of its choice.
fn delta(delta: &str, more: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}{more}}}]}}\n\n")
}

fn say(text: &str) -> String {
    delta(&format!("{{\"content\":\"{text}\"}}"), ",\"finish_reason\":null")
}

fn finish(reason: &str) -> String {
    delta("{}", &format!(",\"finish_reason\":{reason}"))
}

fn usage(usage: &str) -> String {
    format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n")
}

fn data(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// A stream of two words, then `middle`, then a usual end.
fn around(middle: &str) -> String {
    say("one") + &say(" two") + middle + &finish("\"stop\"") + DONE
}

fn story(stream: &str) -> RequestSummary {
    follow([stream.as_bytes()], ALL_KEPT)
}

/// The summary of a stream whose events arrive 10 ms apart; the first arrives at 10 ms.
fn timed(events: &[String]) -> RequestSummary {
    let mut timer = timer(ALL_KEPT).with_history_text();
    timer.mark_sent(ms(0));
    (1..).zip(events).for_each(|(at, event)| timer.on_bytes(ms(10 * at), event.as_bytes()));
    summary_of(timer, Ok(()))
}

fn class(stream: &str) -> Option<FailureClass> {
    outcome(stream).err().map(|failure| failure.class)
}

/// K9. LMCache PR #3220 (a parser swallows the text), vLLM #14795, `return_token_ids`; and answers with neither text
/// nor tokens.
#[test]
fn tokens_without_text_are_an_answer_without_a_first_token() {
    let role = delta("{\"role\":\"assistant\",\"content\":\"\"}", "");
    let counted = usage(r#"{"prompt_tokens":70,"completion_tokens":8}"#);
    let ids = |ids: &str| delta("{\"content\":\"\"}", &format!(",\"token_ids\":{ids}"));
    let cases = [
        [role.clone(), finish("\"length\""), counted.clone(), DONE.to_owned()],
        [
            role.clone(),
            finish("\"length\"").replace("}]}", "}],\"usage\":{\"completion_tokens\":8}}"),
            String::new(),
            DONE.to_owned(),
        ],
        [ids("[1,2,3]"), ids("[4,5,6,7,8]") + &finish("\"stop\""), String::new(), DONE.to_owned()],
        [ids("[1,2,3]"), finish("\"stop\""), counted, DONE.to_owned()],
    ];
    for events in cases {
        let story = timed(&events);
        assert!(story.outcome.is_ok(), "{events:?}: {:?}", story.outcome);
        assert_eq!(story.usage.unwrap().completion_tokens, Some(8), "{events:?}");
        assert_eq!((story.times.first_token(), story.times.last_token()), (None, Some(ms(20))), "{events:?}");
        assert_eq!((story.events.count, story.text.as_deref()), (0, Some("")));
    }
    let nothing = role + &finish("\"stop\"") + &usage(r#"{"prompt_tokens":70,"completion_tokens":0}"#) + DONE;
    assert_eq!(class(&nothing), Some(EmptyStream));
    let whole = r#"{"choices":[{"message":{"content":""},"finish_reason":"length"}],"usage":{"completion_tokens":8}}"#;
    let mut timer = timer(ALL_KEPT);
    timer.set_response_format(
        Protocol::for_backend(Backend::OpenaiChat).response_format(true),
        &Arc::default(),
    );
    timer.on_bytes(ms(1), whole.as_bytes());
    let story = summary_of(timer, Ok(()));
    assert_eq!((story.outcome, story.times.last_token()), (Ok(FinishReason::Length), Some(ms(1))));
}

/// K9 and K11. OpenAI's reference (refusal, audio, custom tools), and text outside `content`.
#[test]
fn whatever_was_said_is_output() {
    let cases = [
        (r#"{"refusal":"I cannot"}"#, "I cannot", "I cannot"),
        (r#"{"audio":{"id":"a","transcript":"Hello"}}"#, "Hello", "Hello"),
        (r#"{"audio":{"id":"a","data":"UklGRg=="}}"#, "", ""),
        (
            r#"{"tool_calls":[{"index":0,"type":"custom","custom":{"name":"sql","input":"SELECT 1"}}]}"#,
            "sqlSELECT 1",
            "",
        ),
        (r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":{"a":1}}}]}"#, "f{\"a\":1}", ""),
        (r#"{"function_call":{"name":"f","arguments":"{}"}}"#, "f{}", ""),
        (r#"{"content":null,"refusal":"No"}"#, "No", "No"),
    ];
    for (piece, text, said) in cases {
        let story = timed(&[
            delta("{\"role\":\"assistant\",\"content\":\"\"}", ""),
            delta(piece, ""),
            finish("\"stop\""),
            DONE.into(),
        ]);
        assert_eq!(story.outcome, Ok(FinishReason::Stop), "{piece}");
        assert_eq!((story.times.first_token(), story.events.count), (Some(ms(20)), 1), "{piece}");
        assert_eq!(
            (story.text.as_deref(), story.visible_text.as_deref()),
            (Some(text), Some(said)),
            "{piece}"
        );
    }
}

/// K10. mlx-vlm in pi #2326, Moonshot in pi #2017, Groq's `x_groq`, llama.cpp's `timings`, Bedrock through gateways;
/// cached tokens of DeepSeek, Moonshot and Anthropic; numbers as the JSON of other languages writes them (break.md
/// F18).
#[test]
fn usage_is_found_wherever_servers_put_it_and_never_costs_the_answer() {
    let counts = |prompt, output, cached| {
        let told = |count: u32| Some(count).filter(|count| *count > 0);
        Some(TokenUsage {
            prompt_tokens: told(prompt),
            completion_tokens: told(output),
            cached_tokens: cached,
            reasoning_tokens: None,
        })
    };
    let end = |more: &str| format!("data: {{\"choices\":[]{more}}}\n\n");
    let choice = |more: &str| delta("{}", &format!(",\"finish_reason\":\"stop\"{more}"));
    let cases = [
        (usage(r#"{"input_tokens":11,"output_tokens":5,"prompt_tps":21.5}"#), counts(11, 5, None)),
        (choice(r#","usage":{"prompt_tokens":19,"completion_tokens":13}"#), counts(19, 13, None)),
        (
            data(
                r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":1,"completion_tokens":2}}],"usage":{"prompt_tokens":19,"completion_tokens":13}}"#,
            ),
            counts(19, 13, None),
        ),
        (
            data(r#"{"choices":[{"delta":{"usage":{"prompt_tokens":4,"completion_tokens":3}}}]}"#),
            counts(4, 3, None),
        ),
        (end(r#","x_groq":{"usage":{"prompt_tokens":10,"completion_tokens":5}}"#), counts(10, 5, None)),
        (end(r#","timings":{"prompt_n":5,"cache_n":2,"predicted_n":3}"#), counts(7, 3, Some(2))),
        (
            usage(r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":6,"output_tokens":7}"#),
            counts(6, 7, None),
        ),
        (
            usage(r#"{"prompt_tokens":8,"completion_tokens":1,"prompt_cache_hit_tokens":6}"#),
            counts(8, 1, Some(6)),
        ),
        (usage(r#"{"prompt_tokens":8,"completion_tokens":1,"cached_tokens":5}"#), counts(8, 1, Some(5))),
        (usage(r#"{"input_tokens":8,"output_tokens":1,"cache_read_input_tokens":4}"#), counts(8, 1, Some(4))),
        (
            usage(r#"{"input_tokens":8,"output_tokens":1,"input_tokens_details":{"cached_tokens":3}}"#),
            counts(8, 1, Some(3)),
        ),
        (usage(r#"{"prompt_tokens":19.0,"completion_tokens":"13"}"#), counts(19, 13, None)),
        (usage(r#"{"prompt_tokens":-1,"completion_tokens":13}"#), counts(0, 13, None)),
        (
            usage(r#"{"prompt_tokens":19,"completion_tokens":13,"prompt_tokens_details":[]}"#),
            counts(19, 13, None),
        ),
        (
            usage(r#"{"prompt_tokens":19,"completion_tokens":13,"completion_tokens_details":"none"}"#),
            counts(19, 13, None),
        ),
        (usage("[]"), None),
        (usage("\"none\""), None),
        (usage("7"), None),
    ];
    for (event, expected) in cases {
        let story = story(&around(&event));
        assert_eq!(
            (story.outcome, story.text.as_deref()),
            (Ok(FinishReason::Stop), Some("one two")),
            "{event}"
        );
        assert_eq!(story.usage, expected, "{event}");
    }
}

/// K10. Extra fields of every kind and type in a complete answer.
#[test]
fn a_side_field_never_costs_an_answer() {
    let sides = [
        r#""choices":[{"index":"0","delta":{"content":" x","tool_calls":{}},"logprobs":[]}]"#,
        r#""choices":[{"delta":{"content":" x","function_call":"","audio":[],"refusal":null}}]"#,
        r#""choices":[{"delta":{"content":" x"},"message":"","text":null,"token_ids":null}]"#,
        r#""choices":[{"delta":{"content":" x"}}],"x_groq":"","timings":[],"base_resp":null,"object":5,"type":{}"#,
        r#""choices":[null,{"delta":{"content":" x"}}]"#,
        r#""id":"a","choices":[{"delta":{"content":" x"}}],"id":"b""#,
    ];
    for side in sides {
        let story = story(&around(&data(&format!("{{{side}}}"))));
        assert_eq!(
            (story.outcome, story.text.as_deref()),
            (Ok(FinishReason::Stop), Some("one two x")),
            "{side}"
        );
    }
}

/// K11. Mistral in symfony/ai #2422 and llm-mistral PR #39; Databricks' reasoning parts; OpenAI's content parts.
#[test]
fn text_in_parts_is_text() {
    let events = [
        delta("{\"role\":\"assistant\",\"content\":\"\"}", ""),
        delta(r#"{"content":[{"type":"text","text":""}]}"#, ""),
        delta(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Let me"}]}]}"#, ""),
        delta(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":" see."}]}]}"#, ""),
        say("4"),
        say("2"),
        finish("\"stop\"") + &usage(r#"{"prompt_tokens":12,"completion_tokens":6}"#) + DONE,
    ];
    let story = timed(&events);
    assert_eq!((story.outcome, story.events.count), (Ok(FinishReason::Stop), 4));
    assert_eq!((story.text.as_deref(), story.visible_text.as_deref()), (Some("Let me see.42"), Some("42")));
    assert_eq!(story.times.first_token(), Some(ms(30)), "an empty part is no output");
    assert!(story.first_event.reasoning_is_streamed);

    // Each case has the value of `content`, the whole text, the text that is visible to the user, and the number of
    // events.
    let cases = [
        (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "ab", "ab"),
        (r#"{"type":"text","text":"a"}"#, "a", "a"),
        (r#"["a","b"]"#, "ab", "ab"),
        (r#"[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]"#, "hma", "a"),
        (
            r#"[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"type":"text","text":"a"}]"#,
            "hma",
            "a",
        ),
        (r#"[{"type":"output_text","text":"a"}]"#, "a", "a"),
        (r#"[{"type":"refusal","refusal":"no"}]"#, "no", "no"),
        ("false", "", ""),
        ("0", "", ""),
        ("[]", "", ""),
        (r#"[{"type":"text","text":""}]"#, "", ""),
        (r#"[{"type":"text"}]"#, "", ""),
    ];
    for (content, text, said) in cases {
        let story = timed(&[delta(&format!("{{\"content\":{content}}}"), ""), say("."), finish("\"stop\"")]);
        let expected = (format!("{text}."), format!("{said}."));
        assert_eq!((story.text.unwrap(), story.visible_text.unwrap()), expected, "{content}");
        assert_eq!(story.events.count, 1 + u32::from(!text.is_empty()), "{content}");
    }
    let empty = delta(r#"{"content":[{"type":"text","text":""}]}"#, "")
        + &finish("\"stop\"")
        + &usage(r#"{"completion_tokens":0}"#);
    assert_eq!(class(&empty), Some(EmptyStream));
}

/// K12. OpenRouter and MiniMax (MiniMax-M2 #95, TeXRA PR #2947), LiteLLM's `thinking_blocks`, vLLM's two names, and
/// those of gateways. Each text counts once, even if another name repeats it.
#[test]
fn reasoning_is_output_under_each_of_its_names_and_counts_once() {
    let details = r#""reasoning_details":[{"type":"reasoning.text","id":"r-1","index":0,"text":"hm"}]"#;
    let cases = [
        format!("{{{details}}}"),
        r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"hm"}]}"#.to_owned(),
        r#"{"thinking":"hm"}"#.to_owned(),
        r#"{"reasoning_text":"hm"}"#.to_owned(),
        r#"{"reasoning":"hm"}"#.to_owned(),
        r#"{"reasoning_content":"hm"}"#.to_owned(),
        r#"{"reasoning":{"content":"hm"}}"#.to_owned(),
        r#"{"reasoning_content":[{"type":"text","text":"hm"}]}"#.to_owned(),
        r#"{"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"x"}]}"#.to_owned(),
        format!("{{\"reasoning\":\"hm\",{details},\"reasoning_content\":\"hm\"}}"),
        r#"{"reasoning":"","reasoning_content":"hm"}"#.to_owned(),
    ];
    for reasoning in cases {
        let events = [
            delta("{\"role\":\"assistant\"}", ""),
            delta(&reasoning, ""),
            delta(&reasoning, ""),
            say("Fine."),
            finish("\"stop\""),
        ];
        let story = timed(&events);
        assert_eq!((story.times.first_token(), story.events.count), (Some(ms(20)), 3), "{reasoning}");
        assert_eq!(
            (story.text.as_deref(), story.visible_text.as_deref()),
            (Some("hmhmFine."), Some("Fine.")),
            "{reasoning}"
        );
        assert!(story.first_event.reasoning_is_streamed, "{reasoning}");
    }
    let nothing = [
        r#"{"reasoning_content":[{"text":""}]}"#,
        r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}"#,
        r#"{"reasoning":null,"reasoning_details":[]}"#,
    ];
    for reasoning in nothing {
        let story = timed(&[delta(reasoning, ""), say("Fine."), finish("\"stop\"")]);
        assert_eq!((story.times.first_token(), story.events.count), (Some(ms(20)), 1), "{reasoning}");
    }
}

/// K14. llm-gateway #2053 (comments as data), Anthropic's pings through gateways, heartbeats of one-api and nginx
/// modules.
#[test]
fn what_is_no_part_of_an_answer_is_left_out_and_counted() {
    let beats = [
        data(": OPENROUTER PROCESSING"),
        data(": keep-alive"),
        data(":"),
        "event: ping\ndata: ping\n\n".to_owned(),
        "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned(),
        data(r#"{"type":"ping"}"#),
        data("ping"),
        data("\"ping\""),
        data("keep-alive"),
        data("{}"),
        data("[]"),
        data("null"),
        "event: heartbeat\ndata: 1764441234\n\n".to_owned(),
    ];
    for beat in beats {
        let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
        let mut timer = RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone());
        let stream = beat.repeat(2) + &around(&beat);
        timer.on_bytes(ms(5), beat.as_bytes());
        timer.on_bytes(ms(9), stream.as_bytes());
        let story = summary_of(timer, Ok(()));
        assert_eq!(
            (story.outcome, story.text.as_deref()),
            (Ok(FinishReason::Stop), Some("one two")),
            "{beat}"
        );
        assert_eq!((story.times.first_token(), story.events.count), (Some(ms(9)), 2), "{beat}");
        assert_eq!(stream_stats.borrow().ignored, 4, "{beat}");
    }
    // A comment in the standard's form and an event without data count as nothing.
    for beat in [": OPENROUTER PROCESSING\n\n", "data:\n\n", "event: ping\n\n"] {
        assert_eq!(class(&around(beat)), None, "{beat}");
    }
}

/// K17. Triton's `accumulate_tokens` (tensorrtllm_backend #520, #332); gateways of full texts (evalscope #212);
/// SGLang's `--incremental-streaming-output` (PRs #21037, #22549).
#[test]
fn streams_that_repeat_themselves_or_cease_to_have_their_text_once() {
    let triton = |text: &str| data(&format!("{{\"text_output\":\"{text}\"}}"));
    let completion = |text: &str| data(&format!("{{\"choices\":[{{\"text\":\"{text}\"}}]}}"));
    let sglang = |text: &str, meta: &str| data(&format!("{{\"text\":\"{text}\",\"meta_info\":{{{meta}}}}}"));
    let so_far = ["one", "one two", "one two three", "one two three four"];
    let news = ["I", " am", " Qwen", "."];
    let counted = |at: usize| format!("\"completion_tokens\":{}", at + 1);
    let ended = "\"completion_tokens\":4,\"finish_reason\":{\"type\":\"stop\"}";
    let cases: [(Backend, String, &str, u32, u64); 6] = [
        (Backend::TensorrtLlm, so_far.map(triton).concat(), "one two three four", 4, 1),
        (Backend::TensorrtLlm, news.map(triton).concat(), "I am Qwen.", 4, 0),
        (Backend::OpenaiChat, so_far.map(say).concat() + &finish("\"stop\""), "one two three four", 4, 1),
        (
            Backend::Openai,
            so_far[..3].iter().map(|text| completion(text)).collect::<String>() + FINISH,
            "one two three",
            3,
            1,
        ),
        (
            Backend::Sglang,
            news.iter().enumerate().map(|(at, text)| sglang(text, &counted(at))).collect::<String>()
                + &sglang("", ended),
            "I am Qwen.",
            4,
            0,
        ),
        (
            Backend::Sglang,
            news.map(|text| sglang(text, "")).concat() + &sglang("", "\"finish_reason\":{\"type\":\"stop\"}"),
            "I am Qwen.",
            4,
            0,
        ),
    ];
    for (backend, stream, text, events, repeating) in cases {
        let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
        let mut timer =
            RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone()).with_history_text();
        timer.set_response_format(Protocol::for_backend(backend).response_format(false), &Arc::default());
        timer.on_bytes(ms(9), stream.as_bytes());
        let story = summary_of(timer, Ok(()));
        assert!(story.outcome.is_ok(), "{stream}: {:?}", story.outcome);
        assert_eq!(
            (story.text.as_deref(), story.visible_text.as_deref()),
            (Some(text), Some(text)),
            "{stream}"
        );
        assert_eq!((story.events.count, stream_stats.borrow().repeating), (events, repeating), "{stream}");
    }
    let mixed = delta("{\"reasoning\":\"hm\"}", "") + &so_far.map(say).concat() + &finish("\"stop\"");
    let story = timed(&[mixed]);
    assert_eq!(
        (story.text.as_deref(), story.visible_text.as_deref()),
        (Some("hmone two three four"), Some(so_far[3]))
    );
}
