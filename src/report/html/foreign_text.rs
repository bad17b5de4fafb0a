//! Text of a run that somebody else chose: model names, server versions, error messages, labels.

use std::io;

use crate::model::plain_text;

/// The most characters of a name.
pub(super) const NAME: usize = 160;

/// The most characters of a command line, a message or a piece of advice.
pub(super) const MESSAGE: usize = 2_000;

/// Makes text visible as text and cuts it after `most` characters. The page's template escapes its markup.
pub(super) fn foreign_text(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return plain_text::visible(text);
    }
    let kept: String = text.chars().take(most).collect();
    format!("{}… ({count} characters)", plain_text::visible(&kept))
}

/// Makes a name visible as text and cuts it to `most` characters, for a label in a chart.
pub(super) fn label(text: &str, most: usize) -> String {
    let start: String = text.chars().take(most + 1).collect();
    let visible = plain_text::visible(&start);
    if visible.chars().count() <= most {
        return visible;
    }
    visible.chars().take(most - 1).chain(['…']).collect()
}

/// The lines that a text report writes, as text for a page.
pub(super) fn report_lines(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Vec<String> {
    let mut text = Vec::new();
    // Writing into memory does not fail.
    let _ = write(&mut text);
    String::from_utf8_lossy(&text).lines().map(|line| foreign_text(line, MESSAGE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        assert_eq!(label("a\u{1b}b", 26), "a\\u001bb");
        assert_eq!(label(&"ü".repeat(10_240), 4), "üüü…");
        assert_eq!(label("four", 4), "four");
    }

    #[test]
    fn control_characters_are_visible_and_long_names_are_cut() {
        assert_eq!(foreign_text("a\u{1b}[31m\u{202e}b\nc", NAME), "a\\u001b[31m\\u202eb c");
        let long = foreign_text(&"ü".repeat(10_240), NAME);
        assert!(long.starts_with("üü") && long.ends_with("ü… (10240 characters)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'ü').count(), NAME);
    }
}
