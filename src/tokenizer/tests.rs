use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::dataset::bundled;
use crate::model::digest::Digest;
use crate::model::units::Secret;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A word tokenizer that puts one special token in front.
fn words() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [{"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "model": {"type": "WordLevel", "vocab": {"?": 0, "<s>": 1, "word": 2}, "unk_token": "?"},
    })
}

fn hub(cache: &Path) -> HfHub {
    HfHub { cache: cache.to_owned(), endpoint: "http://127.0.0.1:1".into(), token: None, offline: true }
}

async fn refusal(name: &str, hub: &HfHub) -> String {
    let text = Tokenizer::resolve(name, hub).await.expect_err(name).to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn special_tokens_are_counted_in_a_prompt_and_not_in_plain_text() {
    let tokenizer: Tokenizer =
        LocalTokenizer::from_bytes(words().to_string().as_bytes(), "w".into()).unwrap().into();
    assert_eq!(tokenizer.count("a b c"), Ok(4));
    assert_eq!(tokenizer.count_plain("a b c"), Ok(3));
    assert_eq!(tokenizer.count_batch(&["", "a", "a b"]), Ok(vec![1, 2, 3]));
    assert_eq!(tokenizer.special_token_count(), Ok(1));
    assert_eq!(tokenizer.token_source(), TokenSource::Tokenizer);
}

#[test]
fn truncation_and_padding_of_the_file_are_not_applied() {
    let mut json = words();
    json["truncation"] =
        json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null,
                             "pad_id": 0, "pad_type_id": 0, "pad_token": "?"});
    let local = LocalTokenizer::from_bytes(json.to_string().as_bytes(), "w".into()).unwrap();
    assert_eq!(local.count("a b c d e f", SpecialTokens::Add), Ok(7));
}

#[test]
fn special_tokens_are_no_ordinary_ids() {
    let local = LocalTokenizer::from_bytes(words().to_string().as_bytes(), "w".into()).unwrap();
    assert_eq!(local.ordinary_ids(), [0, 2]);
}

#[test]
fn the_bundled_tokenizer_gives_text_back() {
    let Tokenizer::Local(local) = bundled::tokenizer() else { panic!("it is a file") };
    for text in
        ["How do I sort a list in Python?", "  two  spaces\n\n\ttab", "你好，世界", "naïve 😀 \u{7}", ""]
    {
        assert_eq!(local.decode(&local.encode(text).unwrap()).unwrap(), text);
    }
    assert_eq!(local.digest(), &Digest::from_bytes(&bundled::tokenizer_json()));
}

#[test]
fn a_server_counts_or_says_why_not() {
    let asks = |text: &str, specials| match text {
        "bad" => Err("HTTP 404".to_owned()),
        _ => Ok(text.len() as u32 + u32::from(specials == SpecialTokens::Add)),
    };
    let tokenizer = Tokenizer::remote("http://x/tokenize", Arc::new(asks));
    assert_eq!((tokenizer.count("abc"), tokenizer.count_plain("abc")), (Ok(4), Ok(3)));
    let text = tokenizer.count("bad").unwrap_err().to_string();
    assert!(text.contains("http://x/tokenize: HTTP 404; with a tokenizer.json"), "{text}");
    assert_eq!(
        tokenizer.describe(),
        TokenizerOrigin { origin: "http://x/tokenize".into(), sha256: None, source: TokenSource::Tokenizer }
    );
}

#[test]
fn an_estimate_says_that_it_is_one() {
    assert_eq!(Tokenizer::Estimate.token_source(), TokenSource::Estimate);
    assert_eq!(Tokenizer::Estimate.count("four"), Ok(1));
    assert_eq!(Tokenizer::Estimate.special_token_count(), Ok(0));
}

#[tokio::test]
async fn a_file_and_a_folder_are_found() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tokenizer.json");
    fs::write(&file, words().to_string()).unwrap();
    for name in [file.as_path(), folder.path()] {
        let tokenizer = Tokenizer::resolve(&name.display().to_string(), &hub(folder.path())).await.unwrap();
        let expected = Digest::from_bytes(words().to_string().as_bytes());
        assert_eq!(
            tokenizer.describe(),
            TokenizerOrigin {
                origin: file.display().to_string(),
                sha256: Some(expected),
                source: TokenSource::Tokenizer
            }
        );
    }
}

