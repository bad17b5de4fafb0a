//! Reads a few fields of a JSON object; each field may be missing or have another type.
//!
//! A server's extra fields must not invalidate its answer: a count may come as `19.0` or as text, details as an empty
//! list, a key twice. A value of the wrong type counts as absent, and the last value of a repeated key wins. Only
//! invalid JSON is an error.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that is read from a few fields of a JSON object.
pub(crate) trait Object<'de>: Default {
    /// Reads a field's value if the field is known. Returns whether it is.
    fn read_field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;

    /// Reads the value of an unknown field.
    fn read_unknown<A: MapAccess<'de>>(&mut self, _: &Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(|_| ())
    }
}

/// Defines a struct whose fields are read from the JSON keys on their right: `finish: Option<Text<'a>> =
/// "finish_reason"`. After `=>`, a field takes the name of the first unknown field that the function accepts.
macro_rules! object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<'a> {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty = $key:literal,)*
        $(=> $unread:ident if $is_unread:path)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<'a> {
            $($(#[$field_meta])* $field_vis $field: $type,)*
            $($unread: Option<&'a str>,)?
            marker: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::client::protocol::object::Object<'a> for $name<'a> {
            fn read_field<A: serde::de::MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
                match name {
                    $($key => self.$field = map.next_value()?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            $(fn read_unknown<A: serde::de::MapAccess<'a>>(
                &mut self,
                name: &std::borrow::Cow<'a, str>,
                map: &mut A,
            ) -> Result<(), A::Error> {
                let value: $crate::client::protocol::text::Text<'a> = map.next_value()?;
                // A name with escapes is none that a server would use.
                if let (None, std::borrow::Cow::Borrowed(name)) = (self.$unread, name) {
                    self.$unread = $is_unread(name, value).then_some(*name);
                }
                Ok(())
            })?
        }

        impl<'a> serde::Deserialize<'a> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
                $crate::client::protocol::object::read_value(from)
            }
        }
    };
}
pub(super) use object;

/// Reads a whole event, line or document that consists of one object.
///
/// # Errors
/// If the data is not valid JSON, or not an object.
pub(crate) fn read<'de, T: Object<'de>>(data: &'de [u8]) -> serde_json::Result<T> {
    if data.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        // This call reports where the data is not valid JSON.
        serde_json::from_slice::<IgnoredAny>(data)?;
        return Err(serde_json::Error::custom("not a JSON object"));
    }
    let mut from = serde_json::Deserializer::from_slice(data);
    let object = read_value(&mut from)?;
    from.end()?;
    Ok(object)
}

/// Reads an object; any other value counts as an empty object.
pub(crate) fn read_value<'de, T: Object<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(ObjectVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

/// The visitor methods that ignore every value of an unexpected type.
macro_rules! pass_over {
    ($($method:ident($type:ty)),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        })*
    };
}

pub(super) use pass_over;

macro_rules! pass_over_list {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

macro_rules! pass_over_nothing {
    () => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
}

pub(super) use pass_over_nothing;

impl<'de, T: Object<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        while let Some(ObjectKey(name)) = map.next_key()? {
            if !object.read_field(&name, &mut map)? {
                object.read_unknown(&name, &mut map)?;
            }
        }
        Ok(object)
    }

    pass_over!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
    pass_over_list!();
    pass_over_nothing!();
}

/// A key, borrowed unless it has escapes.
pub(super) struct ObjectKey<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for ObjectKey<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(ObjectKeyVisitor)
    }
}

struct ObjectKeyVisitor;

impl<'de> Visitor<'de> for ObjectKeyVisitor {
    type Value = ObjectKey<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<ObjectKey<'de>, E> {
        Ok(ObjectKey(key.into()))
    }

    fn visit_str<E>(self, key: &str) -> Result<ObjectKey<'de>, E> {
        Ok(ObjectKey(key.to_owned().into()))
    }
}

/// A number of tokens, given as a number or as text. A negative, fractional or other value counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LenientCount(pub Option<u32>);

impl<'de> Deserialize<'de> for LenientCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let LenientNumber(number) = LenientNumber::deserialize(from)?;
        let is_count = |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
        Ok(Self(number.filter(is_count).map(|number| number as u32)))
    }
}

/// A number, given as a number or as text. Any other value counts as absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LenientNumber(pub Option<f64>);

impl<'de> Deserialize<'de> for LenientNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LenientNumberVisitor)
    }
}

struct LenientNumberVisitor;

