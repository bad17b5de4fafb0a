//! Request IDs, which name requests in the server's log.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The number of decimal digits in the last group of a UUID.
const DIGITS: u32 = 12;

/// The length of a UUID as text.
const UUID_LENGTH: usize = 36;

/// The marker in the first of these digits for a warm-up request.
const WARM_UP: u128 = 0xF << (4 * (DIGITS - 1));

/// A request's `x-request-id`. A UUID needs no separate allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum RequestId {
    /// A UUID, which every server accepts.
    Uuid(Uuid),
    /// A text chosen by the user.
    Text(Box<str>),
}

/// The kind of IDs that the requests of a run get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestIds {
    /// UUIDs of version 4 whose last group is the request's number: `5a0c0f4e-1d4f-4b7c-9a53-000000000017`.
    Uuids(Uuid),
    /// vLLM's prefix and number.
    Prefix(String),
    /// No IDs.
    None,
}

impl RequestIds {
    /// The ID of a request, by its position in the schedule; warm-up requests are numbered separately.
    pub fn request_id(&self, ordinal: usize, measured: bool) -> Option<RequestId> {
        match self {
            Self::Uuids(nonce) => Some(RequestId::Uuid(numbered(*nonce, ordinal, measured))),
            Self::Prefix(prefix) => {
                let phase = if measured { "" } else { "warmup-" };
                Some(RequestId::Text(format!("{prefix}{phase}{ordinal}").into()))
            }
            Self::None => None,
        }
    }
}

impl RequestId {
    /// Gives the id as text to a function.
    pub(crate) fn with_text<T>(&self, take: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Uuid(uuid) => take(uuid.hyphenated().encode_lower(&mut [0; UUID_LENGTH])),
            Self::Text(text) => take(text),
        }
    }

    /// The id of this text followed by a number in the form of a UUID's last group; `None` if they are no UUID.
    pub(crate) fn from_numbered_uuid(text: &str, number: usize) -> Option<Self> {
        let mut whole = [b'0'; UUID_LENGTH];
        let (before, digits) = whole.split_at_mut(UUID_LENGTH - DIGITS as usize);
        if text.len() != before.len() {
            return None;
        }
        before.copy_from_slice(text.as_bytes());
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let uuid = Uuid::try_parse_ascii(&whole).ok().filter(|_| rest == 0)?;
        let is_usual = uuid.hyphenated().encode_lower(&mut [0; UUID_LENGTH]).as_bytes() == whole;
        is_usual.then_some(Self::Uuid(uuid))
    }
}

/// The text before a number that has the form of a UUID's last group; `None` if the text does not end with it.
pub(crate) fn before_padded_number(text: &str, number: usize) -> Option<&str> {
    let (before, digits) = text.split_at_checked(text.len().checked_sub(DIGITS as usize)?)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() == Ok(number);
    is_number.then_some(before)
}

/// The nonce with the decimal digits of a number as its last group.
fn numbered(nonce: Uuid, ordinal: usize, measured: bool) -> Uuid {
    let digit = |place: u32| (ordinal as u128 / 10_u128.pow(place) % 10) << (4 * place);
    let number: u128 = (0..DIGITS).map(digit).sum();
    let group = (1_u128 << (4 * DIGITS)) - 1;
    let number = if measured { number } else { number | WARM_UP };
    Uuid::from_u128(nonce.as_u128() & !group | number)
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => uuid.hyphenated().fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

impl From<String> for RequestId {
    fn from(text: String) -> Self {
        match Uuid::try_parse(&text) {
            // A UUID has other spellings; these are kept as text.
            Ok(uuid) if uuid.hyphenated().to_string() == text => Self::Uuid(uuid),
            _ => Self::Text(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_uuid_ends_with_the_requests_number() {
        let nonce = Uuid::new_v4();
        let ids = RequestIds::Uuids(nonce);
        for (ordinal, measured, last) in [
            (0, true, "000000000000"),
            (17, true, "000000000017"),
            (123_456_789_012, true, "123456789012"),
            (0, false, "f00000000000"),
            (17, false, "f00000000017"),
        ] {
            let id = ids.request_id(ordinal, measured).unwrap();
            let text = id.to_string();
            assert_eq!((&text[..24], &text[24..]), (&nonce.to_string()[..24], last));
            let uuid = Uuid::try_parse(&text).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (4, uuid::Variant::RFC4122));
            assert_eq!(RequestId::from(text), id);
        }
    }

    #[test]
    fn ids_are_unique_in_a_run_and_the_same_each_time() {
        let ids = RequestIds::Uuids(Uuid::from_u128(7));
        let both =
            |ordinal| [true, false].map(|measured| ids.request_id(ordinal, measured).unwrap().to_string());
        let all: Vec<_> = (0..2000).flat_map(both).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4000);
        assert_eq!(all, (0..2000).flat_map(both).collect::<Vec<_>>());
    }

    #[test]
    fn an_id_is_read_from_its_beginning_and_its_number() {
        let begin = "5a0c0f4e-1d4f-4b7c-9a53-";
        for number in [0, 17, 999_999_999_999] {
            let text = format!("{begin}{number:012}");
            assert_eq!(before_padded_number(&text, number), Some(begin));
            let id = RequestId::from_numbered_uuid(begin, number).unwrap();
            assert_eq!(id.with_text(ToOwned::to_owned), text);
            assert_eq!(id, RequestId::from(text));
        }
        for (text, number) in [
            (begin, 1_000_000_000_000),
            ("5A0C0F4E-1D4F-4B7C-9A53-", 1),
            ("5a0c0f4e-1d4f-4b7c-9a530", 1),
            ("mine-", 1),
            ("", 1),
        ] {
            assert_eq!(RequestId::from_numbered_uuid(text, number), None, "{text}");
        }
        for (text, number) in
            [("mine-000000000017", 18), ("mine-+00000000017", 17), ("17", 17), ("é00000000017", 17)]
        {
            assert_eq!(before_padded_number(text, number), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_is_vllms_and_none_is_none() {
        let prefix = RequestIds::Prefix("mine-".to_owned());
        assert_eq!(prefix.request_id(3, true).unwrap().to_string(), "mine-3");
        assert_eq!(prefix.request_id(3, false).unwrap().to_string(), "mine-warmup-3");
        assert_eq!(RequestIds::None.request_id(3, true), None);
    }

    #[test]
    fn an_id_is_a_string_in_json_and_comes_back_as_it_was() {
        for text in
            ["mine-3", "", "5a0c0f4e-1d4f-4b7c-9a53-000000000017", "5A0C0F4E-1D4F-4B7C-9A53-000000000017"]
        {
            let json = serde_json::json!(text);
            let id: RequestId = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&id).unwrap(), json);
        }
        assert_eq!(size_of::<Option<RequestId>>(), size_of::<String>(), "no more room than a text");
    }
}
