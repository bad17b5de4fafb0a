use proptest::prelude::*;

use super::*;
use crate::model::record::Milestone;
use crate::testing::transcripts::{ALL, cut};

mod kinds;
mod protocols;

const ALL_KEPT: Capture = Capture { text: CaptureText::Always, gaps: CaptureGaps::Always };

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn timer(keep: Capture) -> RequestTimer {
    RequestTimer::new(RunClock::start(), ms(0), keep, Rc::default())
}

fn summary_of(timer: RequestTimer, sent: Result<(), Failure>) -> RequestSummary {
    let mut story = timer.finish(sent);
    assert!(story.times.done().is_some(), "the only instant that a test cannot choose");
    story.times.set(Milestone::Done, None);
    story
}

/// The summary of a stream whose pieces all arrive at the same instant.
fn follow<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, keep: Capture) -> RequestSummary {
    let mut timer = timer(keep);
    pieces.into_iter().for_each(|piece| timer.on_bytes(ms(7), piece));
    summary_of(timer, Ok(()))
}

fn outcome(stream: &str) -> Result<FinishReason, Failure> {
    follow([stream.as_bytes()], ALL_KEPT).outcome
}

/// The class and the detail of a stream's failure.
fn failure(stream: &str) -> (FailureClass, String) {
    let failure = outcome(stream).unwrap_err();
    (failure.class, failure.detail)
}

fn text_event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":null}}]}}\n\n")
}

const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const END: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn transcripts_have_their_text_tokens_and_end() {
    let stop = FinishReason::Stop;
    let expected = [
        (
            "chat-max-completion-tokens",
            "ped ESCAPEeq behavior effectIG",
            6,
            FinishReason::Length,
            Some((18, 6)),
        ),
        ("chat-reasoning", "Let me see.\nIt is 4.", 4, stop.clone(), Some((21, 9))),
        ("chat-reasoning-content", "Hm, “two”.2", 3, stop.clone(), Some((7, 5))),
        (
            "chat-tools",
            "weather{\"city\": \"Köln\"}",
            4,
            FinishReason::Other("tool_calls".into()),
            Some((44, 11)),
        ),
        ("chat-unfinished-last-event", "Hi!", 2, stop.clone(), None),
        ("chat-usage-on-finish-no-done", "Hi there", 2, stop.clone(), Some((8, 3))),
        (
            "completions-continuous-usage",
            "*, challExecErrorsl \"% ** wh",
            8,
            FinishReason::Length,
            Some((10, 8)),
        ),
        ("completions-cr", "One two", 2, FinishReason::Length, Some((3, 2))),
        ("completions-crlf", "One\r\n two", 3, FinishReason::Length, Some((3, 3))),
        ("completions-dressed", "ab", 2, stop.clone(), None),
        ("completions-escaped", "日本🦀\n\t\"\\ß", 4, stop.clone(), Some((12, 6))),
        ("completions-logprobs", "*, challExecError", 4, FinishReason::Length, Some((10, 4))),
        ("completions-multibyte", "日本語 🦀👩\u{200D}🚀é\"\\你好", 6, stop, Some((12, 9))),
        ("completions-no-usage", "*, challExecError", 4, FinishReason::Length, None),
    ];
    for (name, text, count, finish, usage) in expected {
        let (_, stream) = ALL.iter().find(|(it, _)| *it == name).unwrap();
        let story = follow([*stream], ALL_KEPT);
        assert_eq!(story.text.as_deref(), Some(text), "{name}");
        assert_eq!((story.events.count, story.outcome), (count, Ok(finish)), "{name}");
        let told = story.usage.map(|usage| (usage.prompt_tokens.unwrap(), usage.completion_tokens.unwrap()));
        assert_eq!(told, usage, "{name}");
    }
}

#[test]
fn transcripts_cut_at_every_byte_tell_the_same_story() {
    for (name, stream) in ALL {
        let whole = follow([*stream], ALL_KEPT);
        assert!(whole.outcome.is_ok(), "{name}");
        for place in 0..=stream.len() {
            assert_eq!(follow(cut(stream, &[place]), ALL_KEPT), whole, "{name} cut at {place}");
        }
        assert_eq!(follow(stream.chunks(1), ALL_KEPT), whole, "{name} byte by byte");
    }
}

