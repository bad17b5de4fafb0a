use super::*;
use crate::drive::client::stage::{Scene, Stage, json, play, refusing_port, target};

/// The server's answer to the only question.
fn answering(answer: String) -> (Stage, Control) {
    let stage = play(vec![Scene::Answers(vec![answer])]);
    let control = Control::new(&stage.target()).unwrap();
    (stage, control)
}

#[tokio::test]
async fn models_are_listed_with_what_the_server_tells() {
    let body = r#"{"object":"list","data":[
        {"id":"tiny","object":"model","root":"/models/tiny","max_model_len":2048,"permission":[{}]}, {"id":"b"}]}"#;
    let (stage, control) = answering(json("200 OK", body));
    let card = |id: &str, root: Option<&str>, max_model_len| ModelCard {
        id: id.into(),
        root: root.map(Into::into),
        max_model_len,
    };
    let expected = [card("tiny", Some("/models/tiny"), Some(2048)), card("b", None, None)];
    assert_eq!(control.models().await.unwrap(), expected);
    let request = stage.requests().remove(0);
    assert!(
        request.starts_with("GET /v1/models HTTP/1.1\r\n") && request.contains("Bearer sk-1"),
        "{request}"
    );
}

#[tokio::test]
async fn the_server_counts_tokens_without_special_ones() {
    let (stage, control) = answering(json("200 OK", r#"{"count":10,"max_model_len":2048,"tokens":[1027]}"#));
    assert_eq!(control.tokenize("tiny", "The quick brown fox", false).await.unwrap(), 10);
    let request = stage.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /tokenize HTTP/1.1\r\n"), "{head}");
    let expected = json!({ "model": "tiny", "prompt": "The quick brown fox", "add_special_tokens": false });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn a_version_is_told_or_not() {
    let (_stage, control) = answering(json("200 OK", r#"{"version":"0.32.0"}"#));
    assert_eq!(control.version().await.as_deref(), Some("0.32.0"));
    let (_stage, control) = answering(json("404 Not Found", r#"{"detail":"Not Found"}"#));
    assert_eq!(control.version().await, None);
}

#[tokio::test]
async fn errors_name_url_status_and_body() {
    let (_stage, control) = answering(json("404 Not Found", r#"{"detail":"Not Found"}"#));
    let refused = control.models().await.unwrap_err().to_string();
    assert!(refused.contains("/v1/models: HTTP 404: {\"detail\":\"Not Found\"}"), "{refused}");

    let (_stage, control) = answering(json("200 OK", "<html>"));
    let strange = control.models().await.unwrap_err().to_string();
    assert!(strange.contains("/v1/models: HTTP 200") && strange.ends_with("<html>"), "{strange}");

    let (_socket, port) = refusing_port();
    let control = Control::new(&target("http", port)).unwrap();
    let unreachable = control.models().await.unwrap_err().to_string();
    assert!(unreachable.contains("/v1/models: ") && unreachable.contains("os error"), "{unreachable}");
}
