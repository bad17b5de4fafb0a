//! The end of a log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The most bytes that are read from the end.
const MAX_TAIL_BYTES: u64 = 16 << 10;

/// Returns the last lines that are not blank, in order and without colors. Returns none if the file cannot be read.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let text = end(path).unwrap_or_default();
    // A progress bar rewrites its line: only the last version counts.
    let shown = |line: &str| plain(line.trim_end().rsplit('\r').next().unwrap_or_default());
    let lines: Vec<String> = text.lines().map(shown).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

fn end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Removes escape sequences and control characters, which would act on our terminal.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.peek() == Some(&'[') {
            chars.find(|c| c.is_ascii_alphabetic());
        } else if !c.is_control() || c == '\t' {
            text.push(c);
        }
    }
    text
}
