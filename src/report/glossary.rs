//! Definitions of the report's terms, in one text for `--help` and docs/numbers.md.

/// Each term with its definition, in the order of a request's life.
pub const DEFINITIONS: [(&str, &str); 12] = [
    ("due", "when the arrival schedule says the request starts"),
    ("sent", "just before the request's first byte is written"),
    ("lag", "sent − due: delay added by the client or by the concurrency cap"),
    (
        "TTFT",
        "first event that carries output (text, reasoning or tool-call delta) − sent; a role-only or empty chunk is not output",
    ),
    (
        "ITL",
        "gap between output events of answered requests; an event that carries several tokens is one gap; values within 0.1 %",
    ),
    (
        "TPOT",
        "(last output event − first) / output tokens after the first output event; none below two output events. With one token in the first event this is vLLM's; vLLM's JSON keys keep vLLM's (last − first) / (output tokens − 1)",
    ),
    ("E2E", "last output event (without a stream, the last byte of the answer) − sent"),
    (
        "from due",
        "the same measured from due: latency for a user who arrived on schedule (no coordinated omission)",
    ),
    (
        "output tokens",
        "the server's usage if it sends one, else our tokenizer's count, else events; the source is stored and printed",
    ),
    ("percentile", "linear interpolation between closest ranks (numpy's default)"),
    (
        "goodput",
        "requests per second that met every limit, TTFT and E2E from due; failed requests are never counted",
    ),
    ("duration", "t0 to the end of the last request"),
];

/// Formats the definitions for `--help`.
pub(crate) fn definitions_text() -> String {
    let lines = DEFINITIONS.iter().map(|(word, meaning)| format!("  {word:<14} {meaning}\n"));
    format!("Definitions:\n{}", lines.collect::<String>())
}
