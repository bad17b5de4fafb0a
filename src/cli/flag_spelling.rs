//! vLLM's flags may be written with underscores: `--num_prompts` is `--num-prompts`.

use std::ffi::OsString;

/// Replaces underscores in flag names by dashes; values stay unchanged.
pub(super) fn normalize_flags(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    words.map(|word| word.to_str().and_then(dashed_flag).map_or(word, OsString::from))
}

fn dashed_flag(word: &str) -> Option<String> {
    if !word.starts_with("--") {
        return None;
    }
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let name = name.replace('_', "-");
    Some(value.map_or(name.clone(), |value| format!("{name}={value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_in_flag_names_are_dashes_and_values_are_left_alone() {
        let words = ["--num_prompts", "my_model", "--model=a_b", "--result_dir=x_y=z_z", "-x_y", "--a-b"];
        let spelled: Vec<_> = normalize_flags(words.into_iter().map(OsString::from)).collect();
        assert_eq!(
            spelled,
            ["--num-prompts", "my_model", "--model=a_b", "--result-dir=x_y=z_z", "-x_y", "--a-b"]
        );
    }
}