#[test]
fn times_are_those_of_the_reads_that_complete_output() {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    let mut timer = RequestTimer::new(RunClock::start(), ms(10), ALL_KEPT, stream_stats.clone());
    timer.mark_sent(ms(11));
    assert_eq!(timer.phase(), TimeoutPhase::Headers);
    timer.on_head(ms(12));
    assert_eq!(timer.phase(), TimeoutPhase::FirstToken);
    timer.on_bytes(ms(13), text_event("").as_bytes());
    assert_eq!(timer.phase(), TimeoutPhase::FirstToken, "an empty text is no token");
    let (head, tail) = (&text_event("a")[..20], &text_event("a")[20..]);
    timer.on_bytes(ms(14), head.as_bytes());
    timer.on_bytes(ms(20), tail.as_bytes());
    assert_eq!(timer.phase(), TimeoutPhase::Stream);
    timer.on_bytes(ms(1050), (text_event("b") + &text_event("c")).as_bytes());
    timer.on_bytes(ms(1060), FINISH.as_bytes());
    timer.on_bytes(ms(1070), DONE.as_bytes());

    let story = summary_of(timer, Ok(()));
    let times = story.times;
    assert_eq!(
        (times.due(), times.sent(), times.get(Milestone::Headers)),
        (ms(10), Some(ms(11)), Some(ms(12)))
    );
    assert_eq!(times.get(Milestone::FirstChunk), Some(ms(13)));
    assert_eq!((times.first_token(), times.last_token()), (Some(ms(20)), Some(ms(1050))));
    assert_eq!((story.events.count, &story.events.by_second[..]), (3, &[(0, 1), (1, 2)][..]));
    assert_eq!(story.events.gaps, Some([ms(1030), ms(0)].into_iter().collect()));
    assert_eq!(stream_stats.borrow().itl.len(), 2);
}

#[test]
fn a_story_does_not_go_back() {
    let mut timer = timer(ALL_KEPT);
    timer.mark_sent(ms(10));
    timer.mark_step(ConnectStep::Written, ms(12));
    timer.on_head(ms(9));
    timer.on_bytes(ms(20), text_event("a").as_bytes());
    timer.on_bytes(ms(19), text_event("b").as_bytes());
    let story = summary_of(timer, Ok(()));
    let times = story.times;
    assert_eq!(
        (times.get(Milestone::Written), times.get(Milestone::Headers), times.last_token()),
        (Some(ms(10)), Some(ms(10)), Some(ms(20)))
    );
    assert_eq!(story.events.gaps, Some([ms(0)].into_iter().collect()));
}

#[test]
fn steps_before_the_answer_have_their_times_and_phase() {
    let mut timer = timer(ALL_KEPT);
    timer.mark_sent(ms(1));
    timer.mark_step(ConnectStep::Connecting, ms(1));
    for (step, at) in [(ConnectStep::Resolved, 2), (ConnectStep::Connected, 3), (ConnectStep::Secured, 4)] {
        assert_eq!(timer.phase(), TimeoutPhase::Connect);
        timer.mark_step(step, ms(at));
    }
    timer.mark_step(ConnectStep::Ready, ms(4));
    assert_eq!(timer.phase(), TimeoutPhase::Headers);
    timer.mark_step(ConnectStep::Written, ms(5));
    let times = summary_of(timer, Ok(())).times;
    let steps = [
        times.sent(),
        times.get(Milestone::Resolved),
        times.get(Milestone::Connected),
        times.get(Milestone::Secured),
        times.get(Milestone::Written),
    ];
    assert_eq!(steps, [1, 2, 3, 4, 5].map(|at| Some(ms(at))));
}

#[test]
fn answers_whose_first_event_came_with_others_are_counted() {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    for reads in [&[1, 3][..], &[0, 2, 1], &[3], &[1]] {
        let mut timer = RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone());
        for (at, events) in reads.iter().enumerate() {
            timer.on_socket_read(None);
            (0..*events).for_each(|_| timer.on_bytes(ms(at as u64), text_event("a").as_bytes()));
        }
        timer.on_bytes(ms(9), END.as_bytes());
        assert!(timer.finish(Ok(())).outcome.is_ok());
    }
    let stream_stats = stream_stats.borrow();
    assert_eq!((stream_stats.streams, stream_stats.burst_starts), (3, 2));
}

