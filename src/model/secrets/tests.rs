use serde_json::json;

use super::*;

#[test]
fn keys_are_secret_by_their_words() {
    // Secrets of OpenAI, Azure (api-key, Ocp-Apim-Subscription-Key, SAS `sig`), AWS (X-Amz-*), Google (key), vLLM,
    // the hub.
    let secret = [
        "api_key",
        "apiKey",
        "X-API-Key",
        "apikey",
        "key",
        "Authorization",
        "Proxy-Authorization",
        "token",
        "access_token",
        "accessToken",
        "HF_TOKEN",
        "client_secret",
        "password",
        "Ocp-Apim-Subscription-Key",
        "sig",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "Cookie",
        "aws_bearer_token",
        "private_key",
        "auth",
        "session-token",
    ];
    for key in secret {
        assert!(is_secret_key(key), "{key}");
    }
    let plain = [
        "max_tokens",
        "max_completion_tokens",
        "stop_token_ids",
        "eos_token_id",
        "tokenizer",
        "eos_token",
        "bos_token",
        "prompt_cache_key",
        "client-key",
        "rendezvous-key",
        "tls-secret",
        "token_type",
        "keyboard",
        "author",
        "monkey",
        "model",
        "temperature",
        "TOKENIZERS_PARALLELISM",
        "min_tokens",
        "ignore_eos",
        "content-type",
        "x-request-id",
        "thinking_token_budget",
    ];
    for key in plain {
        assert!(!is_secret_key(key), "{key}");
    }
}

#[test]
fn urls_keep_their_place_only() {
    let cases = [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://u:PW@h/metrics?token=T", "http://***@h/metrics?token=***"),
        ("http://PW@h", "http://***@h"),
        ("/v1/completions?api_key=E", "/v1/completions?api_key=***"),
        (
            "https://h/openai?api-version=2024-02-01&code=C&flag",
            "https://h/openai?api-version=2024-02-01&code=***&***",
        ),
        ("http://[::1]:8000/a", "http://[::1]:8000/a"),
        ("http://h:{port}/", "http://h:{port}/"),
        ("http://u:p/w@h:1/x", "http://***@h:1/x"),
        ("http://u:p?w@h/x", "http://***?***"),
        ("u:PW@h:8000", "***@h:8000"),
        ("htp://u:PW@h", "htp://***@h"),
        ("http://h/a#access_token=T", "http://h/a#***"),
        ("org/name@revision", "org/name@revision"),
    ];
    for (text, shown) in cases {
        assert_eq!(mask_url(text), shown, "{text}");
    }
}

#[test]
fn bodies_are_masked_however_deep() {
    let body = json!({
        "api_key": "B", "user": {"accessToken": "B", "n": 1}, "list": [{"password": 5}], "max_tokens": 3,
        "image": "https://h/i.png?X-Amz-Signature=B", "stop": null, "token": null,
    });
    let shown = json!({
        "api_key": "***", "user": {"accessToken": "***", "n": 1}, "list": [{"password": "***"}], "max_tokens": 3,
        "image": "https://h/i.png?X-Amz-Signature=***", "stop": null, "token": null,
    });
    assert_eq!(mask_json(&body), shown);
}

