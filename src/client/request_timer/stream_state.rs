//! The state of a stream: takes events and collects the client's parts of a record.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{FirstEvent, StreamStats};
use crate::client::excerpt::excerpt;
use crate::client::framing::StreamFraming;
use crate::client::protocol::data_text::DataText;
use crate::client::protocol::event_template::EventTemplate;
use crate::client::protocol::finish::FinishSignal;
use crate::client::protocol::foreign_error::{foreign_error, may_be_error};
use crate::client::protocol::parsed_event::{EventOutput, OutputDelta, OutputPart, ParsedEvent, TokenUsage};
use crate::client::protocol::small_list::SmallList;
use crate::client::protocol::text::Text;
use crate::client::protocol::{ResponseFormat, max_events};
use crate::client::request_timer::captured::{CapturedOutput, part_text};
use crate::client::request_timer::output_modes::{OutputEdits, OutputModes, REPEATABLE_PARTS};
use crate::client::request_timer::text_mode::TextEdit;
use crate::client::sse::{STRAY_LINE, SseEvent};
use crate::model::record::{
    Events, Failure, FailureClass, FinishReason, Milestone, ServerTimes, Timestamps, whole_second,
};
use crate::stats::PendingDurations;

/// The state of a stream so far.
///
/// An event that matches the template touches only the hot state, the template and the captured output. All other state
/// stays out of the processor's cache.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) hot: HotState,
    /// The template that every event is compared with.
    pub(super) template: EventTemplate,
    /// The statistics that the requests of a thread share.
    pub(super) stream_stats: Rc<RefCell<StreamStats>>,
    /// The gaps between output events, until it is known whether the request is answered.
    pub(super) gaps: Option<PendingDurations>,
    /// Whether the gaps count if the request is answered.
    pub(super) counts: bool,
    pub(super) captured: CapturedOutput,
    pub(super) first: FirstEvent,
    /// Set when the outcome is known: `Ok` after an end that the protocol marks, such as `[DONE]`.
    pub(super) ended: Option<Result<(), Box<Failure>>>,
    pub(super) reading: ResponseFormat,
    pub(super) times: Box<Timestamps>,
    /// The output events, without those of the current second.
    pub(super) events: Events,
    /// The length of the output so far, in tokens or bytes, for protocols whose events repeat it.
    pub(super) seen_len: usize,
    pub(super) usage: Option<TokenUsage>,
    pub(super) finish: Option<FinishReason>,
    pub(super) cold: Box<ColdState>,
}

/// The state that few events touch.
#[derive(Debug, Default)]
pub(super) struct ColdState {
    /// How the text grows.
    pub(super) modes: OutputModes,
    /// Whether some output came as deltas, so that a whole message repeats it.
    has_deltas: bool,
    /// Data that is not an event of the protocol: text of a proxy, or of a server that does not frame it.
    pub(super) stray: String,
    /// The server's own times for the request.
    pub(super) server_times: ServerTimes,
    /// The number of tokens whose ids arrived.
    pub(super) token_ids: u32,
    /// When the server reported the end of the answer.
    pub(super) finished: Option<Duration>,
    /// Finish reasons that count as successes even if the table says otherwise.
    pub(super) accepted: Arc<[String]>,
    /// The token limit of the request.
    pub(super) limit: Option<u32>,
    /// The number of parsed events that added no text.
    pub(super) silent_events: u32,
    /// Whether the answer had output that is not text, or that is not read.
    pub(super) has_other_output: bool,
}

/// The state that changes with every output event.
#[derive(Debug, Default)]
pub(super) struct HotState {
    /// The time of the last output.
    pub(super) last: Option<Duration>,
    /// The number of output events since the last read of the socket.
    pub(super) events_in_read: u32,
    /// The number of output events in the read that brought the first one; 0 until the next read.
    pub(super) events_in_first_read: u32,
    /// The second of the last output, and the number of output events in that second.
    pub(super) second: (u32, u32),
    /// The number of output events in this second that the token limit allows.
    pub(super) allowed: u32,
    /// The length of the output, in bytes of its JSON.
    pub(super) text_bytes: u64,
    /// The part of it that the last event added.
    pub(super) last_text_bytes: u64,
}

impl HotState {
    /// Records a new read of the socket.
    pub(super) fn next_read(&mut self) {
        if self.events_in_first_read == 0 {
            self.events_in_first_read = self.events_in_read;
        }
        self.events_in_read = 0;
    }
}

impl StreamState {
    pub(super) fn on_event(&mut self, at: Duration, event: SseEvent<'_>) {
        if self.ended.is_some() {
            return;
        }
        let data = event.data.trim_ascii();
        match self.template.match_text(data).filter(|_| event.name.is_empty()) {
            Some(text) => self.on_repeated_event(at, text),
            None if data.is_empty() && self.reading.framing != StreamFraming::Document => {}
            None if data == b"[DONE]" => self.ended = Some(Ok(())),
            None if event.name == STRAY_LINE => self.note_stray(data),
            None if self.reading.framing != StreamFraming::Document
                && DataText::is_ping_event(event.name, data) =>
            {
                self.ignore_event()
            }
            None => self.parse_event(at, event.name, data),
        }
    }

