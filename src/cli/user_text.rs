//! Text for a user: control characters of quotations are escaped, and settings have the names of their flags.

use std::io::{self, Write as _};

use super::setting_flags::with_flags;
use crate::model::plain_text::PlainWriter;

/// A writer for text that may contain quotations and names of settings.
pub(super) type UserTextWriter<'a> = PlainWriter<&'a mut Vec<u8>>;

/// Renders a text for a user.
pub(super) fn render(render: impl FnOnce(&mut UserTextWriter<'_>) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut writer = PlainWriter::new(&mut bytes);
    render(&mut writer)?;
    writer.flush()?;
    Ok(with_flags(&String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_escaped_and_settings_have_their_flags() {
        let text = render(|out| write!(out, "use fewer `load.workers`, not `a.b`: \u{1b}[2J"));
        assert_eq!(text.unwrap(), "use fewer --workers, not `a.b`: \\u001b[2J");
    }
}
