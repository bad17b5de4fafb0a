//! Prompts that no server has seen before.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What every prompt of a run begins with: a few words of its own, so that the server's prefix cache cannot know it from an
/// earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// What the words are drawn from, together with the number of the request. Each run has another; shards of one run share it.
    pub salt: Salt,
    /// Which prompts begin with the same words.
    pub scope: SaltScope,
}

/// A number that makes a run's prompts its own. In JSON it is 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Salt(pub u64);

/// Which prompts of a run begin with the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaltScope {
    /// Those of one session: of plain requests each has its own.
    Session,
    /// All: the dataset is made to share beginnings, and goes on sharing them.
    Run,
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        salt.to_string()
    }
}

impl TryFrom<String> for Salt {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        u64::from_str_radix(&digits, 16).map(Self).map_err(|_| format!("`{digits}` is no salt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_survives_json_to_the_last_bit() {
        let unique = Unique { salt: Salt(u64::MAX - 1), scope: SaltScope::Session };
        let json = serde_json::to_string(&unique).unwrap();
        assert_eq!(json, r#"{"salt":"fffffffffffffffe","scope":"session"}"#);
        assert_eq!(serde_json::from_str::<Unique>(&json).unwrap(), unique);
    }
}
