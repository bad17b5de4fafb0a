//! The guess that stands in for a tokenizer.

/// Quarters of a token per ASCII character.
const ASCII: u64 = 1;
/// … per character of another alphabet (accents, Greek, Cyrillic, Arabic, Indic scripts).
const ALPHABET: u64 = 2;
/// … per wide character: Chinese, kana, Hangul, their punctuation, emoji.
const WIDE: u64 = 4;

/// About how many tokens a text has: 1 to 4 characters a token by script, rounded up.
pub fn tokens(text: &str) -> u32 {
    let quarters: u64 = text.chars().map(quarters).sum();
    u32::try_from(quarters.div_ceil(4)).unwrap_or(u32::MAX)
}

fn quarters(character: char) -> u64 {
    match character {
        '\0'..='\u{7f}' => ASCII,
        '\u{80}'..='\u{10ff}' | '\u{1200}'..='\u{2dff}' => ALPHABET,
        _ => WIDE,
    }
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn the_estimate_follows_the_script() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("a"), 1);
        assert_eq!(tokens("four char"), 3);
        assert_eq!(tokens("добрый"), 3);
        assert_eq!(tokens("你好，世界"), 5);
        assert_eq!(tokens("안녕"), 2);
        assert_eq!(tokens("😀"), 1);
    }
}