impl<'de> Visitor<'de> for LenientNumberVisitor {
    type Value = LenientNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<LenientNumber, E> {
        Ok(LenientNumber(Some(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<LenientNumber, E> {
        Ok(LenientNumber(Some(number as f64)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<LenientNumber, E> {
        Ok(LenientNumber(Some(number).filter(|number| number.is_finite())))
    }

    fn visit_str<E: Error>(self, number: &str) -> Result<LenientNumber, E> {
        number.trim().parse().map_or(Ok(LenientNumber(None)), |number| self.visit_f64(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LenientNumber, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LenientNumber(None))
    }

    pass_over!(visit_bool(bool));
    pass_over_list!();
    pass_over_nothing!();
}

/// Whether a value is `true`, given as a boolean or as text. Any other value is false.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LenientFlag(pub bool);

impl<'de> Deserialize<'de> for LenientFlag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LenientFlagVisitor)
    }
}

struct LenientFlagVisitor;

impl<'de> Visitor<'de> for LenientFlagVisitor {
    type Value = LenientFlag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a truth value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<LenientFlag, E> {
        Ok(LenientFlag(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<LenientFlag, E> {
        Ok(LenientFlag(value.eq_ignore_ascii_case("true")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LenientFlag, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LenientFlag(false))
    }

    pass_over!(visit_i64(i64), visit_u64(u64), visit_f64(f64));
    pass_over_list!();
    pass_over_nothing!();
}

/// The number of entries in a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListLength(pub u32);

impl<'de> Deserialize<'de> for ListLength {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ListLengthVisitor)
    }
}

struct ListLengthVisitor;

impl<'de> Visitor<'de> for ListLengthVisitor {
    type Value = ListLength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ListLength, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(ListLength(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ListLength, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ListLength(0))
    }

    pass_over!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
    pass_over_nothing!();
}

#[cfg(test)]
mod tests {
    use super::*;

    object! {
        struct Sample<'a> {
            count: LenientCount = "count",
            flag: LenientFlag = "flag",
            number: LenientNumber = "number",
            ids: ListLength = "ids",
            inner: Option<Box<Sample<'a>>> = "inner",
        }
    }

    fn sample(json: &str) -> Sample<'_> {
        read(json.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_of_every_type_are_read_or_absent() {
        let cases = [
            ("1.5", Some(1.5)),
            ("-2", Some(-2.0)),
            ("3", Some(3.0)),
            ("\" 1.5 \"", Some(1.5)),
            ("\"nan\"", None),
            ("\"soon\"", None),
            ("null", None),
            ("true", None),
            ("[1.5]", None),
            ("{\"number\":1.5}", None),
        ];
        for (value, expected) in cases {
            let json = format!("{{\"number\":{value},\"flag\":true}}");
            assert_eq!(sample(&json).number.0, expected, "{value}");
            assert!(sample(&json).flag.0, "what follows is read: {value}");
        }
    }

    #[test]
    fn counts_of_every_type_are_read_or_absent() {
        let cases = [
            ("19", Some(19)),
            ("19.0", Some(19)),
            ("\"19\"", Some(19)),
            ("\" 19.0 \"", Some(19)),
            ("1.9e1", Some(19)),
            ("0", Some(0)),
            ("-1", None),
            ("19.5", None),
            ("\"many\"", None),
            ("\"\"", None),
            ("1e300", None),
            ("5000000000", None),
            ("null", None),
            ("true", None),
            ("[19]", None),
            ("{\"count\":19}", None),
        ];
        for (value, expected) in cases {
            let json = format!("{{\"count\":{value},\"flag\":true}}");
            assert_eq!(sample(&json).count.0, expected, "{value}");
            assert!(sample(&json).flag.0, "what follows is read: {value}");
        }
    }

    #[test]
    fn flags_and_lists_of_another_type_are_absent() {
        for (value, expected) in
            [("true", true), ("\"True\"", true), ("1", false), ("{}", false), ("[]", false)]
        {
            assert_eq!(sample(&format!("{{\"flag\":{value}}}")).flag.0, expected, "{value}");
        }
        for (value, expected) in [("[1,2]", 2), ("[[],{}]", 2), ("null", 0), ("7", 0), ("{\"a\":[1]}", 0)] {
            assert_eq!(sample(&format!("{{\"ids\":{value}}}")).ids.0, expected, "{value}");
        }
    }

    #[test]
    fn an_object_of_another_type_is_absent_and_of_a_repeated_key_the_last_counts() {
        for value in ["null", "[]", "[{\"count\":1}]", "\"x\"", "3", "false"] {
            let json = format!("{{\"inner\":{value},\"count\":5}}");
            let sample = sample(&json);
            assert_eq!(sample.inner.unwrap_or_default().count.0, None, "{value}");
            assert_eq!(sample.count.0, Some(5), "{value}");
        }
        assert_eq!(sample("{\"count\":1,\"count\":2}").count.0, Some(2));
        assert_eq!(sample("{\"c\\u006funt\":1}").count.0, Some(1), "an escaped key");
        assert_eq!(sample("{\"inner\":{\"count\":4}}").inner.unwrap().count.0, Some(4));
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for data in ["", "5", "\"x\"", "[]", "[DONE]", "{} {}", "{\"count\":}", "{\"count\":1", "nul"] {
            assert!(read::<Sample<'_>>(data.as_bytes()).is_err(), "{data}");
        }
    }
}
