//! Prompts that no server has seen before.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The unique beginning of a run's prompts: a few words, so that the server's prefix cache cannot know a prompt from an
/// earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniquePrefix {
    /// The salt that the words are drawn from, together with the request's number. Each run has another salt; shards of
    /// one run share it.
    pub salt: Salt,
    /// The prompts that share the same words.
    pub scope: SaltScope,
}

/// A number that makes a run's prompts unique. In JSON it is 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Salt(pub u64);

/// The prompts of a run that share the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaltScope {
    /// The prompts of one session share the words: each request without a session has its own.
    Session,
    /// All prompts share the words, for a dataset that is designed to share beginnings and must keep sharing them.
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
        u64::from_str_radix(&digits, 16).map(Self).map_err(|_| format!("`{digits}` is not a salt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_survives_json_to_the_last_bit() {
        let unique = UniquePrefix { salt: Salt(u64::MAX - 1), scope: SaltScope::Session };
        let json = serde_json::to_string(&unique).unwrap();
        assert_eq!(json, r#"{"salt":"fffffffffffffffe","scope":"session"}"#);
        assert_eq!(serde_json::from_str::<UniquePrefix>(&json).unwrap(), unique);
    }
}
