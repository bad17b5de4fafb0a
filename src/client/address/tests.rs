use super::*;

fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap()
}

/// The whole URL that the client requests.
fn asked(url: &str, endpoint: Option<&str>, backend: Backend) -> String {
    let address = parsed(url);
    format!("{}{}", address.server(), address.endpoint(endpoint, backend, false).unwrap())
}

/// The base URLs are those that the named services document for OpenAI's client: vLLM, Zhipu, Gemini, DashScope, Groq,
/// DeepInfra, Fireworks, OpenRouter, Volcengine Ark, Baidu Qianfan, Vertex AI, Azure, Databricks, LM Studio, OpenVINO
/// Model Server, Docker Model Runner, Cloudflare Workers AI, Cohere.
#[test]
fn chats_are_asked_under_the_api_that_the_url_names() {
    for (url, asks) in [
        ("http://h:8000", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/v1", "http://h:8000/v1/chat/completions"),
        ("http://h:8000/v1//", "http://h:8000/v1/chat/completions"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions"),
        ("https://lb/models/a", "https://lb/models/a/v1/chat/completions"),
        ("https://lb/models/a/v1", "https://lb/models/a/v1/chat/completions"),
        ("https://z/api/paas/v4", "https://z/api/paas/v4/chat/completions"),
        ("https://z/api/paas/v4/", "https://z/api/paas/v4/chat/completions"),
        ("https://g/v1beta/openai/", "https://g/v1beta/openai/chat/completions"),
        ("https://d/compatible-mode/v1", "https://d/compatible-mode/v1/chat/completions"),
        ("https://g/openai/v1", "https://g/openai/v1/chat/completions"),
        ("https://d/v1/openai", "https://d/v1/openai/chat/completions"),
        ("https://h/openai", "https://h/openai/chat/completions"),
        ("https://f/inference/v1", "https://f/inference/v1/chat/completions"),
        ("https://o/api/v1", "https://o/api/v1/chat/completions"),
        ("https://a/api/v3", "https://a/api/v3/chat/completions"),
        ("https://b/v2", "https://b/v2/chat/completions"),
        ("http://l:1234/api/v0", "http://l:1234/api/v0/chat/completions"),
        ("http://o:8000/v3", "http://o:8000/v3/chat/completions"),
        ("http://d:12434/engines/llama.cpp/v1", "http://d:12434/engines/llama.cpp/v1/chat/completions"),
        ("https://c/client/v4/accounts/x/ai/v1", "https://c/client/v4/accounts/x/ai/v1/chat/completions"),
        ("https://c/compatibility/v1", "https://c/compatibility/v1/chat/completions"),
        (
            "https://v/v1beta1/projects/p/locations/l/endpoints/openapi",
            "https://v/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions",
        ),
        (
            "https://a/openai/deployments/my-gpt?api-version=2024-06-01",
            "https://a/openai/deployments/my-gpt/chat/completions?api-version=2024-06-01",
        ),
        ("http://h/v1?api-version=2024", "http://h/v1/chat/completions?api-version=2024"),
        ("http://h?api-version=2024", "http://h/v1/chat/completions?api-version=2024"),
        ("http://h/v1/?a=1&b=2#top", "http://h/v1/chat/completions?a=1&b=2"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions/", "http://h/v1/chat/completions"),
        ("https://z/api/paas/v4/chat/completions", "https://z/api/paas/v4/chat/completions"),
        ("https://p/chat/completions", "https://p/chat/completions"),
        (
            "https://d/serving-endpoints/chat/completions?x=1",
            "https://d/serving-endpoints/chat/completions?x=1",
        ),
        ("http://h/v1/models", "http://h/v1/chat/completions"),
        ("http://h/V1", "http://h/V1/chat/completions"),
        ("http://h/models/a/V1/", "http://h/models/a/V1/chat/completions"),
    ] {
        assert_eq!(asked(url, None, Backend::OpenaiChat), asks, "{url}");
    }
}

#[test]
fn each_protocol_has_its_own_path() {
    for (url, backend, asks) in [
        ("http://h/v1", Backend::Openai, "http://h/v1/completions"),
        ("http://h/api/v3", Backend::OpenaiResponses, "http://h/api/v3/responses"),
        ("http://h/v1", Backend::Sglang, "http://h/generate"),
        ("http://h/generate", Backend::Sglang, "http://h/generate"),
        ("http://h", Backend::Tgi, "http://h/generate_stream"),
        ("http://h/generate_stream", Backend::Tgi, "http://h/generate_stream"),
        ("http://h:11434/api", Backend::Ollama, "http://h:11434/api/generate"),
        ("http://h:11434/api/generate", Backend::Ollama, "http://h:11434/api/generate"),
        ("http://h:11434/api/chat", Backend::Ollama, "http://h:11434/api/chat"),
        ("http://h:11434", Backend::Ollama, "http://h:11434/api/generate"),
        ("http://h/v1", Backend::LlamaCpp, "http://h/completion"),
        ("http://h/v2", Backend::TensorrtLlm, "http://h/v2/models/ensemble/generate_stream"),
        ("http://h/V2", Backend::TensorrtLlm, "http://h/V2/models/ensemble/generate_stream"),
        ("http://h/v2/models/bls", Backend::TensorrtLlm, "http://h/v2/models/bls/generate_stream"),
        ("http://h/v2/models/bls/", Backend::TensorrtLlm, "http://h/v2/models/bls/generate_stream"),
        (
            "http://h/lb/v2/models/bls/versions/1",
            Backend::TensorrtLlm,
            "http://h/lb/v2/models/bls/versions/1/generate_stream",
        ),
        (
            "http://h/v2/models/bls/generate_stream",
            Backend::TensorrtLlm,
            "http://h/v2/models/bls/generate_stream",
        ),
        ("http://h/V1", Backend::LlamaCpp, "http://h/completion"),
        ("http://h/v1", Backend::VllmPooling, "http://h/pooling"),
        ("http://h/v1/embeddings", Backend::OpenaiEmbeddings, "http://h/v1/embeddings"),
        ("http://h/v2/rerank", Backend::VllmRerank, "http://h/v2/rerank"),
        ("http://h/v1/audio/translations", Backend::OpenaiAudio, "http://h/v1/audio/translations"),
    ] {
        assert_eq!(asked(url, None, backend), asks, "{url}");
    }
}

#[test]
fn a_given_endpoint_repeats_nothing_and_keeps_its_query() {
    for (url, endpoint, asks) in [
        ("http://h", "/v1/completions", "http://h/v1/completions"),
        ("http://h/v1", "/v1/completions", "http://h/v1/completions"),
        ("http://h/v1", "/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1", "/generate", "http://h/generate"),
        ("http://h/v1", "/anything", "http://h/anything"),
        ("http://h/api/paas/v4", "/chat/completions", "http://h/api/paas/v4/chat/completions"),
        ("http://h/api/paas/v4", "/api/paas/v4/chat/completions", "http://h/api/paas/v4/chat/completions"),
        ("http://h/api/paas/v4", "/anything", "http://h/api/paas/v4/anything"),
        ("http://h/a", "/b?c=1", "http://h/a/b?c=1"),
        ("http://h/v1?a=1", "/v1/completions?b=2", "http://h/v1/completions?a=1&b=2"),
        ("http://h/v1/chat/completions", "/v1/completions", "http://h/v1/completions"),
    ] {
        assert_eq!(asked(url, Some(endpoint), Backend::Openai), asks, "{url} {endpoint}");
    }
}

#[test]
fn an_endpoint_of_another_protocol_is_refused() {
    for (url, backend) in [
        ("http://h/v1/chat/completions", Backend::Openai),
        ("http://h/v1/completions", Backend::OpenaiChat),
        ("http://h/generate", Backend::Openai),
        ("http://h/v1/responses", Backend::OpenaiChat),
        ("http://h/v1/embeddings", Backend::Openai),
    ] {
        let error = parsed(url).endpoint(None, backend, false).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(backend.name()) && words.contains(&error.operation), "{words}");
    }
}

#[test]
fn a_url_that_is_none_is_refused() {
    for url in ["localhost:8000", "h/v1", "", "ftp://h", "http://", "/v1"] {
        assert!(Address::parse(url).is_err(), "{url}");
    }
}

#[test]
fn metrics_are_at_the_servers_root_or_at_the_url_that_is_given() {
    for (url, page) in [
        ("http://h", "http://h/metrics"),
        ("http://h/v1", "http://h/metrics"),
        ("http://h/v1/", "http://h/metrics"),
        ("http://h/v1/chat/completions", "http://h/metrics"),
        ("http://h/api/paas/v4", "http://h/metrics"),
        ("http://h/v1beta/openai", "http://h/metrics"),
        ("http://lb/a/v1", "http://lb/a/metrics"),
        ("http://lb/a", "http://lb/a/metrics"),
        ("http://h/metrics", "http://h/metrics"),
        ("http://h/metrics/", "http://h/metrics"),
        ("http://h/prometheus/metrics", "http://h/prometheus/metrics"),
        ("http://h/actuator/prometheus", "http://h/actuator/prometheus"),
        ("http://h/metrics?token=T", "http://h/metrics?token=T"),
        ("http://h?token=T", "http://h/metrics?token=T"),
        ("http://h/v1?token=T", "http://h/metrics?token=T"),
        ("http://h/federate?match[]=up", "http://h/federate?match[]=up"),
    ] {
        assert_eq!(parsed(url).metrics_page(), page, "{url}");
    }
}

#[test]
fn a_gateway_has_a_job_before_its_query() {
    for (url, page) in [
        ("http://gw:9091", "http://gw:9091/metrics/job/servegauge"),
        ("https://gw/push/", "https://gw/push/metrics/job/servegauge"),
        ("https://gw/p?tok=O", "https://gw/p/metrics/job/servegauge?tok=O"),
        ("http://gw/metrics/job/mine/instance/a", "http://gw/metrics/job/mine/instance/a"),
        ("http://gw/metrics/job/mine?tok=O", "http://gw/metrics/job/mine?tok=O"),
    ] {
        assert_eq!(parsed(url).push_page(), page, "{url}");
    }
}
