//! Identifies tokenizers in other formats than `tokenizer.json`, and files that are mistaken for one, by name and
//! content.

use std::path::Path;

use serde_json::Value;

/// File names of other tokenizer formats with their descriptions, in order of precedence.
const NAMES: [(&str, &str); 10] = [
    ("tekken.json", TEKKEN),
    ("tiktoken.model", TIKTOKEN),
    ("tokenizer.tiktoken", TIKTOKEN),
    ("qwen.tiktoken", TIKTOKEN),
    ("tokenizer.model", "SentencePiece's model (or tiktoken's), an older format"),
    ("spiece.model", SENTENCEPIECE),
    ("vocab.json", VOCABULARY),
    ("vocab.txt", VOCABULARY),
    ("merges.txt", MERGES),
    ("params.json", PARAMS),
];

const TEKKEN: &str = "Mistral's tekken format";
const TIKTOKEN: &str = "tiktoken's ranks";
const SENTENCEPIECE: &str = "SentencePiece's model, an older format";
const GGUF: &str = "a GGUF file: llama.cpp's weights with the tokenizer in them";
const VOCABULARY: &str = "a vocabulary, an older format";
const MERGES: &str = "the merges of a vocabulary, an older format";
const PARAMS: &str = "a model's parameters in Mistral's or Meta's format, no tokenizer";

/// Number of bytes that are read from the beginning of a file.
const MAX_SCANNED_BYTES: usize = 4096;

/// Describes the tokenizer of another format among the file names of a folder or repository, if there is one.
pub(super) fn find_in_names<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<String> {
    let named = NAMES.iter().find(|(name, _)| names.clone().any(|other| other == *name));
    named.map(|(name, what)| format!("{name} ({what})")).or_else(|| {
        let mut others = names.filter_map(|name| Some((name, describe_name(name)?)));
        others.next().map(|(name, what)| format!("{name} ({what})"))
    })
}

/// Describes the tokenizer of another format in a folder. Returns `None` if there is no known one.
pub(super) fn find_in_folder(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    find_in_names(names.iter().map(String::as_str))
}

/// Describes a file that is not a `tokenizer.json`, by its content, or else by its name.
pub(super) fn identify_file(path: &Path, bytes: &[u8]) -> Option<&'static str> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let named = || NAMES.iter().find(|(other, _)| *other == name).map(|(_, what)| *what);
    identify_content(bytes).or_else(named).or_else(|| describe_name(&name))
}

/// Describes what a download saved in place of the file, with the remedy.
pub(super) fn identify_download(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let begins_with =
        |mark: &str| text.get(..mark.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(mark.as_bytes()));
    if begins_with("version https://git-lfs.github.com/spec/") {
        return Some("it is a Git LFS pointer, which stands for the file; `git lfs pull` fetches the file");
    }
    let is_page = ["<!doctype html", "<html", "<head", "<body"].into_iter().any(begins_with);
    is_page.then_some("it is an HTML page, such as one for logging in; download the file itself")
}

/// Describes a file whose name has a part that differs: a version (`tokenizer.model.v3`, `tekken_240911.json` of
/// mistral-common) or a model's name.
fn describe_name(name: &str) -> Option<&'static str> {
    let is_model = name.starts_with("tokenizer.model.") || name.starts_with("tokenizer.mm.model");
    match () {
        () if is_model => Some(SENTENCEPIECE),
        () if name.starts_with("tekken") && has_extension(name, "json") => Some(TEKKEN),
        () if has_extension(name, "tiktoken") => Some(TIKTOKEN),
        () if has_extension(name, "gguf") => Some(GGUF),
        () => None,
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|other| other.eq_ignore_ascii_case(extension))
}

fn identify_content(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"GGUF") {
        return Some(GGUF);
    }
    if bytes.get(8) == Some(&b'{') && bytes.get(..8).is_some_and(|length| length[4..] == [0; 4]) {
        return Some("a safetensors file: weights, no tokenizer");
    }
    if bytes.starts_with(b"#version: ") {
        return Some(MERGES);
    }
    if is_tiktoken(bytes) {
        return Some(TIKTOKEN);
    }
    if bytes.starts_with(b"\x0a")
        && bytes[..bytes.len().min(MAX_SCANNED_BYTES)].contains(&0x15)
        && str::from_utf8(bytes).is_err()
    {
        return Some(SENTENCEPIECE);
    }
    let object = serde_json::from_slice::<Value>(bytes).ok()?;
    let has = |key: &str| object.get(key).is_some();
    let members = object.as_object()?;
    match () {
        () if has("model") && (has("version") || has("added_tokens")) => None,
        () if object["config"]["pattern"].is_string() && object["vocab"].is_array() => Some(TEKKEN),
        () if has("dim") && has("n_layers") => Some(PARAMS),
        () if has("model_type") || has("architectures") => Some("a model's config.json, no tokenizer"),
        () if has("tokenizer_class") || has("chat_template") => {
            Some("a tokenizer_config.json; the tokenizer.json lies beside it")
        }
        () if members.len() > 100 && members.values().all(Value::is_u64) => Some(VOCABULARY),
        () => None,
    }
}

