//! An HTTP access line, as uvicorn, nginx and most other servers write it: `"POST /v1/completions HTTP/1.1" 200`.

/// The outcome of an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLine {
    /// The status code.
    pub status: u16,
    /// Whether the request asked for work, as opposed to a health or metrics probe.
    pub is_work: bool,
}

/// Paths of readiness probes by orchestrators: the server answers 503 until it is ready.
const PROBES: [&[u8]; 8] = [
    b"/health",
    b"/ready",
    b"/live",
    b"/ping",
    b"/metrics",
    b"/v2/health",
    b"/server_info",
    b"/get_model_info",
];

/// Parses the text before and after ` HTTP/1.`; returns `None` if the line is not an access line.
pub(super) fn parse_access(before: &[u8], after: &[u8]) -> Option<AccessLine> {
    let quote = memchr::memrchr(b'"', before)?;
    let (method, path) = {
        let request = &before[quote + 1..];
        let blank = memchr::memchr(b' ', request)?;
        (&request[..blank], &request[blank + 1..])
    };
    if method.len() < 3 || !method.iter().all(u8::is_ascii_uppercase) || path.contains(&b' ') {
        return None;
    }
    let rest = after.get(1..)?.strip_prefix(b"\" ")?;
    let status = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
    let is_probe = PROBES.iter().any(|probe| path.starts_with(probe));
    (100..600).contains(&status).then_some(AccessLine { status, is_work: method != b"HEAD" && !is_probe })
}
