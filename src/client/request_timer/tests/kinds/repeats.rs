//! Text that comes twice, text in unusual places, and data that is no event.

use super::*;

fn chat(events: &[String]) -> (RequestSummary, u64, u64) {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    let mut timer =
        RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone()).with_history_text();
    timer.set_response_format(
        Protocol::for_backend(Backend::OpenaiChat).response_format(false),
        &Arc::default(),
    );
    (1..).zip(events).for_each(|(at, event)| timer.on_bytes(ms(10 * at), event.as_bytes()));
    let story = summary_of(timer, Ok(()));
    let stream_stats = stream_stats.borrow();
    (story, stream_stats.repeating, stream_stats.ignored)
}

/// The text, the visible text and the number of output events of a stream that succeeds.
fn output(events: &[String]) -> (String, String, u32) {
    let (story, ..) = chat(events);
    assert!(story.outcome.is_ok(), "{events:?}: {:?}", story.outcome);
    (story.text.unwrap(), story.visible_text.unwrap(), story.events.count)
}

fn whole(message: &str) -> String {
    data(&format!(
        r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2}}}}"#
    ))
}

/// hermes-browser-extension #11: OpenAI-style streams that end with a whole message; go-kratos/blades #189 has the same
/// by design.
#[test]
fn a_whole_message_after_deltas_does_not_count_again() {
    let deltas = [say("one"), say(" two")].concat();
    let hm = delta("{\"reasoning_content\":\"hm\"}", "");
    let call = r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}"#;
    let cases: [(String, &str, &str, &str, u32); 6] = [
        (deltas.clone(), r#"{"role":"assistant","content":"one two"}"#, "one two", "one two", 2),
        (hm + &deltas, r#"{"content":"one two","reasoning_content":"hm"}"#, "hmone two", "one two", 3),
        (delta(call, ""), call, "f{}", "", 1),
        (deltas, r#"{"content":[{"type":"text","text":"one two"}]}"#, "one two", "one two", 2),
        // Without deltas it is the answer, and a first chunk with a role alone is none.
        (
            delta("{\"role\":\"assistant\",\"content\":\"\"}", ""),
            r#"{"content":"one two"}"#,
            "one two",
            "one two",
            1,
        ),
        (String::new(), r#"{"content":"one two"}"#, "one two", "one two", 1),
    ];
    for (before, message, text, said, events) in cases {
        let stream = [before, whole(message), DONE.to_owned()];
        assert_eq!(output(&stream), (text.to_owned(), said.to_owned(), events), "{stream:?}");
        assert_eq!(chat(&stream).0.usage.unwrap().completion_tokens, Some(2));
    }
    // One chunk with the same text under several names.
    for choice in [
        r#"{"delta":{"content":"one"},"message":{"content":"one"}}"#,
        r#"{"text":"one","delta":{"content":"one"}}"#,
        r#"{"text":"one","message":{"content":"one"}}"#,
    ] {
        let stream = [data(&format!("{{\"choices\":[{choice}]}}")), finish("\"stop\"")];
        assert_eq!(output(&stream), ("one".into(), "one".into(), 1), "{choice}");
    }
}

/// Servers that stream under `message` instead of `delta`: each event has new text, or all of it.
#[test]
fn messages_without_deltas_are_a_stream_of_their_own() {
    let message = |text: &str| data(&format!("{{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}}}}]}}"));
    let news = ["I", " am", " Qwen", "."].map(message);
    assert_eq!(output(&[news.concat(), finish("\"stop\"")]), ("I am Qwen.".into(), "I am Qwen.".into(), 4));
    let so_far = ["I", "I am", "I am Qwen", "I am Qwen."].map(message);
    assert_eq!(output(&[so_far.concat(), finish("\"stop\"")]), ("I am Qwen.".into(), "I am Qwen.".into(), 4));
}

/// MiniMax-M2 #95: MiniMax's example takes `reasoning_details` (and `content`) for the whole text so far, and its API
/// sends only new text. Both are counted once, under each name of reasoning.
#[test]
fn reasoning_that_repeats_itself_counts_once() {
    let so_far = ["hm", "hm, let", "hm, let me", "hm, let me see"];
    let news = ["hm", ", let", " me", " see"];
    let details = |text: &str| {
        format!(r#""reasoning_details":[{{"type":"reasoning.text","id":"r-1","index":0,"text":"{text}"}}]"#)
    };
    let names: [fn(&str) -> String; 4] = [
        |text| format!("\"reasoning_content\":\"{text}\""),
        |text| format!("\"reasoning\":\"{text}\""),
        |text| format!("\"thinking\":{{\"text\":\"{text}\"}}"),
        |text| format!("\"content\":[{{\"type\":\"thinking\",\"thinking\":\"{text}\"}}]"),
    ];
    let named = names.iter().map(|name| Box::new(name) as Box<dyn Fn(&str) -> String>);
    for name in named.chain([Box::new(details) as Box<dyn Fn(&str) -> String>]) {
        let reasoning = |text: &str| delta(&format!("{{{}}}", name(text)), "");
        for (texts, repeating) in [(so_far, 1), (news, 0)] {
            let mut events: Vec<String> = texts.iter().map(|text| reasoning(text)).collect();
            events.extend([say("4"), say("2"), finish("\"stop\"")]);
            let expected = ("hm, let me see42".to_owned(), "42".to_owned(), 6);
            assert_eq!(output(&events), expected, "{events:?}");
            assert_eq!(chat(&events).1, repeating, "{events:?}");
        }
    }
    // The reasoning is repeated beside the message, which repeats itself too.
    let both = |said: &str| delta(&format!("{{{},\"content\":\"{said}\"}}", details(so_far[3])), "");
    let mut events: Vec<String> =
        so_far.iter().map(|text| delta(&format!("{{{}}}", details(text)), "")).collect();
    events.extend(["It", "It is", "It is 42", "It is 42."].map(both));
    events.push(finish("\"stop\""));
    assert_eq!(output(&events), ("hm, let me seeIt is 42.".into(), "It is 42.".into(), 8));
    // A stream that ends before four events, and one that reasons again after its message.
    let short: Vec<String> =
        so_far[..3].iter().map(|text| delta(&format!("{{{}}}", details(text)), "")).collect();
    assert_eq!(output(&[short.concat(), finish("\"stop\"")]), ("hm, let me".into(), String::new(), 3));
    let hm = |text: &str| delta(&format!("{{\"reasoning\":\"{text}\"}}"), "");
    let again = [hm("a"), say("x"), hm("ab"), say("y"), hm("abc"), hm("abcd"), finish("\"stop\"")];
    assert_eq!(output(&again).1, "xy");
}

/// Some servers repeat the arguments of a tool call so far, with or without its name, for each call.
#[test]
fn tool_calls_that_repeat_themselves_count_once() {
    let call = |index: u32, name: &str, arguments: &str| {
        let name = if name.is_empty() { String::new() } else { format!("\"name\":\"{name}\",") };
        let function = format!("{{{name}\"arguments\":\"{arguments}\"}}");
        delta(&format!("{{\"tool_calls\":[{{\"index\":{index},\"function\":{function}}}]}}"), "")
    };
    let parts = ["{'city'", "{'city': 'Ber", "{'city': 'Berlin'", "{'city': 'Berlin'}"];
    let named: Vec<String> = parts.iter().map(|part| call(0, "f", part)).collect();
    let unnamed: Vec<String> =
        [call(0, "f", "")].into_iter().chain(parts.iter().map(|part| call(0, "", part))).collect();
    let second: Vec<String> = parts.iter().map(|part| call(1, "g", part)).collect();
    let whole = "{'city': 'Berlin'}";
    for (events, text, count) in [
        (named.clone(), format!("f{whole}"), 4),
        (unnamed, format!("f{whole}"), 5),
        ([named, second].concat(), format!("f{whole}g{whole}"), 8),
    ] {
        let stream = [events, vec![finish("\"tool_calls\"")]].concat();
        assert_eq!(output(&stream), (text, String::new(), count), "{stream:?}");
        assert_eq!(chat(&stream).1, 1, "{stream:?}");
    }
    // New pieces, as most servers send them.
    let pieces = ["{", "'city'", ": ", "'Ber", "lin'", "}"].map(|piece| call(0, "", piece));
    let stream = [vec![call(0, "f", "")], pieces.to_vec(), vec![finish("\"tool_calls\"")]].concat();
    assert_eq!(output(&stream), (format!("f{whole}"), String::new(), 7));
    assert_eq!(chat(&stream).1, 0);
}

#[test]
fn a_last_delta_that_repeats_all_of_the_text_counts_as_nothing() {
    let end = || finish("\"stop\"");
    let said = ["one", " two", " three", " four"].map(say).concat();
    let repeated = output(&[said.clone(), say("one two three four"), end()]);
    assert_eq!(repeated, ("one two three four".into(), "one two three four".into(), 4));
    let in_the_end = delta("{\"content\":\"one two three four\"}", ",\"finish_reason\":\"stop\"");
    assert_eq!(output(&[said, in_the_end]).2, 4);
    // What any model may say.
    for words in [
        &["ha", "ha"][..],
        &["ha", "ha", "ha", "ha"],
        &["no", ", no", ", no", ", no, no"],
        &["one two", "one two"],
    ] {
        let stream = [words.iter().map(|word| say(word)).collect(), end()];
        assert_eq!(output(&stream), (words.concat(), words.concat(), words.len() as u32), "{words:?}");
    }
}

/// K11. OpenAI's assistants API (openai-python `types/beta/threads/text_delta.py`: `value`), and objects like it.
#[test]
fn text_in_objects_is_text() {
    let cases = [
        r#"{"text":{"value":"one"}}"#,
        r#"{"text":{"value":"one","annotations":[]}}"#,
        r#"{"text":["one"]}"#,
        r#"{"delta":{"content":{"text":"one"}}}"#,
        r#"{"delta":{"content":{"value":"one"}}}"#,
        r#"{"delta":{"content":[{"type":"text","text":{"value":"one"}}]}}"#,
        r#"{"delta":{"content":[{"index":0,"type":"text","text":{"value":"one","annotations":[]}}]}}"#,
        r#"{"delta":{"content":{"content":{"text":"one"}}}}"#,
        r#"{"delta":{"content":[{"type":"output_text","text":"one"}]}}"#,
        r#"{"message":{"content":[{"type":"text","text":{"value":"one"}}]}}"#,
        r#"{"delta":{"refusal":{"value":"one"}}}"#,
        r#"{"delta":{"content":{"parts":[{"text":"one"}]}}}"#,
        r#"{"delta":{"content":{"role":"model","parts":[{"text":"one"}]}}}"#,
    ];
    for choice in cases {
        let stream = [data(&format!("{{\"choices\":[{choice}]}}")), finish("\"stop\"")];
        assert_eq!(output(&stream), ("one".into(), "one".into(), 1), "{choice}");
    }
    for nothing in
        [r#"{"text":{"value":""}}"#, r#"{"text":{"value":null}}"#, r#"{"text":{"annotations":[]}}"#]
    {
        let stream = [data(&format!("{{\"choices\":[{nothing}]}}")), say("one"), finish("\"stop\"")];
        assert_eq!(output(&stream), ("one".into(), "one".into(), 1), "{nothing}");
    }
}

/// K14. Gateways' heartbeats as plain data; nginx, Envoy and Starlette errors as plain data.
#[test]
fn plain_text_in_a_stream_is_a_ping_or_an_error() {
    for ping in ["[HEARTBEAT]", "ping", "keep-alive", "PROCESSING", "1764441234", "\"still here\"", "[START]"]
    {
        let (story, _, ignored) = chat(&[data(ping), around(&data(ping))]);
        assert_eq!(
            (story.outcome, story.text.as_deref()),
            (Ok(FinishReason::Stop), Some("one two")),
            "{ping}"
        );
        assert_eq!(ignored, 2, "{ping}");
    }
    for error in ["Internal Server Error", "error: no memory", "upstream connect error", "502 Bad Gateway"] {
        let failure =
            chat(&[say("one"), data(error), finish("\"stop\""), DONE.into()]).0.outcome.unwrap_err();
        assert_eq!((failure.class, failure.detail.as_str()), (ErrorEvent, error));
    }
    let cut = [say("one"), data("{\"choices\":[{\"delta\":{\"cont"), finish("\"stop\"")];
    assert_eq!(chat(&cut).0.outcome.unwrap_err().class, BrokenStream);
    // What was left out is quoted where the answer fails otherwise.
    for end in ["", DONE] {
        let failure = chat(&[data("please wait"), say("one"), end.to_owned()]).0.outcome.unwrap_err();
        assert_eq!(failure.class, BrokenStream);
        assert!(failure.detail.ends_with("it also sent: please wait"), "{failure}");
    }
    let nothing_else = chat(&[data("Hello"), data("world"), DONE.into()]).0.outcome.unwrap_err();
    assert_eq!(
        (nothing_else.class, nothing_else.detail.as_str()),
        (EmptyStream, "it also sent: Hello world")
    );
}