#[test]
fn events_that_share_a_read_are_counted() {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    let mut timer = RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone());
    for (at, delay, events) in [(1, Some(ms(3)), 1), (2, None, 3), (3, Some(ms(5)), 2)] {
        timer.on_socket_read(delay);
        (0..events).for_each(|_| timer.on_bytes(ms(at), text_event("a").as_bytes()));
    }
    let stream_stats = stream_stats.borrow();
    assert_eq!((stream_stats.shared, stream_stats.unstamped, stream_stats.read_delay.len()), (3, 1, 2));
}

#[test]
fn gaps_are_told_by_the_second_of_their_later_event() {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    let mut timer = RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone());
    for at in [990, 1_010, 1_020, 3_000] {
        timer.on_bytes(ms(at), text_event("a").as_bytes());
    }
    let mut all = StreamStats::default();
    all.merge(&stream_stats.borrow());
    all.merge(&stream_stats.borrow());
    let seconds = all.itl_by_second.seconds();
    let medians = seconds.iter().map(|(second, gaps)| (*second, gaps.percentile(50.0).unwrap()));
    // The gaps are 10 ms and 20 ms, both twice, and 1,980 ms twice. Buckets extend 0.4 % to either side.
    let expected = [(1, ms(15)), (3, ms(1_980))];
    assert_eq!(medians.len(), expected.len());
    for ((second, median), (expected_second, expected)) in medians.zip(expected) {
        assert_eq!(second, expected_second);
        assert!(median.abs_diff(expected) <= expected.mul_f64(0.004), "{second}: {median:?}");
    }
}

#[test]
fn requests_of_a_thread_share_their_meters() {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    let keep = Capture { text: CaptureText::Never, gaps: CaptureGaps::Never };
    let mut timers =
        [0, 1].map(|due| RequestTimer::new(RunClock::start(), ms(due), keep, stream_stats.clone()));
    for at in 1..=3 {
        timers.iter_mut().for_each(|timer| timer.on_bytes(ms(at), text_event("a").as_bytes()));
    }
    assert_eq!(stream_stats.borrow().gaps, 4, "no gap between one request's tokens and another's");
    assert!(timers.map(|timer| summary_of(timer, Ok(()))).iter().all(|story| story.events.gaps.is_none()));
}

#[test]
fn text_is_kept_as_long_as_something_needs_it() {
    let text = |keep, stream: &str| {
        follow([stream.as_bytes()], Capture { text: keep, gaps: CaptureGaps::Never }).text
    };
    let bare = text_event("a") + FINISH + DONE;
    let counted = text_event("a")
        + FINISH
        + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    assert_eq!(text(CaptureText::Never, &bare), None);
    assert_eq!(text(CaptureText::UntilUsage, &bare).as_deref(), Some("a"));
    assert_eq!(text(CaptureText::UntilUsage, &counted), None);
    assert_eq!(text(CaptureText::Always, &counted).as_deref(), Some("a"));
}

/// The number of gaps in the latency statistics and the number of all gaps, for two streams of two gaps each with this
/// end.
fn gaps_of(end: &str, leaving: bool) -> (u64, u64) {
    let stream_stats = Rc::new(RefCell::new(StreamStats::default()));
    for _ in 0..2 {
        let timer = RequestTimer::new(RunClock::start(), ms(0), ALL_KEPT, stream_stats.clone());
        let mut timer = if leaving { timer.with_early_cancel() } else { timer };
        [10, 20, 40].into_iter().for_each(|at| timer.on_bytes(ms(at), text_event("a").as_bytes()));
        timer.on_bytes(ms(50), end.as_bytes());
        timer.finish(Ok(()));
    }
    let stream_stats = stream_stats.borrow();
    assert!(!stream_stats.itl_by_second.is_empty(), "what the server did in a second is seen in any stream");
    (stream_stats.itl.len(), stream_stats.gaps)
}

#[test]
fn gaps_of_requests_that_fail_or_are_to_be_left_are_in_no_itl() {
    assert_eq!(gaps_of(END, false), (4, 4));
    assert_eq!(gaps_of("data: {\"error\":\"busy\"}\n\n", false), (0, 4));
    assert_eq!(gaps_of("", false), (0, 4), "broken off");
    assert_eq!(gaps_of(END, true), (0, 4));
}

