//! Identifies the program behind a page without an engine's metrics.

use std::collections::HashSet;

use super::{MetricsText, ScrapedSample};

/// The type of program behind a page without an engine's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOrigin {
    /// A program in front of engines, which have their own pages.
    Router,
    /// A program that reports process metrics but no requests: an engine whose metrics are off.
    Process,
    /// Any other program, or an unknown one.
    Other,
}

/// Names that identify the page of another program. The first match decides.
const OTHERS: [(&str, &str, PageOrigin); 24] = [
    ("smg_", "a router's: SGLang's (SMG)", PageOrigin::Router),
    ("sgl_router_", "a router's: SGLang's", PageOrigin::Router),
    ("sglang_router", "a router's: SGLang's", PageOrigin::Router),
    ("vllm_router", "a router's: vLLM's", PageOrigin::Router),
    ("vllm:current_qps", "a router's: vLLM's production stack", PageOrigin::Router),
    ("dynamo_", "Dynamo's, without requests", PageOrigin::Router),
    ("llm_d_", "a router's: llm-d's scheduler", PageOrigin::Router),
    ("inference_", "a router's: an inference gateway", PageOrigin::Router),
    ("litellm_", "a gateway's: LiteLLM", PageOrigin::Router),
    ("ray_serve_", "Ray Serve's, without an engine's", PageOrigin::Router),
    ("ray_", "Ray's, without an engine's", PageOrigin::Router),
    ("lmcache", "LMCache's", PageOrigin::Router),
    ("envoy_", "a gateway's: Envoy", PageOrigin::Router),
    ("nginx_", "a gateway's: nginx", PageOrigin::Router),
    ("haproxy_", "a gateway's: HAProxy", PageOrigin::Router),
    ("traefik_", "a gateway's: Traefik", PageOrigin::Router),
    ("caddy_", "a gateway's: Caddy", PageOrigin::Router),
    ("kong_", "a gateway's: Kong", PageOrigin::Router),
    ("istio_", "a gateway's: Istio", PageOrigin::Router),
    ("nv_", "Triton's, without TensorRT-LLM's", PageOrigin::Other),
    ("DCGM_", "a GPU exporter's", PageOrigin::Other),
    ("gpu_", "a GPU exporter's", PageOrigin::Other),
    ("amd_", "a GPU exporter's", PageOrigin::Other),
    ("node_", "a node exporter's", PageOrigin::Other),
];

/// The prefixes of each engine's names.
const ENGINES: [(&[&str], &str); 5] = [
    (&["vllm:", "vllm_"], "vLLM"),
    (&["sglang:", "sglang_"], "SGLang"),
    (&["llamacpp:", "llamacpp_"], "llama.cpp"),
    (&["trtllm_", "trtllm:"], "TensorRT-LLM"),
    (&["tgi_"], "TGI"),
];

/// Words that mark the names of an unlisted router or gateway.
const ROUTERS: [&str; 4] = ["router", "gateway", "proxy", "upstream"];

/// Prefixes of the metrics that any program's client library adds.
const OF_ANY: [&str; 6] = ["python_", "process_", "http_", "go_", "promhttp_", "scrape_"];

/// Names that are quoted.
const MAX_SHOWN_NAMES: usize = 3;

/// Characters of a text that are quoted.
const MAX_TEXT_CHARS: usize = 60;

/// Describes in a clause a text that is not a page of an engine, and identifies the program behind it.
pub(crate) fn describe(text: &str) -> (String, PageOrigin) {
    let text = text.trim_start();
    let other = |text: String| (text, PageOrigin::Other);
    match text.as_bytes().first() {
        None => return other("the page is empty".to_owned()),
        Some(b'<') => return other(html(text)),
        Some(b'[' | b'{') => {
            return other(format!("it is JSON, and not TensorRT-LLM's: {}", shortened(text)));
        }
        Some(_) => {}
    }
    let page = MetricsText::parse(text);
    let families = families(&page);
    let own: Vec<&str> = families.iter().copied().filter(|name| !has_prefix(name, &OF_ANY)).collect();
    match (families.is_empty(), own.is_empty()) {
        (true, _) => other(format!("it has no metrics: {}", shortened(text))),
        (false, true) => ("it has only generic process metrics".to_owned(), PageOrigin::Process),
        (false, false) => {
            let shown: Vec<String> = own.iter().take(MAX_SHOWN_NAMES).map(|name| shortened(name)).collect();
            let shown = shown.join(", ");
            let more = if own.len() > MAX_SHOWN_NAMES {
                format!(" and {} more", own.len() - MAX_SHOWN_NAMES)
            } else {
                String::new()
            };
            let (whose, origin) = identify(&own, &page);
            (format!("it has {shown}{more}: {whose}"), origin)
        }
    }
}

/// Identifies the program that uses these names.
fn identify(names: &[&str], page: &MetricsText<'_>) -> (String, PageOrigin) {
    let other = OTHERS.iter().find(|(prefix, ..)| names.iter().any(|name| name.starts_with(prefix)));
    if let Some((_, whose, origin)) = other {
        return (format!("these look like {whose}"), *origin);
    }
    if let Some((prefixes, engine)) =
        ENGINES.iter().find(|(all, _)| names.iter().any(|name| has_prefix(name, all)))
    {
        return (of_engine(engine, prefixes, page), PageOrigin::Other);
    }
    let routes = |name: &&str| ROUTERS.iter().any(|word| name.contains(word));
    match names.iter().any(routes) {
        true => ("these look like a router's".to_owned(), PageOrigin::Router),
        false => ("of an unknown program".to_owned(), PageOrigin::Other),
    }
}

/// Describes an engine's metrics page without a usable value.
fn of_engine(engine: &str, prefixes: &[&str], page: &MetricsText<'_>) -> String {
    let samples = page.families.iter().flat_map(|family| &family.samples);
    let mut own = samples.filter(|sample| has_prefix(sample.name, prefixes));
    match own.any(|sample| sample.value.is_finite() && sample.value >= 0.0) {
        true => format!("these look like {engine}'s, but none of them says how busy it is"),
        false => format!("these look like {engine}'s, and none has a value: all are NaN or below 0"),
    }
}

/// The names of the families on a page, each once, including families without samples.
fn families<'p>(page: &'p MetricsText<'_>) -> Vec<&'p str> {
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    for family in &page.families {
        let first = family.samples.first().map(|sample: &ScrapedSample<'_>| sample.name);
        let name = if family.name.is_empty() { first.unwrap_or_default() } else { family.name };
        if known.insert(name) {
            names.push(name);
        }
    }
    names
}

fn has_prefix(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn html(text: &str) -> String {
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title.map(|(title, _)| title.trim()).filter(|title| !title.is_empty()) {
        Some(title) => format!("it is an HTML page: {}", shortened(title)),
        None => "it is an HTML page".to_owned(),
    }
}

/// The beginning of a text on one line, without characters that act on a terminal.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain = line.chars().filter(|c| !c.is_control());
    let begin: String = plain.by_ref().take(MAX_TEXT_CHARS).collect();
    if plain.next().is_some() { format!("{begin}…") } else { begin }
}
