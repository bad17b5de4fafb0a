//! Releases of vLLM.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A release of vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VllmRelease {
    major: u16,
    minor: u16,
    patch: u16,
}

impl VllmRelease {
    /// The release v`major`.`minor`.`patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

/// The error for a text that is not a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version: write it like 0.8.5")]
pub struct InvalidRelease(String);

impl FromStr for VllmRelease {
    type Err = InvalidRelease;

    /// Parses `0.8.5`, `v0.6.6.post1` or `0.10.2.dev5+g1234`. A build between two releases counts as the release in its
    /// name.
    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let mut pieces = text.trim().trim_start_matches('v').split('.').map(leading_number);
        let mut next = || pieces.next().flatten();
        let version = (|| Some(Self::new(next()?, next()?, next().unwrap_or_default())))();
        version.ok_or_else(|| InvalidRelease(text.to_owned()))
    }
}

/// The number at the start of a part: 0 in `0rc1`.
fn leading_number(piece: &str) -> Option<u16> {
    let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
    piece[..end].parse().ok()
}

impl fmt::Display for VllmRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for VllmRelease {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_and_logs_write_them() {
        let cases = [
            ("0.8.5", (0, 8, 5)),
            ("v0.6.6.post1", (0, 6, 6)),
            ("0.10.2.dev5+g2f0a0a17", (0, 10, 2)),
            ("0.11.0rc1", (0, 11, 0)),
            (" 1.0 ", (1, 0, 0)),
        ];
        for (text, (major, minor, patch)) in cases {
            assert_eq!(text.parse(), Ok(VllmRelease::new(major, minor, patch)), "{text}");
        }
        for text in ["", "dev", "8", "v.1.2", "99999999.1"] {
            assert!(text.parse::<VllmRelease>().is_err(), "{text}");
        }
        assert!(VllmRelease::new(0, 10, 0) > VllmRelease::new(0, 9, 2));
    }
}
