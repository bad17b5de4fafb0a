//! Sanitizes text from servers and files. It is shown on terminals and in CI logs, where runners interpret some lines
//! as commands. It also removes known secrets.

use std::io::{self, Write};

use super::secrets;

/// The largest length of an incomplete character at the end of a write, in bytes.
const MAX_PARTIAL_CHAR: usize = 4;

/// Converts text to one line: every line break, blank and control character becomes one blank.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Sanitizes a message of ours that may quote foreign text: a line break is kept only if two blanks follow, as in our
/// lists.
pub(crate) fn printable_message(text: &str) -> String {
    let mut lines = text.lines();
    let mut all = lines.next().map(one_line_keeping_blanks).unwrap_or_default();
    for line in lines {
        let line = one_line_keeping_blanks(line);
        if line.starts_with("  ") {
            all.push('\n');
        } else if !line.is_empty() && !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&line);
    }
    all
}

/// Keeps the blanks that align and indent.
fn one_line_keeping_blanks(line: &str) -> String {
    line.chars()
        .map(|c| if c != ' ' && c.is_whitespace() { ' ' } else { c })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Escapes text for Markdown, also inside a table: no HTML, code, emphasis, link or mention.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '\\' | '`' | '*' | '|' => escaped.extend(['\\', c]),
            '(' if escaped.ends_with(']') => escaped.push_str("\\("),
            '<' => escaped.push_str("&lt;"),
            '@' => escaped.push_str("&#64;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Escapes text for a cell, so that a spreadsheet does not take it for a formula (OWASP, "CSV injection").
pub(crate) fn spreadsheet_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

/// Shows text in a document that no terminal or runner interprets: control characters and characters that reorder text
/// become `\\u001b` and the like, line breaks become blanks, and known secrets are removed.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in secrets::scrub(text).chars() {
        match c {
            '\n' | '\t' => visible.push(' '),
            c if is_control(c) => visible.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => visible.push(c),
        }
    }
    visible
}

/// Converts text to a part of a file name.
pub(crate) fn file_name_part(text: &str) -> String {
    let part: String =
        text.chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '_' } else { c }).collect();
    match part.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => part,
    }
}

/// Writes text for people and CI systems. It replaces control characters and characters that reorder text
/// (bidirectional controls) with `\u001b` and the like, which in JSON is the same text. It also escapes the second
/// colon of a line that begins with `::`, and the bracket of `##[`, `##vso[` and `##teamcity[`: the runners of GitHub,
/// Azure and TeamCity interpret such lines as commands.
pub(crate) struct PlainWriter<W> {
    out: W,
    /// The first bytes of a character that is not complete yet.
    held: Vec<u8>,
    place: LinePosition,
    is_for_runner: bool,
}

/// The writer's position in a line, for the detection of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePosition {
    /// Only blanks precede.
    Start,
    /// After a colon that begins the line.
    Colon,
    Inside,
    /// After `#`.
    Hash,
    /// After `##` and letters.
    Word,
}

impl<W: Write> PlainWriter<W> {
    /// Wraps another writer.
    pub(crate) fn new(out: W) -> Self {
        Self { out, held: Vec::new(), place: LinePosition::Start, is_for_runner: false }
    }

    /// Returns a writer for lines that GitHub's runner must interpret as commands.
    pub(crate) fn for_github_commands(&mut self) -> PlainWriter<&mut W> {
        PlainWriter { is_for_runner: true, ..PlainWriter::new(&mut self.out) }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let text = &*secrets::scrub(text);
        let mut from = 0;
        for (at, c) in text.char_indices() {
            if self.needs_escape(c) {
                self.out.write_all(&text.as_bytes()[from..at])?;
                write!(self.out, "\\u{:04x}", u32::from(c))?;
                from = at + c.len_utf8();
            }
        }
        self.out.write_all(&text.as_bytes()[from..])
    }

    fn needs_escape(&mut self, c: char) -> bool {
        let before = self.place;
        self.place = match (before, c) {
            (_, '\n') | (LinePosition::Start, ' ' | '\t') => LinePosition::Start,
            (LinePosition::Start, ':') => LinePosition::Colon,
            (LinePosition::Hash | LinePosition::Word, '#') => LinePosition::Word,
            (_, '#') => LinePosition::Hash,
            (LinePosition::Word, c) if c.is_ascii_alphabetic() => LinePosition::Word,
            _ => LinePosition::Inside,
        };
        let is_command = matches!((before, c), (LinePosition::Colon, ':') | (LinePosition::Word, '['));
        is_control(c) || (is_command && !self.is_for_runner)
    }
}

