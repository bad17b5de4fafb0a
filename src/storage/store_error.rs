//! What went wrong in an object store, in words for people.

use object_store::Error;

use crate::model::plain_text::one_line;

/// The longest message of a server that is shown.
const MESSAGE_CHARS: usize = 200;

/// What else may be wrong if something is not there.
const ENDPOINT: &str = ", and the endpoint in the environment, such as AWS_ENDPOINT_URL";

/// What went wrong, in a clause without the page that the server answers.
pub(super) fn sentence(error: &Error, bucket: &str) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = one_line(&cause.to_string());
    // A list that is refused has no error of its own.
    let is_denied = matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. });
    if is_denied || text.contains("403 Forbidden") || text.contains("401 Unauthorized") {
        return format!(
            "access to `{bucket}` is denied: check the credentials in the environment, such as AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY"
        );
    }
    if matches!(error, Error::NotFound { .. }) || text.contains("404 Not Found") {
        return format!("there is no bucket `{bucket}`, or no such object in it: check the URL{ENDPOINT}");
    }
    let text = text.split(": <").next().unwrap_or_default();
    let text: String = text.chars().take(MESSAGE_CHARS).collect();
    format!("`{bucket}` does not answer as an object store does: {text}: check the network{ENDPOINT}")
}