#[tokio::test]
async fn what_is_no_tokenizer_is_refused_with_what_helps() {
    let folder = TempDir::new().unwrap();
    let hub = hub(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    for other in ["vocab.json", "merges.txt", "tekken.json", "tokenizer.model.v3", "tiktoken.model", "x.gguf"]
    {
        fs::create_dir(at(other)).unwrap();
        fs::write(folder.path().join(other).join(other), "{}").unwrap();
        let text = refusal(&at(other), &hub).await;
        assert!(text.contains(&format!("holds no tokenizer.json, but {other} (")), "{text}");
        assert!(text.contains("the server counts") && text.contains("save_pretrained"), "{text}");
    }
    for (name, expected) in [
        (at("nothing"), "no such file or folder"),
        ("./gone".into(), "no such file or folder"),
        ("gone.json".into(), "no such file or folder"),
        ("org/name/more".into(), "nor a hub id"),
        ("org/na me".into(), "nor a hub id"),
        ("org/name@../../x".into(), "nor a hub id"),
        ("".into(), "nor a hub id"),
        ("org/name".into(), "HF_HUB_OFFLINE forbids"),
    ] {
        let text = refusal(&name, &hub).await;
        assert!(text.contains(expected), "{text}");
        for way in ["`workload.tokenizer`", "HF_TOKEN", "HF_ENDPOINT", "the server counts"] {
            assert!(text.contains(way), "{text}");
        }
    }
}

#[tokio::test]
async fn malformed_tokenizer_files_get_one_line_that_names_file_and_cause() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.json");
    let whole = words().to_string();
    let mut unknown = words();
    unknown["model"]["type"] = "Telepathy".into();
    for content in [
        "".as_bytes(),
        b"\n",
        b"not json",
        b"[]",
        b"{}",
        b"\x1f\x8b\x08",
        b"{\"version\": \"9.9\"}",
        &whole.as_bytes()[..whole.len() / 2],
        unknown.to_string().as_bytes(),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    ] {
        fs::write(&path, content).unwrap();
        let text = refusal(&path.display().to_string(), &hub(folder.path())).await;
        assert!(text.contains("t.json: not a tokenizer.json that can be used: "), "{text}");
        assert!(text.len() < 500, "{text}");
    }
}

#[tokio::test]
async fn a_download_of_something_else_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.json");
    for (content, words) in [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "it is a Git LFS pointer"),
        ("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is an HTML page"),
        ("<html>", "it is an HTML page"),
    ] {
        fs::write(&path, content).unwrap();
        let text = refusal(&path.display().to_string(), &hub(folder.path())).await;
        assert!(text.contains(words) && !text.contains("expected value"), "{text}");
    }
}

#[tokio::test]
async fn the_cache_is_looked_into_first() {
    let cache = TempDir::new().unwrap();
    let model = cache.path().join("models--org--name");
    let snapshot = model.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(snapshot.join("tokenizer.json"), words().to_string()).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    for name in ["org/name".to_owned(), format!("org/name@{COMMIT}")] {
        assert_eq!(Tokenizer::resolve(&name, &hub(cache.path())).await.unwrap().describe().origin, name);
    }
    assert!(refusal("org/name@other", &hub(cache.path())).await.contains("org/name@other: not in the cache"));
}

