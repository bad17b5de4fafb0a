//! Tests of the errors for files that cannot be read as the given dataset.

use super::*;

/// Faults that are the same for every dataset, and the expected message for each.
const BROKEN_LINES: &[(&str, &[u8], &str)] = &[
    ("an empty file", b"", "is empty; a "),
    ("blank lines", b"\n \n", "is empty; a "),
    ("no JSON", b"prompt,answer\n", "line 1 column 1: not JSON"),
    ("a binary file", b"\x00\x01\x02\x03", "line 1 column 1: not JSON"),
    ("a line that is a number", b"5\n", "line 1 column 1: expected"),
    ("a line that is a string", b"\"text\"\n", "line 1 column 6: expected"),
    ("a record without its columns", b"{\"other\": 1}\n", "line 1"),
    (
        "a second line that breaks off",
        b"GOOD\n{\"turns\": [\"a",
        "line 2 column 13: the file ends in the middle",
    ),
    ("a line in Latin-1", b"GOOD\n{\"x\": \"caf\xe9\"}\n", "line 2 column 10: not UTF-8"),
    ("a line in UTF-16", b"\xff\xfe{\0", "line 1: not UTF-8"),
    ("gzip that breaks off", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
];

/// A dataset with one record a line: its name, its constructor, a valid line, and invalid lines with their messages.
type Loader = (&'static str, fn(PathBuf) -> Dataset, &'static str, &'static [(&'static str, &'static str)]);

const LOADERS: &[Loader] = &[
    (
        "custom",
        |path| Dataset::Custom { path, output_len: None },
        r#"{"prompt": "a", "output_tokens": 1}"#,
        &[
            (r#"{"prompt": 5}"#, "expected a string, found a number"),
            (r#"{"prompt": "a"}"#, "no `output_tokens`"),
            (r#"{"prompt": "a", "output_tokens": "many"}"#, "must be a number of tokens"),
            (r#"{"prompt": "a", "output_tokens": -1}"#, "must be a number of tokens"),
        ],
    ),
    (
        "spec_bench",
        spec_bench,
        r#"{"turns": ["a"]}"#,
        &[
            (r#"{"turns": "a"}"#, "expected an array, found a string"),
            (r#"{"turns": [1]}"#, "expected a string, found a number"),
            (r#"{"turns": []}"#, "`turns` is empty"),
            (r#"{"turns": ["a"], "category": 3}"#, "expected a string, found a number"),
        ],
    ),
    (
        "speed_bench",
        speed_bench,
        r#"{"messages": [{"content": "a"}]}"#,
        &[
            (r#"{"messages": [{"content": 1}]}"#, "expected a string, found a number"),
            (r#"{"messages": [{"role": "user"}]}"#, "missing field `content`"),
            (r#"{"messages": []}"#, "neither `messages` nor `turns` with a text"),
        ],
    ),
    (
        "hf",
        |path| Dataset::Hf(hf(path)),
        r#"{"prompt": "a b c d"}"#,
        &[(r#"{"a": 1, "b": 2}"#, "among the columns a, b; `hf.text_column`"), ("{}", "`hf.text_column`")],
    ),
    (
        "custom_image",
        |path| Dataset::CustomImage(media(path)),
        r#"{"prompt": "a", "image_files": ["b"]}"#,
        &[
            (r#"{"prompt": "a"}"#, "neither `content` nor both `prompt` and `image_files`"),
            (r#"{"prompt": "a", "image_files": []}"#, "`image_files` is empty"),
            (r#"{"prompt": "a", "image_files": "b"}"#, "expected an array, found a string"),
            (r#"{"content": []}"#, "`content` is empty"),
            (r#"{"content": [{"text": "a"}]}"#, "no text in `type`"),
            (r#"{"content": [{"type": "video"}]}"#, "not one of text, image, image_url"),
            (r#"{"content": [{"type": "text", "text": 1}]}"#, "no text in `text`"),
            (r#"{"content": [{"type": "image_url", "image_url": 1}]}"#, "no URL in `image_url`"),
            (r#"{"content": [{"type": "image_url", "image_url": {}}]}"#, "no text in `image_url.url`"),
        ],
    ),
    (
        "custom_audio",
        |path| Dataset::CustomAudio(media(path)),
        r#"{"audio": "a.wav"}"#,
        &[
            (r#"{"prompt": "a"}"#, "missing field `audio`"),
            (r#"{"audio": 5}"#, "expected a string, found a number"),
        ],
    ),
];

#[test]
fn malformed_files_get_one_line_that_names_file_place_and_cure() {
    let files = Files::new();
    for (name, dataset, good, wrong) in LOADERS {
        let refused = |content: &[u8]| {
            let path = files.file("data.jsonl", content);
            let wanted = run_spec::WorkloadSpec {
                strict: true,
                ..run_spec::WorkloadSpec::new(dataset(path.clone()), 3)
            };
            let error = files.prepare(&wanted).expect_err(name);
            assert!(error.starts_with(&format!("{}: ", path.display())), "{name}: {error}");
            assert!(!error.contains('\n') && error.chars().count() < 600, "{name}: {error}");
            error
        };
        for (kind, content, expected) in BROKEN_LINES {
            let content = replace(content, b"GOOD", good.as_bytes());
            let error = refused(&content);
            assert!(error.contains(expected), "{name}, {kind}: {error}");
        }
        for (line, expected) in *wrong {
            let error = refused(format!("{good}\n{line}\n").as_bytes());
            assert!(error.contains("line 2") && error.contains(expected), "{name}: {error}");
        }
        let endless = [good.as_bytes(), b"\n{\"x\": \"", &vec![b'x'; 33 << 20][..]].concat();
        let error = refused(&endless);
        assert!(error.contains("line 2") && error.contains("longer than 32 MiB"), "{name}: {error}");
        let missing =
            files.prepare(&run_spec::WorkloadSpec::new(dataset(files.path("no.jsonl")), 1)).expect_err(name);
        assert!(missing.contains("no.jsonl: no such file; check `dataset.path`"), "{name}: {missing}");
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match text.strip_prefix(from) {
        Some(rest) => [to, rest].concat(),
        None => text.to_vec(),
    }
}

#[test]
fn malformed_arrays_name_the_entry() {
    let files = Files::new();
    for (kind, content, expected) in [
        (
            "cut in a string",
            r#"[{"turns": ["a"]}, {"turns": ["b"#,
            "entry 2, line 1 column 32: the file ends",
        ),
        ("a record that is none", r#"[{"turns": ["a"]}, 5]"#, "entry 2, line 1"),
        (
            "a record without a text",
            r#"[{"turns": ["a"]}, {"turns": []}]"#,
            "entry 2, line 1: `turns` is empty",
        ),
        ("something behind it", r#"[{"turns": ["a"]}] 5"#, "line 1 column 20: not JSON"),
        ("no entries", "[]", "is empty; a "),
    ] {
        let path = files.file("data.json", content);
        let wanted =
            run_spec::WorkloadSpec { strict: true, ..run_spec::WorkloadSpec::new(spec_bench(path), 3) };
        let error = files.prepare(&wanted).expect_err(kind);
        assert!(error.contains(expected) && error.lines().count() == 1, "{kind}: {error}");
    }
}

#[test]
fn a_poem_that_is_none_is_told() {
    let files = Files::new();
    for (kind, content, expected) in [
        ("an empty file", &b""[..], "is empty; a poem is"),
        ("Latin-1", b"fine\ncaf\xe9\n", "line 2: not UTF-8; convert"),
        ("white space", b" \n \n", "the text has no tokens"),
        ("gzip that breaks off", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "cannot be read"),
    ] {
        let path = files.file("poem.txt", content);
        let error = files
            .prepare(&run_spec::WorkloadSpec::new(Dataset::Sonnet(sonnet(Some(path))), 1))
            .expect_err(kind);
        assert!(error.contains(expected) && error.lines().count() == 1, "{kind}: {error}");
    }
}