    /// Handles an event that matches the template except for its text.
    fn on_repeated_event(&mut self, at: Duration, text: &str) {
        let part = self.captured.template_part;
        if !self.captured.is_plain(part) {
            let edit = self.next_delta(part, text);
            if edit != TextEdit::Nothing {
                self.hot.last_text_bytes = 0;
                self.hot.count_text(&edit, text.len());
                self.on_output(at);
                self.captured.edit_part(part, &edit, text);
            }
            return;
        }
        self.hot.text_bytes += text.len() as u64;
        self.hot.last_text_bytes = text.len() as u64;
        self.on_output(at);
        self.captured.push_repeated_text(text);
    }

    fn parse_event(&mut self, at: Duration, name: &[u8], data: &[u8]) {
        match (self.reading.read)(data) {
            Ok(ParsedEvent { error: Some(error), .. }) => self.fail(FailureClass::ErrorEvent, error),
            Ok(_) if name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
            Ok(meaning) => {
                if meaning.is_blank()
                    && may_be_error(data)
                    && let Some(error) = foreign_error(data)
                {
                    return self.fail(FailureClass::ErrorEvent, error);
                }
                if meaning.is_foreign && self.reading.framing != StreamFraming::Document {
                    self.note_unknown(data);
                }
                if let Some((text, part)) = meaning.sole_text() {
                    self.template.learn(data, text);
                    self.captured.template_part = part;
                }
                self.apply(at, meaning);
            }
            Err(_) if name == b"error" => self.fail(FailureClass::ErrorEvent, excerpt(data)),
            Err(error) => self.on_other_data(data, &error),
        }
    }

    fn apply(&mut self, at: Duration, mut meaning: ParsedEvent<'_>) {
        self.drop_repeated_message(&mut meaning);
        if let Some(name) = meaning.unread {
            self.cold.has_other_output = true;
            self.stream_stats.borrow_mut().unread.count(name);
        }
        self.first.reasoning_is_streamed |= meaning.has_reasoning();
        let ParsedEvent { output, token_ids, usage, server_times, ending, is_end, .. } = meaning;
        let is_document = self.reading.framing == StreamFraming::Document;
        let (has_grown, edits) = self.output_edits(&output);
        match has_grown {
            true if is_document => self.hot.last = Some(at),
            true => {
                if self.hot.last.is_none() {
                    self.first.record_first(&output, usage);
                }
                self.on_output(at);
            }
            false => {}
        }
        self.captured.apply(&edits, &output);
        self.count_text(&edits, &output);
        if let Some(usage) = usage {
            self.usage = Some(usage.merged_with(self.usage));
        }
        if !server_times.is_none() {
            self.cold.server_times = server_times.merged_with(self.cold.server_times);
        }
        let counted = usage.and_then(|usage| usage.completion_tokens);
        // A count that is above the number of events is compared with the text.
        if self.captured.until_usage && counted.is_some_and(|count| count <= self.output_events()) {
            self.captured.text = None;
        }
        // The filter keeps only the beginning of a number list in a document, so its length is not a count.
        if token_ids > 0 && !is_document {
            self.cold.token_ids += token_ids;
        }
        if let Some(ending) = ending {
            self.set_finish(at, &ending);
        }
        if is_end || is_document {
            self.cold.finished.get_or_insert(at);
            self.ended.get_or_insert(Ok(()));
        }
    }

    /// The number of output events so far.
    fn output_events(&self) -> u32 {
        self.events.count + self.hot.second.1
    }

    fn set_finish(&mut self, at: Duration, ending: &FinishSignal<'_>) {
        self.cold.finished = Some(at);
        match ending.to_outcome(&self.cold.accepted) {
            Ok(finish) => self.finish = Some(finish),
            Err(failure) => self.fail(failure.class, failure.detail),
        }
    }

    /// Drops the output of a whole message at the end of a stream of deltas, which the deltas already carried.
    fn drop_repeated_message(&mut self, meaning: &mut ParsedEvent<'_>) {
        match &meaning.output {
            _ if self.reading.framing == StreamFraming::Document => {}
            _ if meaning.is_message && self.cold.has_deltas => meaning.output = EventOutput::default(),
            EventOutput::New(pieces) => self.cold.has_deltas |= !(meaning.is_message || pieces.is_empty()),
            EventOutput::SoFar { .. } | EventOutput::Results(_) => {}
        }
    }

