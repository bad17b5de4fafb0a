//! Estimates token counts where there is no tokenizer.

/// Quarters of a token per ASCII character.
const ASCII: u64 = 1;
/// Quarters of a token per character of another alphabet (accents, Greek, Cyrillic, Arabic, Indic scripts).
const ALPHABET: u64 = 2;
/// Quarters of a token per wide character (Chinese, kana, Hangul, their punctuation, emoji).
const WIDE: u64 = 4;

/// Estimates the number of tokens of a text: 1 to 4 characters a token depending on the script, rounded up.
pub(super) fn estimate_tokens(text: &str) -> u32 {
    let quarters: u64 = text.chars().map(quarter_tokens).sum();
    u32::try_from(quarters.div_ceil(4)).unwrap_or(u32::MAX)
}

fn quarter_tokens(character: char) -> u64 {
    match character {
        '\0'..='\u{7f}' => ASCII,
        '\u{80}'..='\u{10ff}' | '\u{1200}'..='\u{2dff}' => ALPHABET,
        _ => WIDE,
    }
}

#[cfg(test)]
mod tests {
    use super::estimate_tokens;

    #[test]
    fn the_estimate_follows_the_script() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("a"), 1);
        assert_eq!(estimate_tokens("four char"), 3);
        assert_eq!(estimate_tokens("добрый"), 3);
        assert_eq!(estimate_tokens("你好，世界"), 5);
        assert_eq!(estimate_tokens("안녕"), 2);
        assert_eq!(estimate_tokens("😀"), 1);
    }
}
