//! Secrets that come back: in the text of a server or a proxy, and in our own words about a wrong value.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::scripted::answer;
use crate::support::{Ended, Program, Scripted};

/// The prefix of every planted secret.
const MARK: &str = "planted";

/// A run of two small requests.
const SMALL: &str = "--dataset-name random --rng native --random-input-len 8 --random-output-len 2 --num-prompts 2 \
                     --allow-invalid --skip-tokenizer-init --disable-tqdm --model m --backend openai-chat";

/// `user:planted-password` and `planted-user:planted-password` in Base64.
const BASIC: &str = "dXNlcjpwbGFudGVkLXBhc3N3b3Jk";
const PROXY_BASIC: &str = "cGxhbnRlZC11c2VyOnBsYW50ZWQtcGFzc3dvcmQ=";

#[track_caller]
fn has_none_of(ended: &Ended, marks: &[&str]) {
    for (place, text) in ended.everything() {
        for mark in marks {
            assert!(!text.contains(mark), "{mark} in {place}: {text}");
        }
    }
}

/// A streamed answer with this text.
fn stream(socket: &mut TcpStream, text: &str) {
    let event = |text: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let body = event(text, "null") + &event("b", "\"length\"") + "data: [DONE]\n\n";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all((head + &body).as_bytes());
}

#[test]
fn a_server_that_answers_with_the_secrets_does_not_make_us_keep_them() {
    let echo = Scripted::start(|head, socket| {
        let heard: Vec<&str> =
            head.lines().filter(|line| line.contains(MARK) || line.contains(BASIC)).collect();
        let heard = format!("{} user:planted-password", heard.join("; "));
        match head.split(' ').nth(1).unwrap_or_default() {
            "/version" => answer(socket, "200 OK", &format!("{{\"version\":\"{heard}\"}}")),
            path if path.starts_with("/v1/chat") => stream(socket, &heard),
            _ => answer(socket, "404 Not Found", &heard),
        }
    });
    let run = Program::new("run --base-url").arg(echo.base_url()).words(SMALL);
    let run = run.words("--save-detailed --record-log log.reclog --header x-team=planted-team-key");
    let ended = run.arg(format!("authorization=Basic {BASIC}")).end().well();
    let (_, saved) = ended.saved();
    let texts = saved["generated_texts"].to_string();
    assert!(texts.contains("x-team: ***") && texts.contains("Basic ***"), "{texts}");
    let version = saved["servegauge"]["environment"]["server_version"].to_string();
    assert!(version.contains("***"), "{version}");
    has_none_of(&ended, &[MARK, BASIC]);
}

#[test]
fn a_proxy_that_repeats_its_password_does_not_make_us_keep_it() {
    let proxy = Scripted::start(|head, socket| {
        let heard = head.lines().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
        let said = format!("denied: {} planted-user:planted-password", heard.unwrap_or_default());
        answer(socket, "407 Proxy Authentication Required", &said);
    });
    let url = proxy.base_url().replace("http://", "http://planted-user:planted-password@");
    let run = format!("run --keep-going --save-detailed -vv {SMALL} --base-url http://x.invalid");
    for words in [
        &*run,
        "plan --prompt-tokens 9 --output-tokens 9 --base-url http://x.invalid",
        "watch --once -vv http://x.invalid/metrics",
        "diagnose --for 1s --url http://x.invalid/metrics",
    ] {
        for name in ["http_proxy", "ALL_PROXY"] {
            let ended = Program::new(words).env(name, &url).end();
            assert_ne!(ended.code, Some(0), "{words}: {}", ended.stdout);
            let is_told = ended.stderr.contains("407");
            assert!(is_told || ended.stdout.contains("407"), "{words}: {}", ended.stderr);
            has_none_of(&ended, &[MARK, PROXY_BASIC]);
        }
    }
}

#[test]
fn an_address_of_the_hub_is_shown_without_its_secrets() {
    for words in [
        "run --sim --dataset-name hf --dataset-path org/none",
        "run --sim --dataset-name speed_bench",
        "run --sim --tokenizer org/none",
    ] {
        let run = Program::new(words).env("HF_HOME", "hub").env("HF_HUB_OFFLINE", "0");
        let ended = run
            .env("HF_ENDPOINT", "http://u:planted-password@127.0.0.1:9/e?t=planted-query")
            .end()
            .with_code(2);
        assert!(ended.stderr.contains("http://***@127.0.0.1:9/e?t=***"), "{words}: {}", ended.stderr);
        has_none_of(&ended, &[MARK]);
    }
}

#[test]
fn malformed_json_is_not_quoted() {
    let bodies = [r#"{"api_key":"planted-body""#, r#"["planted-body"]"#, "api_key=planted-body"];
    for body in bodies {
        for flag in ["--extra-body", "--chat-template-kwargs"] {
            let ended = Program::new("run --sim").arg(flag).arg(body).end().with_code(2);
            assert!(ended.stderr.contains(&format!("invalid value '***' for '{flag} ")), "{}", ended.stderr);
            has_none_of(&ended, &[MARK]);
        }
        let ended = Program::new("run --sim").env("SERVEGAUGE_EXTRA_BODY", body).end().with_code(2);
        assert!(ended.stderr.contains("SERVEGAUGE_EXTRA_BODY: invalid value '***'"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(MARK), "{}", ended.stderr);
        let file = Program::new("run --sim --config c.toml").file("c.toml", format!("extra-body = '{body}'"));
        let ended = file.end().with_code(2);
        assert!(ended.stderr.contains("c.toml line 1: invalid value '***'"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(MARK), "{}", ended.stderr);
        let after = Program::new("search --slo ttft.p95<1s -- run --sim --extra-body").arg(body);
        assert!(!after.end().with_code(2).stderr.contains(MARK));
    }
    for words in ["--metadata planted-metadata", "--random-mm-limit-mm-per-prompt {planted-limit"] {
        has_none_of(&Program::new("run --sim").words(words).end().with_code(2), &[MARK]);
    }
    let ended = Program::new("run --sim").arg(r#"{"api_key":"planted-body"}"#).end().with_code(2);
    has_none_of(&ended, &[MARK]);
}
