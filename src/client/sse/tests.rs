use proptest::prelude::*;

use super::*;
use crate::testing::transcripts::{ALL, cut};

/// The names and the data of the events in these pieces.
fn events<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<(String, String)> {
    let mut events = Vec::new();
    let mut note = |event: SseEvent<'_>| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        events.push((text(event.name), text(event.data)));
    };
    let mut decoder = SseDecoder::default();
    for piece in pieces {
        decoder.push(piece, &mut note).unwrap();
    }
    decoder.finish(&mut note).unwrap();
    events
}

/// The data of a stream's events, without events that have none.
fn data(stream: &str) -> Vec<String> {
    let events = events([stream.as_bytes()]).into_iter();
    events.filter(|(name, _)| name.as_bytes() != STRAY_LINE).map(|(_, data)| data).collect()
}

#[test]
fn every_line_end_ends_a_line() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = "data: a\n\ndata: b\ndata: c\n\n".replace('\n', end);
        assert_eq!(data(&stream), ["a", "b\nc"], "{end:?}");
    }
    assert_eq!(data("data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n"), ["a\nb\nc", "d"]);
}

#[test]
fn one_space_after_the_colon_is_not_data() {
    assert_eq!(data("data:a\n\ndata: a\n\ndata:  a\n\ndata\n\ndata:\n\n"), ["a", "a", " a", "", ""]);
}

#[test]
fn comments_ids_and_retries_are_no_events() {
    assert_eq!(data(": ping\n\nid: 4\n\nretry: 5\ndata: a\n: ping\n\n"), ["a"]);
}

/// The lines are errors that a server writes without `data:` (lemonade #2826), or a proxy's text in place of the
/// stream.
#[test]
fn a_line_that_is_no_field_is_handed_out_by_itself() {
    let stream = "event: x\ndata: a\nDATA: b\n{\"error\":\"no\"}\ndata: c\n\nupstream connect error\n";
    let stray = |line: &str| (String::from_utf8_lossy(STRAY_LINE).into_owned(), line.to_owned());
    let expected = [
        stray("DATA: b"),
        stray("{\"error\":\"no\"}"),
        ("x".to_owned(), "a\nc".to_owned()),
        stray("upstream connect error"),
    ];
    assert_eq!(events([stream.as_bytes()]), expected);
}

#[test]
fn an_event_without_data_is_none_and_its_name_is_forgotten() {
    let stream = "event: error\n\ndata: a\n\nevent: x\nevent: end\ndata: b\n\ndata: c\n\n";
    let expected =
        [("", "a"), ("end", "b"), ("", "c")].map(|(name, data)| (name.to_owned(), data.to_owned()));
    assert_eq!(events([stream.as_bytes()]), expected);
}

#[test]
fn a_field_named_error_is_an_event_named_so() {
    let expected = [("error", "no"), ("", "a")].map(|(name, data)| (name.to_owned(), data.to_owned()));
    assert_eq!(events([b"error: no\n\ndata: a\n\n".as_slice()]), expected);
}

#[test]
fn only_the_first_line_may_have_a_byte_order_mark() {
    assert_eq!(data("\u{FEFF}data: a\n\n\u{FEFF}data: b\n\ndata: \u{FEFF}c\n\n"), ["a", "\u{FEFF}c"]);
    assert_eq!(data("\u{FEFF}\n\u{FEFF}data: b\n\n"), Vec::<String>::new());
}

#[test]
fn an_event_that_the_end_of_the_stream_cuts_short_is_handed_out() {
    for end in ["", "\n", "\r\n", "\n\n"] {
        assert_eq!(data(&format!("data: a\n\ndata: [DONE]{end}")), ["a", "[DONE]"], "{end:?}");
    }
    assert_eq!(data("data: a\n\nevent: end"), ["a"]);
}

#[test]
fn an_event_ends_with_its_blank_line_though_half_of_a_crlf_is_missing() {
    let mut seen = 0;
    let mut decoder = SseDecoder::default();
    decoder.push(b"data: a\r\n\r", &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn a_whole_event_is_handed_out_without_a_copy() {
    let stream = b": ping\nevent: x\ndata: abc\n\ndata: def\n\n".as_slice();
    let mut decoder = SseDecoder::default();
    decoder.push(stream, &mut |event| assert!(stream.as_ptr_range().contains(&event.data.as_ptr()))).unwrap();
}

#[test]
fn an_endless_event_is_an_error_and_not_a_hole_in_memory() {
    let piece = vec![b'x'; 1 << 20];
    let push_all = |opening: &[u8], piece: &[u8]| {
        let mut decoder = SseDecoder::default();
        decoder.push(opening, &mut |_| ()).unwrap();
        (1..=20).find(|_| decoder.push(piece, &mut |_| ()).is_err())
    };
    assert_eq!(push_all(b"data: ", &piece), Some(4), "one line");
    let lines = [b"data: ", piece.as_slice(), b"\n"].concat();
    assert_eq!(push_all(b"", &lines), Some(4), "many lines");
    assert_eq!(push_all(b"", &[lines.as_slice(), b"\n"].concat()), None, "many events");
}

#[test]
fn transcripts_cut_at_every_byte_give_the_same_events() {
    for (name, stream) in ALL {
        let whole = events([*stream]);
        assert!(whole.len() > 2, "{name}");
        for place in 0..=stream.len() {
            assert_eq!(events(cut(stream, &[place])), whole, "{name} cut at {place}");
        }
        assert_eq!(events(stream.chunks(1)), whole, "{name} byte by byte");
    }
}

proptest! {
    #[test]
    fn transcripts_cut_anywhere_give_the_same_events(
        which in 0..ALL.len(),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let (_, stream) = ALL[which];
        prop_assert_eq!(events(cut(stream, &places)), events([stream]));
    }

    #[test]
    fn any_bytes_cut_anywhere_give_the_same_events(
        lines in prop::collection::vec("(data|event|id|:|x|\u{FEFF})?(:| |: |🦀)?[a-b🦀]{0,3}(\n|\r|\r\n|\n\n)", 0..20),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let stream = [lines.concat().into_bytes(), noise].concat();
        prop_assert_eq!(events(cut(&stream, &places)), events([stream.as_slice()]));
    }
}