/// Returns whether a character has an effect on a terminal besides being displayed.
fn is_control(c: char) -> bool {
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}');
    (c.is_control() && c != '\n' && c != '\t') || reorders || breaks_lines
}

impl<W: Write> Write for PlainWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let joined;
        let bytes = match self.held.is_empty() {
            true => buf,
            false => {
                joined = [&self.held, buf].concat();
                &joined
            }
        };
        let mut held = Vec::new();
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.write_text(chunk.valid())?;
            let invalid = chunk.invalid();
            let is_cut = chunks.peek().is_none()
                && invalid.len() < MAX_PARTIAL_CHAR
                && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            match is_cut {
                true => held = invalid.to_vec(),
                false if invalid.is_empty() => {}
                false => self.write_text("\u{fffd}")?,
            }
        }
        self.held = held;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> String {
        let mut writer = PlainWriter::new(Vec::new());
        pieces.iter().for_each(|piece| writer.write_all(piece).unwrap());
        String::from_utf8(writer.out).unwrap()
    }

    #[test]
    fn what_acts_on_a_terminal_or_a_runner_is_shown_instead() {
        let cases = [
            // ECMA-48: CSI, OSC with BEL, a C1 CSI; a CR overwrites the line; DEL.
            ("a\x1b[2Jb", "a\\u001b[2Jb"),
            ("\x1b]0;t\x07", "\\u001b]0;t\\u0007"),
            ("\u{9b}31m", "\\u009b31m"),
            ("ok\rno\x08\x7f\0", "ok\\u000dno\\u0008\\u007f\\u0000"),
            // CVE-2021-42574, "Trojan Source": the bidirectional controls.
            ("\u{202e}txt\u{2066}\u{2069}\u{200f}", "\\u202etxt\\u2066\\u2069\\u200f"),
            // GitHub's runner (ActionCommand.cs) trims the line, and finds `##[` anywhere in it.
            ("x\n::error::y", "x\n:\\u003aerror::y"),
            ("x\n \t::stop-commands::y", "x\n \t:\\u003astop-commands::y"),
            ("x ##[error]y", "x ##\\u005berror]y"),
            ("##vso[task.setvariable]", "##vso\\u005btask.setvariable]"),
            ("##teamcity[x] ###[x]", "##teamcity\\u005bx] ###\\u005bx]"),
            // Harmless text passes unchanged.
            (
                "## Heading [a]\n| a::b | µ─é | #[x]\n\ttab : : \"::x\"",
                "## Heading [a]\n| a::b | µ─é | #[x]\n\ttab : : \"::x\"",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(written(&[text.as_bytes()]), shown);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(written(&bytes), shown, "byte by byte");
        }
        assert_eq!(written(&[b"a\xFFb", b"c\xE2\x80"]), "a\u{FFFD}bc", "bytes that are not UTF-8");
    }

    #[test]
    fn a_command_for_the_runner_is_left_to_it() {
        let mut writer = PlainWriter::new(Vec::new());
        writer.for_github_commands().write_all("::error::a\x1b\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(writer.out).unwrap(), "::error::a\\u001b\n");
    }

    #[test]
    fn a_message_breaks_lines_only_where_we_do() {
        let cases = [
            ("one line", "one line"),
            ("warning: two\n  lines", "warning: two\n  lines"),
            ("server said: <html>\r\n<head>\n\n::error::x", "server said: <html> <head> ::error::x"),
            ("a\tb\x0bc", "a b c"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable_message(text), shown);
        }
        assert_eq!(one_line(" a\r\n\tb \x1b c"), "a b c");
    }

    #[test]
    fn names_stay_names_in_markdown_csv_and_folders() {
        let escaped = "&lt;img src=x>\\|\\`a\\` &#64;me # b [c]\\(http://d) [1, 2] e_f";
        assert_eq!(markdown("<img src=x>|`a` @me\n# b [c](http://d) [1, 2] e_f"), escaped);
        for (text, shown) in
            [("=1+1.json", "'=1+1.json"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("a=1", "a=1")]
        {
            assert_eq!(spreadsheet_cell(text), shown);
        }
        for (text, part) in
            [("../../x", "_._.._x"), ("a/b", "a_b"), (".hidden", "_hidden"), ("night", "night")]
        {
            assert_eq!(file_name_part(text), part);
        }
    }
}
