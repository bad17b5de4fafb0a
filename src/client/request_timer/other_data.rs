//! Data of a stream that is not part of the answer: pings, notices, errors in other shapes, and stray lines.

use crate::client::excerpt::excerpt;
use crate::client::framing::StreamFraming;
use crate::client::protocol::data_text::DataText;
use crate::client::protocol::foreign_error::foreign_error;
use crate::client::protocol::parsed_event::ParsedEvent;
use crate::client::request_timer::stream_state::StreamState;
use crate::model::record::{Failure, FailureClass};

impl StreamState {
    /// Handles data that is not an event of the protocol.
    pub(super) fn on_other_data(&mut self, data: &[u8], error: &serde_json::Error) {
        let what = match self.reading.framing {
            StreamFraming::Events => "event is not a chunk",
            StreamFraming::Lines => "line is not a chunk",
            StreamFraming::Document => "answer is not the requested document",
        };
        match DataText::classify(data) {
            DataText::Ping if self.reading.framing != StreamFraming::Document => self.ignore_event(),
            DataText::Notice if self.reading.framing != StreamFraming::Document => self.note_unknown(data),
            DataText::Error if self.reading.framing != StreamFraming::Document => {
                self.fail(FailureClass::ErrorEvent, excerpt(data));
            }
            _ => self.fail(FailureClass::BrokenStream, format!("{what} ({error}): {}", excerpt(data))),
        }
    }

    /// Handles a line that is not part of an event. An error in the line fails the request; any other text is kept only
    /// for failure messages.
    pub(super) fn note_stray(&mut self, line: &[u8]) {
        match (self.reading.read)(line) {
            Ok(ParsedEvent { error: Some(error), .. }) => self.fail(FailureClass::ErrorEvent, error),
            _ => match foreign_error(line) {
                Some(error) => self.fail(FailureClass::ErrorEvent, error),
                None => self.keep_stray(line),
            },
        }
    }

    fn keep_stray(&mut self, words: &[u8]) {
        let stray = &mut self.cold.stray;
        if stray.len() < Failure::BODY_LIMIT {
            if !stray.is_empty() {
                stray.push(' ');
            }
            stray.push_str(&excerpt(words));
        }
    }

    /// Counts a heartbeat, which is not part of the answer.
    pub(super) fn ignore_event(&mut self) {
        self.stream_stats.borrow_mut().ignored += 1;
    }

    /// Counts an event that is not part of the answer as far as the client knows, and keeps it for failure messages.
    pub(super) fn note_unknown(&mut self, data: &[u8]) {
        {
            let stream_stats = &mut *self.stream_stats.borrow_mut();
            stream_stats.ignored += 1;
            stream_stats.unknown += 1;
            stream_stats.first_unknown.get_or_insert_with(|| excerpt(data).into());
        }
        self.keep_stray(data);
    }
}