    /// Whether an output extends the answer, and how it changes the text. If the events repeat the whole text, a
    /// greater length shows new output. A token count is more reliable, because a server may send tokens before their
    /// text can be shown.
    fn output_edits(&mut self, output: &EventOutput<'_>) -> (bool, OutputEdits) {
        match *output {
            EventOutput::New(ref pieces) if self.reading.framing == StreamFraming::Document => {
                (!pieces.is_empty(), OutputEdits::ADD)
            }
            EventOutput::New(ref pieces) => self.piece_edits(pieces),
            EventOutput::Results(count) => (count > 0, OutputEdits::ADD),
            EventOutput::SoFar { text: Some(text), .. } if text.is_empty() => {
                (false, OutputEdits::of_message(TextEdit::Nothing))
            }
            EventOutput::SoFar { text, tokens } => {
                let mode = &mut self.cold.modes.message;
                let edit = match text {
                    Some(_) if mode.is_whole() => TextEdit::Replace,
                    Some(text) => mode.next_whole(&text.decode()),
                    None => TextEdit::Nothing,
                };
                let is_deltas = mode.is_deltas();
                let tokens = tokens.map(|count| count as usize);
                let length = tokens.or(text.map(Text::length)).unwrap_or_default();
                let grown = length.max(self.seen_len);
                let has_grown = std::mem::replace(&mut self.seen_len, grown) < grown;
                (has_grown || is_deltas, OutputEdits::of_message(edit))
            }
        }
    }

    /// The same for the pieces of an event: whether any of them is new, and how each part changes.
    fn piece_edits(&mut self, pieces: &SmallList<OutputDelta<'_>>) -> (bool, OutputEdits) {
        let mut edits = OutputEdits::ADD;
        for part in REPEATABLE_PARTS {
            let mut of_part = pieces.iter().filter(|piece| piece.part == part);
            match (of_part.next(), of_part.next()) {
                (None, _) => {}
                _ if self.captured.is_plain(part) => {}
                (Some(piece), None) => edits.set(part, self.next_delta(part, &piece.text.decode())),
                (Some(_), Some(_)) if part == OutputPart::ToolCall => {
                    let text = part_text(pieces, part).unwrap_or_default();
                    edits.set(part, self.next_delta(part, &text));
                }
                // Several pieces at once cannot be the repetition of one text.
                (Some(_), Some(_)) => self.captured.set_plain(part, true),
            }
        }
        let has_grown = pieces.iter().any(|piece| *edits.of(piece.part) != TextEdit::Nothing);
        (has_grown, edits)
    }

    fn next_delta(&mut self, part: OutputPart, text: &str) -> TextEdit {
        let Some(mode) = self.cold.modes.of(part) else { return TextEdit::Add };
        let edit = mode.next_delta(text);
        self.captured.set_plain(part, mode.is_deltas());
        edit
    }

    fn on_output(&mut self, at: Duration) {
        self.count_event(at);
        let Self { hot: pulse, stream_stats, gaps, counts, captured: kept, times, .. } = self;
        let stream_stats = &mut *stream_stats.borrow_mut();
        stream_stats.shared += u64::from(pulse.events_in_read > 0);
        match pulse.last {
            None => {
                times.set(Milestone::FirstToken, at);
                *gaps = counts.then(|| stream_stats.spare.pop().unwrap_or_default());
            }
            Some(last) => {
                let gap = at.saturating_sub(last);
                stream_stats.gaps += 1;
                stream_stats.itl_by_second.record(at, gap);
                if let Some(gaps) = gaps {
                    gaps.record(gap);
                }
                if let Some(all) = &mut kept.gaps {
                    all.push(gap);
                }
            }
        }
        pulse.last = Some(at);
        pulse.events_in_read += 1;
    }

    fn count_event(&mut self, at: Duration) {
        let second = whole_second(at);
        let (last, events) = &mut self.hot.second;
        if *last != second {
            self.close_second();
            self.hot.second = (second, 1);
        } else {
            *events += 1;
            if *events > self.hot.allowed {
                self.close_second();
                self.hot.second = (second, 0);
            }
        }
    }

    /// Adds the events of a completed second, and checks whether the answer goes beyond its token limit.
    pub(super) fn close_second(&mut self) {
        let (second, events) = std::mem::take(&mut self.hot.second);
        if events > 0 {
            self.events.add(second, events);
        }
        let most = self.cold.limit.map_or(u32::MAX, max_events);
        self.hot.allowed = most.saturating_sub(self.events.count);
        if let Some(Failure { class, detail }) = self.over_limit() {
            self.fail(class, detail);
        }
    }

    pub(super) fn fail(&mut self, class: FailureClass, detail: String) {
        self.ended.get_or_insert_with(|| Err(Box::new(Failure::new(class, detail))));
    }
}

impl FirstEvent {
    /// Records the first output event and the usage that came with it.
    fn record_first(&mut self, output: &EventOutput<'_>, usage: Option<TokenUsage>) {
        self.tokens_so_far = usage.and_then(|usage| usage.completion_tokens);
        if self.tokens_so_far.is_none() {
            match *output {
                EventOutput::New(ref pieces) => {
                    let texts = pieces.iter().filter(|piece| piece.part != OutputPart::Sound);
                    self.text.extend(texts.map(|piece| piece.text.decode()));
                }
                EventOutput::SoFar { text, .. } => self.text.extend(text.map(Text::decode)),
                EventOutput::Results(_) => {}
            }
        }
    }
}
