use super::*;
use crate::testing::scripted_server::{Script, ScriptedServer, json, refusing_port, serve, target};

/// A server that sends this answer to the only request.
fn answering(answer: String) -> (ScriptedServer, AdminClient) {
    let stage = serve(vec![Script::Answers(vec![answer])]);
    let control = AdminClient::new(&stage.target()).unwrap();
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
    let control = AdminClient::new(&target("http", port)).unwrap();
    let unreachable = control.models().await.unwrap_err().to_string();
    assert_eq!(
        unreachable,
        format!("cannot connect to http://127.0.0.1:{port}/v1/models: connection refused")
    );
}

/// The cases match those of measured answers: see `client::tests::answers`.
#[tokio::test]
async fn an_answer_that_is_none_says_what_it_is() {
    for (answer, words) in [
        (
            "HTTP/1.1 301 Moved Permanently\r\nlocation: https://h/v1/models\r\ncontent-length: 6\r\n\r\n<html>",
            "HTTP 301: redirects to https://h/v1/models",
        ),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP 404: no text"),
        (
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 40\r\n\r\n<html><title>502 Bad\n Gateway</title>  \n",
            "HTTP 502: 502 Bad Gateway",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab", "it is gzip-encoded"),
        ("\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0", "HTTP/2"),
    ] {
        let (_stage, control) = answering(answer.to_owned());
        let error = control.models().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let folded = "HTTP/1.1 200 OK\r\nx: a\r\n  b\r\ncontent-length : 11\r\n\r\n{\"data\":[]}".to_owned();
    assert_eq!(answering(folded).1.models().await.unwrap(), []);
}

/// TensorRT-LLM's `/metrics` page is JSON that each read empties; its page in the Prometheus format has another path.
#[tokio::test]
async fn a_page_of_json_sends_us_to_the_other_page_once() {
    let page = "trtllm_num_requests_running{model_name=\"m\"} 3\n";
    let asked = async |answers: Vec<String>| {
        // Each answer ends its connection, and says so.
        let closing = |answer: String| answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        let scripts = answers.into_iter().map(|answer| Script::Answers(vec![closing(answer)]));
        let stage = serve(scripts.collect());
        let control = AdminClient::new(&stage.target()).unwrap();
        let texts = [control.metrics_page().await.unwrap(), control.metrics_page().await.unwrap()];
        let requests = stage.requests();
        let paths = requests.iter().map(|request| request.split(' ').nth(1).unwrap().to_owned());
        (texts, paths.collect::<Vec<_>>())
    };
    let ok = |body: &str| json("200 OK", body);
    let missing = || json("404 Not Found", "{\"detail\":\"Not Found\"}");
    let (texts, paths) = asked(vec![ok("[]"), ok(page), ok(page)]).await;
    assert_eq!(
        (texts, paths.as_slice()),
        (
            [page, page].map(str::to_owned),
            ["/metrics", "/prometheus/metrics", "/prometheus/metrics"].map(str::to_owned).as_slice()
        )
    );
    let (texts, paths) = asked(vec![ok("[]"), missing(), ok("[]")]).await;
    assert_eq!(
        (texts, paths.as_slice()),
        (
            ["[]", "[]"].map(str::to_owned),
            ["/metrics", "/prometheus/metrics", "/metrics"].map(str::to_owned).as_slice()
        )
    );
    let (texts, paths) = asked(vec![ok("[]"), ok(""), ok("[]"), ok(page)]).await;
    assert_eq!((texts[1].as_str(), paths.len()), (page, 4), "nothing was counted yet");
}

#[tokio::test]
async fn a_page_that_does_not_end_says_so() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nvllm:x 1\n".to_owned();
    let stage = serve(vec![Script::Open(head)]);
    let target = Target { timeout: Duration::from_millis(300), ..stage.target() };
    let error = AdminClient::new(&target).unwrap().metrics_page().await.unwrap_err().to_string();
    let words = "HTTP 200, but not the expected answer (it did not end in time, after 9 bytes)";
    assert!(error.ends_with(words), "{error}");
}