#[test]
fn the_first_event_has_the_usage_that_came_with_it_else_its_text() {
    let first = |stream: &str| follow([stream.as_bytes()], ALL_KEPT).first_event;
    let bare = first(&(text_event("one two") + &text_event(" three") + DONE));
    assert_eq!((bare.tokens_so_far, bare.text.as_str()), (None, "one two"));
    let counted = |text: &str, tokens: u32| {
        format!(
            "data: {{\"choices\":[{{\"text\":\"{text}\"}}],\"usage\":{{\"completion_tokens\":{tokens}}}}}\n\n"
        )
    };
    let continuous = first(&(counted("", 0) + &counted("one two", 8) + &counted(" three", 50) + DONE));
    assert_eq!((continuous.tokens_so_far, continuous.text.as_str()), (Some(8), ""));
}

#[test]
fn reasoning_counts_as_streamed_when_any_event_has_some() {
    let streamed = |delta: &str| {
        let event = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        follow([(text_event("a") + &event + DONE).as_bytes()], ALL_KEPT).first_event.reasoning_is_streamed
    };
    assert!(streamed(r#"{"reasoning":"hm"}"#) && streamed(r#"{"reasoning_content":"hm"}"#));
    assert!(!streamed(r#"{"content":"yes"}"#) && !streamed(r#"{"tool_calls":[{"function":{"name":"f"}}]}"#));
}

#[test]
fn a_usage_of_zero_is_no_count() {
    let event = |prompt, output| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output}}}}}\n\n"
        )
    };
    let usage = |stream: String| follow([stream.as_bytes()], ALL_KEPT).usage;
    assert_eq!(usage(event(0, 0)), None);
    let both = TokenUsage { prompt_tokens: Some(5), completion_tokens: Some(3), ..TokenUsage::default() };
    assert_eq!(usage(event(5, 3) + &event(0, 0)), Some(both));
    assert_eq!(usage(event(5, 0)), Some(TokenUsage { completion_tokens: None, ..both }));
}

#[test]
fn a_finish_reason_ends_an_answer() {
    assert_eq!(outcome(&(text_event("a") + FINISH)), Ok(FinishReason::Stop));
    assert_eq!(outcome(&(text_event("a") + FINISH + DONE)), Ok(FinishReason::Stop));
}

#[test]
fn a_stream_with_neither_end_is_broken() {
    let (class, detail) = failure(&text_event("a"));
    assert_eq!(class, FailureClass::BrokenStream);
    assert_eq!(detail, "ended with neither finish_reason nor [DONE] (output events: 1)");
    assert_eq!(failure("").0, FailureClass::BrokenStream);
    // llama-cpp-python ends a stream like this when the next request interrupts it.
    let (class, detail) = failure(&(text_event("a") + DONE));
    assert_eq!(class, FailureClass::BrokenStream);
    assert_eq!(detail, "ended without a finish reason: the answer was cut (output events: 1)");
    assert_eq!(failure("<html>busy</html>\n\n").0, FailureClass::BrokenStream);
}

#[test]
fn a_proper_stream_without_a_token_is_a_failure() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":0}}\n\n";
    for stream in [DONE, FINISH, &format!("{role}{FINISH}{usage}{DONE}")] {
        assert_eq!(failure(stream).0, FailureClass::EmptyStream, "{stream}");
    }
}

#[test]
fn an_error_event_is_a_failure_wherever_it_stands() {
    let error =
        "data: {\"error\": {\"message\": \"busy\", \"type\": \"Service Unavailable\", \"code\": 503}}\n\n";
    let expected = (FailureClass::ErrorEvent, "busy (code 503)".to_owned());
    assert_eq!(failure(error), expected);
    assert_eq!(failure(&format!("{error}{DONE}")), expected);
    assert_eq!(failure(&format!("{}{FINISH}{error}{DONE}", text_event("a"))), expected);
    assert_eq!(failure("data: {\"error\": \"a string\"}\n\n"), (FailureClass::ErrorEvent, "a string".into()));
}

#[test]
fn an_event_named_error_is_one_whatever_its_data() {
    for data in ["out of memory", "{\"message\":\"out of memory\"}"] {
        let stream = format!("event: error\ndata: {data}\n\n{DONE}");
        assert_eq!(failure(&stream), (FailureClass::ErrorEvent, data.to_owned()));
    }
}

#[test]
fn an_event_that_is_no_chunk_breaks_the_stream_and_is_shown() {
    let (class, detail) = failure(&format!("{}data: {{\"choices\": [oops\n\n{DONE}", text_event("a")));
    assert_eq!(class, FailureClass::BrokenStream);
    assert!(
        detail.starts_with("event is not a chunk (") && detail.ends_with(": {\"choices\": [oops"),
        "{detail}"
    );
    let long = format!("data: {}\n\n", "é".repeat(5000));
    assert!(failure(&long).1.len() < 400);
}

