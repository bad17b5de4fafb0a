//! The command line as it is stored: without what must not leave the process.

use crate::cli::settings::secret::masked;

/// Masks the values of `--header` and of whatever else is secret.
pub fn secrets(words: Vec<String>) -> Vec<String> {
    let mut in_headers = false;
    words
        .into_iter()
        .map(|word| {
            if word.starts_with("--") {
                in_headers = word == "--header";
                match word.strip_prefix("--header=") {
                    Some(pair) => format!("--header={}", masked(pair)),
                    None => word,
                }
            } else if in_headers {
                masked(&word)
            } else {
                word
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_masked_however_they_are_given() {
        let words = ["servebench", "run", "--header", "a=1", "b=2=3", "--seed", "7", "--header=c=4", "x"];
        let stored = secrets(words.map(str::to_owned).to_vec());
        assert_eq!(stored.join(" "), "servebench run --header a=*** b=*** --seed 7 --header=c=*** x");
    }
}
