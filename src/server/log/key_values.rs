//! Parsers for the parts of vLLM's lines: `Key: 12.3 unit, Key: 4 unit`.

/// Returns the keys with their values, in order. A part without a key is another value of the previous key.
pub(super) fn key_values(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let (mut last, mut rest) = ("", Some(text));
    std::iter::from_fn(move || {
        let text = rest?;
        let piece = match split_at_mark(text, b',') {
            Some((piece, after)) => {
                rest = Some(after);
                piece
            }
            None => rest.take()?,
        };
        let (key, value) = split_at_mark(piece, b':').unwrap_or((last, piece));
        last = key;
        Some((key.trim(), value))
    })
}

/// Splits at the first mark that a blank follows. Setting up a substring search for two bytes would take longer than
/// this loop.
fn split_at_mark(text: &str, mark: u8) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let at = memchr::memchr_iter(mark, bytes).find(|at| bytes.get(at + 1) == Some(&b' '))?;
    Some((&text[..at], &text[at + 2..]))
}

/// Parses a number followed by its unit. If the unit is missing, the line may have been cut off inside the number.
pub(super) fn quantity(text: &str, unit: &str) -> Option<f64> {
    let (number, rest) = leading_number(text);
    if rest.starts_with(unit) { finite(number) } else { None }
}

/// Parses a share in percent: `67.3%` is 0.673.
pub(super) fn percent_share(text: &str) -> Option<f64> {
    quantity(text, "%").map(|percent| percent / 100.0)
}

pub(super) fn number(text: &str) -> Option<f64> {
    finite(leading_number(text).0)
}

/// Parses a count with its unit, with or without thousands separators: `4,194,304 tokens`.
pub(super) fn count(text: &str, unit: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !rest.starts_with(unit) {
        return None;
    }
    digits.replace(',', "").parse().ok()
}

fn leading_number(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    // A period at the end belongs to the sentence, not to the number.
    let (number, _) = text.split_at(end);
    let number = number.strip_suffix('.').unwrap_or(number);
    (number, &text[number.len()..])
}

/// The largest plausible value; it keeps sums finite for any input.
const MAX_VALUE: f64 = 1e15;

fn finite(number: &str) -> Option<f64> {
    number.parse().ok().filter(|value| (0.0..=MAX_VALUE).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_values_and_a_piece_without_a_key_is_one_more() {
        let found: Vec<_> = key_values("Accepted: 4,194 tokens, Rates: 0.9, 0.6, Größe: 1:2,3, ").collect();
        let expected = [
            ("Accepted", "4,194 tokens"),
            ("Rates", "0.9"),
            ("Rates", "0.6"),
            ("Größe", "1:2,3"),
            ("Größe", ""),
        ];
        assert_eq!(found, expected);
        assert_eq!(key_values("").collect::<Vec<_>>(), [("", "")]);
    }
}
