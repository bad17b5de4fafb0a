//! Text of a run that somebody else chose: model names, server versions, error messages, labels.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_visible_and_long_names_are_cut() {
        assert_eq!(foreign_text("a\u{1b}[31m\u{202e}b\nc", NAME), "a\\u001b[31m\\u202eb c");
        let long = foreign_text(&"ü".repeat(10_240), NAME);
        assert!(long.starts_with("üü") && long.ends_with("ü… (10240 characters)"), "{long}");
        assert_eq!(long.chars().filter(|c| *c == 'ü').count(), NAME);
    }
}