/// Whether each line is a base64-encoded token and its rank.
fn is_tiktoken(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SCANNED_BYTES)]);
    let is_rank = |line: &str| {
        let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        line.split_once(' ').is_some_and(|(token, rank)| {
            !token.is_empty() && token.chars().all(base64) && rank.trim().parse::<u32>().is_ok()
        })
    };
    let mut lines = head.lines().take(3).peekable();
    lines.peek().is_some() && lines.all(is_rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contents are like those of mistral-common's `tekken.json`, OpenAI's `cl100k_base.tiktoken`, Qwen 1's
    /// `qwen.tiktoken`, Kimi's `tiktoken.model`, llama.cpp's GGUF (docs/gguf.md), SentencePiece's protobuf, GPT-2's
    /// `vocab.json`, and Meta's `params.json`.
    #[test]
    fn files_of_other_formats_are_named() {
        let vocabulary: String = (0..200).map(|id| format!(r#""t{id}": {id},"#)).collect();
        let vocabulary = format!("{{{}}}", vocabulary.trim_end_matches(','));
        let tekken =
            br#"{"config":{"pattern":"x","num_vocab_tokens":2},"vocab":[{"rank":0,"token_bytes":"AA=="}]}"#;
        for (name, bytes, expected) in [
            ("tekken.json", &tekken[..], Some(TEKKEN)),
            ("other.json", tekken, Some(TEKKEN)),
            ("tiktoken.model", b"IQ== 0\nIg== 1\nIw== 2\n", Some(TIKTOKEN)),
            ("cl100k_base.tiktoken", b"IQ== 0\nIg== 1", Some(TIKTOKEN)),
            ("model.Q4_K_M.gguf", b"GGUF\x03\0\0\0", Some(GGUF)),
            ("model.gguf", b"", Some(GGUF)),
            ("tokenizer.model", b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02\xff", Some(SENTENCEPIECE)),
            ("vocab.json", vocabulary.as_bytes(), Some(VOCABULARY)),
            ("merges.txt", b"#version: 0.2\n\xc4\xa0 t\n", Some(MERGES)),
            ("merges.txt", b"a b\nc d\n", Some(MERGES)),
            ("bpe.txt", b"#version: 0.2\na b\n", Some(MERGES)),
            ("tokenizer.model.v3", b"", Some(SENTENCEPIECE)),
            ("tokenizer.mm.model.v7m1", b"", Some(SENTENCEPIECE)),
            ("tekken_240911.json", b"{}", Some(TEKKEN)),
            ("params.json", br#"{"dim": 4096, "n_layers": 32, "n_heads": 32}"#, Some(PARAMS)),
            ("config.json", br#"{"model_type": "llama"}"#, Some("a model's config.json, no tokenizer")),
            ("tokenizer.json", br#"{"version":"1.0","model":{"type":"BPE"}}"#, None),
            ("x.json", b"{}", None),
            ("x.json", b"", None),
            ("x", b"hello there", None),
        ] {
            assert_eq!(identify_file(Path::new(name), bytes), expected, "{name}");
        }
    }

    #[test]
    fn of_several_files_the_one_that_tells_most_is_named() {
        let found = |names: &[&str]| find_in_names(names.iter().copied());
        assert!(
            found(&["config.json", "params.json", "tekken.json"])
                .unwrap()
                .starts_with("tekken.json (Mistral")
        );
        assert!(found(&["a.gguf", "b.gguf"]).unwrap().starts_with("a.gguf (a GGUF file"));
        assert!(found(&["tiktoken.model", "tokenizer_config.json"]).unwrap().contains("tiktoken's ranks"));
        assert!(found(&["params.json", "tokenizer.model.v3"]).unwrap().contains("params"));
        assert!(found(&["LICENSE", "tokenizer.model.v3"]).unwrap().starts_with("tokenizer.model.v3 (Sent"));
        assert!(found(&["merges.txt"]).unwrap().contains("merges of a vocabulary"));
        assert!(found(&["merges.txt", "vocab.json"]).unwrap().starts_with("vocab.json (a vocabulary"));
        assert_eq!(found(&["README.md"]), None);
    }
}
