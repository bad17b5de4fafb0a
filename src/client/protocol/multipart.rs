//! Encodes forms with a file (RFC 7578), which carry recordings.

use bytes::Bytes;
use serde_json::{Map, Value};

/// The boundary between the parts of every form. It was chosen at random once, so that no part contains it.
macro_rules! boundary {
    () => {
        "servegauge-6c1f0b7e2d9a4835a1c87e40"
    };
}

/// The content type of a form.
pub(crate) const CONTENT_TYPE: &str = concat!("multipart/form-data; boundary=", boundary!());

/// Encodes a form of simple fields and one recording. A text is written as it is; any other value is written as JSON.
pub(crate) fn encode_multipart(fields: &Map<String, Value>, wav: &[u8]) -> Bytes {
    let mut form = Vec::with_capacity(wav.len() + 2048);
    for (name, value) in fields {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        form.extend(format!("--{}\r\n{}\"{name}\"\r\n\r\n{value}\r\n", boundary!(), DISPOSITION).bytes());
    }
    let file = "\"file\"; filename=\"audio.wav\"\r\nContent-Type: audio/wav";
    form.extend(format!("--{}\r\n{}{file}\r\n\r\n", boundary!(), DISPOSITION).bytes());
    form.extend_from_slice(wav);
    form.extend(concat!("\r\n--", boundary!(), "--\r\n").bytes());
    form.into()
}

const DISPOSITION: &str = "Content-Disposition: form-data; name=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_its_fields_and_the_file_untouched() {
        let Value::Object(fields) = serde_json::json!({ "model": "a b", "stream": true, "limit": 5 }) else {
            unreachable!()
        };
        let form = encode_multipart(&fields, b"RIFF\0\r\n--\xFF");
        let boundary = CONTENT_TYPE.split_once("boundary=").unwrap().1;
        let field = |name: &str, value: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let head = field("limit", "5") + &field("model", "a b") + &field("stream", "true");
        let rest = form.strip_prefix(head.as_bytes()).unwrap();
        let file = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.wav\"\r\n\
             Content-Type: audio/wav\r\n\r\n"
        );
        let rest = rest.strip_prefix(file.as_bytes()).unwrap();
        assert_eq!(rest, [b"RIFF\0\r\n--\xFF\r\n--", boundary.as_bytes(), b"--\r\n"].concat());
    }
}
