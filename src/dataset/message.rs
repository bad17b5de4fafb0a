//! Chat messages with images, videos or recordings, in the API's format.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::model::request::Content;

/// A user message with these parts.
pub(super) fn user(parts: Vec<Value>) -> Content {
    Content::Messages([json!({ "role": "user", "content": parts })].into())
}

/// A text part.
pub(super) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// An image part with a URL.
pub(super) fn image(url: String) -> Value {
    json!({ "type": "image_url", "image_url": { "url": url } })
}

/// A video part with a URL.
pub(super) fn video(url: String) -> Value {
    json!({ "type": "video_url", "video_url": { "url": url } })
}

/// An audio part that holds the recording.
pub(super) fn recording(wav: &[u8]) -> Value {
    json!({ "type": "input_audio", "input_audio": { "data": STANDARD.encode(wav), "format": "wav" } })
}

/// A `data:` URL that holds the bytes.
pub(super) fn data_url(kind: &str, bytes: &[u8]) -> String {
    let mut url = format!("data:{kind};base64,");
    STANDARD.encode_string(bytes, &mut url);
    url
}

/// The URL of an image or video of a dataset. A URL stays as it is; any other name is a file on the server, as in vLLM.
pub(super) fn reference(name: &str) -> String {
    let is_url = ["http://", "https://", "file://", "data:"].iter().any(|scheme| name.starts_with(scheme));
    if is_url { name.to_owned() } else { format!("file://{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_a_file_on_the_server() {
        assert_eq!(reference("/data/a.png"), "file:///data/a.png");
        for url in ["http://x/a.png", "https://x", "file:///a", "data:image/png;base64,AA=="] {
            assert_eq!(reference(url), url);
        }
    }

    #[test]
    fn a_data_url_holds_the_bytes() {
        assert_eq!(data_url("image/png", b"abc"), "data:image/png;base64,YWJj");
    }
}