#[test]
fn command_lines_are_masked_however_they_are_written() {
    let cases = [
        (
            "run --header a=1 b=2=3 --seed 7 --header=c=4 x",
            "run --header a=*** b=*** --seed 7 --header=c=*** x",
        ),
        (
            "serve m --api-key S k2 --hf-token=S --max-num-batched-tokens 9",
            "serve m --api-key *** *** --hf-token=*** --max-num-batched-tokens 9",
        ),
        (
            "--metrics-url http://u:S@h/m --push-metrics=http://h/p?tok=S",
            "--metrics-url http://***@h/m --push-metrics=http://h/p?tok=***",
        ),
        ("launch kubernetes --secret keys --tls-secret=b", "launch kubernetes --secret keys --tls-secret=b"),
        ("serve --secret S", "serve --secret ***"),
        ("--endpoint /v1?api_key=S --client-key key.pem", "--endpoint /v1?api_key=*** --client-key key.pem"),
        (r#"--extra-body {"api_key":"S"}"#, r#"--extra-body {"api_key":"***"}"#),
        ("env OPENAI_API_KEY=S N=1 vllm serve org/m@rev", "env OPENAI_API_KEY=*** N=1 vllm serve org/m@rev"),
        ("--base-url http://h:8000 --num-prompts 3 -- -1", "--base-url http://h:8000 --num-prompts 3 -- -1"),
    ];
    for (line, shown) in cases {
        let line: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        assert_eq!(mask_args(&line).join(" "), shown);
    }
    let shell = ["sh", "-c", "A=1 vllm serve m --api-key S --port 1"].map(ToOwned::to_owned);
    assert_eq!(mask_args(&shell)[2], "A=1 vllm serve m --api-key *** --port 1");
    let curl = ["-H", "Authorization: Bearer S"].map(ToOwned::to_owned);
    assert_eq!(mask_args(&curl)[1], "Authorization:***");
}

#[test]
fn what_was_masked_once_is_scrubbed_from_texts() {
    mask_url("http://user:planted-in-a-test@h");
    mask_header("x-api-key=Bearer planted-too-here");
    let text = scrub("no access for planted-in-a-test (planted-too-here)");
    assert_eq!(text, "no access for *** (***)");
    mask_header("x-api-key=Q7-x");
    let echoed = "bad key `Q7-x`, not Q7-xy or aQ7-x; key=Q7-x";
    assert_eq!(scrub_quoted(echoed), "bad key `***`, not Q7-xy or aQ7-x; key=***", "whole words alone");
    assert_eq!(scrub(echoed), echoed, "a short one stays in our own words");
}

#[test]
fn malformed_json_that_may_hold_a_key_is_not_quoted() {
    for text in [r#"{"api_key":"planted-1""#, r#"["planted-2"]"#, "api_key=planted-3", "planted-4"] {
        for flag in ["extra-body", "chat-template-kwargs"] {
            assert_eq!(mask_flag_value(flag, text), "***", "{flag} {text}");
        }
    }
    assert_eq!(mask_flag_value("extra-body", r#"{"n":1}"#), r#"{"n":1}"#);
}

#[test]
fn credentials_are_scrubbed_in_every_form_that_a_server_may_repeat() {
    mask_url("http://pairuser01:pw%2Fplanted@proxy:3128");
    let echoed =
        "denied: pairuser01:pw/planted; pairuser01; pw%2Fplanted; Basic cGFpcnVzZXIwMTpwdy9wbGFudGVk";
    assert_eq!(scrub_quoted(echoed), "denied: ***; ***; ***; Basic ***");
    mask_header("Authorization: Basic YmFzaWN1c2VyMDE6YmFzaWMtcGxhbnRlZA==");
    let echoed = "basicuser01:basic-planted; basic-planted; YmFzaWN1c2VyMDE6YmFzaWMtcGxhbnRlZA==";
    assert_eq!(scrub_quoted(echoed), "***; ***; ***");
    mask_url("http://h/?code=query%3Dplanted");
    assert_eq!(scrub_quoted("code query=planted"), "code ***");
}

#[test]
fn any_header_may_hold_a_secret_except_the_usual_ones() {
    mask_header("X-Team=team-planted-key");
    mask_header("cookie: a=1; session=cookie-planted");
    for (name, value) in
        [("User-Agent", "agent-planted"), ("content-type", "application/planted"), ("x-team", "canary1")]
    {
        mask_header(&format!("{name}={value}"));
        assert_eq!(scrub_quoted(value), value);
    }
    assert_eq!(scrub_quoted("no team team-planted-key, cookie-planted"), "no team ***, ***");
    assert_eq!(scrub("team-planted-key"), "team-planted-key", "our own texts may have an ordinary word");
    assert_eq!(scrub_generated("it is team-planted-key"), "it is ***");
}