#[test]
fn the_environment_is_read_as_the_hub_library_reads_it() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("token"), "hf_stored\n").unwrap();
    let folder = home.path().display().to_string();
    let hub = |variables: &[(&str, &str)]| {
        HfHub::from_vars(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let plain = hub(&[("HOME", "/home/me")]);
    assert_eq!(plain.cache, Path::new("/home/me/.cache/huggingface/hub"));
    assert_eq!(
        (plain.endpoint.as_str(), plain.token, plain.offline),
        ("https://huggingface.co", None, false)
    );
    assert_eq!(hub(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
    let moved = hub(&[("HF_HOME", &folder), ("HF_ENDPOINT", "http://mirror/"), ("HF_HUB_OFFLINE", "true")]);
    assert_eq!(moved.cache, home.path().join("hub"));
    assert_eq!(moved.token, Some(Secret::new("hf_stored")));
    assert_eq!((moved.endpoint.as_str(), moved.offline), ("http://mirror", true));
    let explicit = hub(&[("HF_HOME", &folder), ("HF_HUB_CACHE", "/c"), ("HF_TOKEN", "hf_given")]);
    assert_eq!((explicit.cache.as_path(), explicit.token), (Path::new("/c"), Some(Secret::new("hf_given"))));
    let token_path = home.path().join("token").display().to_string();
    assert_eq!(hub(&[("HF_TOKEN_PATH", &token_path)]).token, Some(Secret::new("hf_stored")));
    assert_eq!(hub(&[("HF_HUB_OFFLINE", "0"), ("HF_TOKEN", " ")]).token, None);
}

/// A server that gives one of these answers per connection, and then returns the requests that it received.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap().to_lowercase()
        };
        answers.into_iter().map(answer).collect()
    });
    (endpoint, asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

fn online(cache: &TempDir, endpoint: &str) -> HfHub {
    let token = Some(Secret::new("hf_secret"));
    HfHub { cache: cache.path().to_owned(), endpoint: endpoint.to_owned(), token, offline: false }
}

#[tokio::test]
async fn a_download_is_kept_in_the_cache_and_the_token_stays_with_the_hub() {
    let cache = TempDir::new().unwrap();
    let (files, asked_files) = serve(vec![answer("200 OK", "", &words().to_string())]);
    let headers = format!("location: {files}/blob\r\nx-repo-commit: {COMMIT}\r\n");
    let (endpoint, asked_hub) = serve(vec![answer("302 Found", &headers, "")]);
    let mut hub = online(&cache, &endpoint);
    let first = Tokenizer::resolve("org/name", &hub).await.unwrap();

    let (asked_hub, asked_files) = (asked_hub.join().unwrap(), asked_files.join().unwrap());
    assert!(asked_hub[0].starts_with("get /org/name/resolve/main/tokenizer.json http/1.1"), "{asked_hub:?}");
    assert!(asked_hub[0].contains("authorization: bearer hf_secret"), "{asked_hub:?}");
    assert!(!asked_files[0].contains("hf_secret"), "{asked_files:?}");

    hub.offline = true;
    let second = Tokenizer::resolve("org/name", &hub).await.unwrap();
    assert_eq!(first.describe(), second.describe());
    let kept = cache.path().join("models--org--name/snapshots").join(COMMIT);
    assert_eq!(fs::read_dir(kept).unwrap().count(), 1, "no temporary file is left");
}

#[tokio::test]
async fn a_renamed_model_and_a_hub_without_commits_are_fine() {
    let cache = TempDir::new().unwrap();
    let there = "location: /new/name/resolve/v1/tokenizer.json\r\n";
    let answers =
        vec![answer("307 Temporary Redirect", there, ""), answer("200 OK", "", &words().to_string())];
    let (endpoint, asked) = serve(answers);
    let tokenizer = Tokenizer::resolve("old@v1", &online(&cache, &endpoint)).await.unwrap();
    assert_eq!(tokenizer.describe().origin, "old@v1");
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("get /old/resolve/v1/"), "{asked:?}");
    assert!(asked[1].starts_with("get /new/name/") && asked[1].contains("hf_secret"), "{asked:?}");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_hub_that_refuses_or_breaks_off_gives_one_line_and_leaves_no_file() {
    let commit = format!("x-repo-commit: {COMMIT}\r\n");
    let short = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n{commit}\r\nhalf");
    for (answer, expected) in [
        (
            answer("401 Unauthorized", "", ""),
            "HTTP 401: the model needs access, or does not exist (a token sent)",
        ),
        (answer("403 Forbidden", "", ""), "HTTP 403"),
        (answer("404 Not Found", "", ""), "HTTP 404: no such model or revision"),
        (answer("500 Oops", "", "text"), "HTTP 500; set `workload.tokenizer`"),
        (answer("200 OK", &commit, "<html>"), "org/name: not a tokenizer.json that can be used"),
        (answer("302 Found", "location: http://127.0.0.1:1/\r\n", ""), "onnection refused"),
        (short, "tokenizer.json: "),
        ("SSH-2.0-OpenSSH\r\n\r\n".into(), "tokenizer.json: "),
    ] {
        let cache = TempDir::new().unwrap();
        let (endpoint, asked) = serve(vec![answer]);
        let text = refusal("org/name", &online(&cache, &endpoint)).await;
        asked.join().unwrap();
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("hf_secret"), "{text}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "{text}");
    }
    let cache = TempDir::new().unwrap();
    let text = refusal("org/name", &online(&cache, "http://127.0.0.1:1")).await;
    assert!(text.contains("onnection refused"), "{text}");
    assert!(refusal("org/name", &online(&cache, "no url")).await.contains("set `workload.tokenizer`"));
}

#[test]
fn special_is_what_a_configuration_names_and_without_one_what_the_tokenizer_marks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, bundled::tokenizer_json()).unwrap();
    let ids = || LocalTokenizer::from_file(&path, "x".into()).unwrap().non_special_ids();
    let alone = ids();
    assert_eq!(alone[0], 1, "the bundled tokenizer marks token 0, <|endoftext|>");
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"eos_token": "<|endoftext|>"}"#).unwrap();
    assert_eq!(ids(), alone);
    std::fs::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
    assert_eq!(ids()[0], 0);
    assert_eq!(ids()[1..], alone);
}