#[test]
fn an_endless_event_breaks_the_stream() {
    let mut timer = timer(ALL_KEPT);
    for _ in 0..20 {
        timer.on_bytes(ms(1), &vec![b'x'; 1 << 20]);
    }
    let failure = summary_of(timer, Ok(())).outcome.unwrap_err();
    assert_eq!(
        (failure.class, failure.detail.as_str()),
        (FailureClass::BrokenStream, "an event is longer than 4 MiB")
    );
}

#[test]
fn data_after_done_is_ignored() {
    let stream = text_event("a") + END + "data: nonsense\n\n" + &text_event("b");
    let story = follow([stream.as_bytes()], ALL_KEPT);
    assert_eq!((story.events.count, story.text.as_deref()), (1, Some("a")));
    assert_eq!(story.outcome, Ok(FinishReason::Stop));
}

#[test]
fn a_request_given_up_keeps_what_was_seen() {
    let late = Failure::new(FailureClass::Timeout(TimeoutPhase::Stream), "10s");
    let partial = text_event("a") + &text_event("b")[..10];
    let mut timer = timer(ALL_KEPT);
    timer.on_bytes(ms(3), partial.as_bytes());
    let story = summary_of(timer, Err(late.clone()));
    assert_eq!(
        (story.outcome, story.events.count),
        (Err(late), 1),
        "half an event is not read as a whole one"
    );
    assert_eq!(story.times.first_token(), Some(ms(3)));
}

#[test]
fn what_the_stream_said_goes_before_what_became_of_the_connection() {
    let reset = || Err(Failure::new(FailureClass::BrokenStream, "connection reset"));
    let cases = [
        (text_event("a") + END, Ok(FinishReason::Stop)),
        (text_event("a") + FINISH, Err(FailureClass::BrokenStream)),
        ("data: {\"error\":\"busy\"}\n\n".to_owned(), Err(FailureClass::ErrorEvent)),
    ];
    for (stream, expected) in cases {
        let mut timer = timer(ALL_KEPT);
        timer.on_bytes(ms(1), stream.as_bytes());
        assert_eq!(summary_of(timer, reset()).outcome.map_err(|failure| failure.class), expected, "{stream}");
    }
}

proptest! {
    #[test]
    fn transcripts_cut_anywhere_tell_the_same_story(
        which in 0..ALL.len(),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let (_, stream) = ALL[which];
        prop_assert_eq!(follow(cut(stream, &places), ALL_KEPT), follow([stream], ALL_KEPT));
    }

    #[test]
    fn spoilt_transcripts_cut_anywhere_tell_the_same_story(
        which in 0..ALL.len(),
        spoil in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        places in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut stream = ALL[which].1.to_vec();
        for (place, byte) in spoil {
            let place = place % stream.len();
            stream[place] = byte;
        }
        prop_assert_eq!(follow(cut(&stream, &places), ALL_KEPT), follow([stream.as_slice()], ALL_KEPT));
    }

    #[test]
    fn any_bytes_are_survived(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..10)) {
        prop_assert!(follow(pieces.iter().map(Vec::as_slice), ALL_KEPT).outcome.is_err());
    }
}

#[test]
fn who_listens_remembers_what_is_said_and_no_reasoning() {
    let delta = |field: &str, text: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"{field}\":\"{text}\"}}}}]}}\n\n")
    };
    // Some of these events match the template and are not parsed; others do not match.
    let parts = [
        ("reasoning", "Hm"),
        ("reasoning", ", two"),
        ("content", "It "),
        ("content", "is"),
        ("content", " \\n4"),
    ];
    let stream: String = parts.iter().map(|(field, text)| delta(field, text)).collect::<String>() + DONE;
    let mut timer = timer(Capture { text: CaptureText::Never, gaps: CaptureGaps::Never }).with_history_text();
    timer.on_bytes(ms(7), stream.as_bytes());
    let story = summary_of(timer, Ok(()));
    assert_eq!((story.visible_text.as_deref(), story.text), (Some("It is \n4"), None));
    assert_eq!(follow([stream.as_bytes()], ALL_KEPT).visible_text, None);
}
