//! The pieces that vLLM's lines are made of: `Key: 12.3 unit, Key: 4 unit`.

/// The keys with their values, in order. A piece without a key is one more value of the key before.
pub(super) fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let (mut last, mut rest) = ("", Some(text));
    std::iter::from_fn(move || {
        let text = rest?;
        let piece = match cut(text, b',') {
            Some((piece, after)) => {
                rest = Some(after);
                piece
            }
            None => rest.take()?,
        };
        let (key, value) = cut(piece, b':').unwrap_or((last, piece));
        last = key;
        Some((key.trim(), value))
    })
}

/// What is before and after the first such mark that a blank follows. A search for two bytes as a text would take longer
/// to set up than to do.
fn cut(text: &str, mark: u8) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let at = memchr::memchr_iter(mark, bytes).find(|at| bytes.get(at + 1) == Some(&b' '))?;
    Some((&text[..at], &text[at + 2..]))
}

/// A number that is followed by its unit. Without the unit the line may have been cut in the middle of the number.
pub(super) fn quantity(text: &str, unit: &str) -> Option<f64> {
    let (number, rest) = leading_number(text);
    if rest.starts_with(unit) { finite(number) } else { None }
}

/// A share from percent: `67.3%` is 0.673.
pub(super) fn share(text: &str) -> Option<f64> {
    quantity(text, "%").map(|percent| percent / 100.0)
}

/// A number without a unit.
pub(super) fn number(text: &str) -> Option<f64> {
    finite(leading_number(text).0)
}

/// A count with its unit, with or without separators of thousands: `4,194,304 tokens`.
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
    // A full stop ends a sentence, not a number.
    let (number, _) = text.split_at(end);
    let number = number.strip_suffix('.').unwrap_or(number);
    (number, &text[number.len()..])
}

/// No server has more than this of anything; it keeps sums finite whatever a line says.
const MOST: f64 = 1e15;

fn finite(number: &str) -> Option<f64> {
    number.parse().ok().filter(|value| (0.0..=MOST).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_values_and_a_piece_without_a_key_is_one_more() {
        let found: Vec<_> = fields("Accepted: 4,194 tokens, Rates: 0.9, 0.6, Größe: 1:2,3, ").collect();
        let expected = [
            ("Accepted", "4,194 tokens"),
            ("Rates", "0.9"),
            ("Rates", "0.6"),
            ("Größe", "1:2,3"),
            ("Größe", ""),
        ];
        assert_eq!(found, expected);
        assert_eq!(fields("").collect::<Vec<_>>(), [("", "")]);
    }
}
