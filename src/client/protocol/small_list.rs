//! Lists that usually have at most one entry.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::object::{pass_over, pass_over_nothing};

/// A list that stores its first entry inline and allocates only for more.
#[derive(Debug)]
pub struct SmallList<T> {
    first: Option<T>,
    others: Vec<T>,
}

impl<T> SmallList<T> {
    /// Iterates over the entries.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.others)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The entry, if the list has exactly one.
    pub fn single(&self) -> Option<&T> {
        self.first.as_ref().filter(|_| self.others.is_empty())
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: T) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.others.push(entry),
        }
    }
}

impl<T> Default for SmallList<T> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SmallList<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SmallListVisitor(PhantomData))
    }
}

struct SmallListVisitor<T>(PhantomData<T>);

/// A value that is not a list counts as an empty one.
impl<'de, T: Deserialize<'de>> Visitor<'de> for SmallListVisitor<T> {
    type Value = SmallList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<SmallList<T>, A::Error> {
        let mut few = SmallList { first: list.next_element()?, others: Vec::new() };
        while let Some(other) = list.next_element()? {
            few.others.push(other);
        }
        Ok(few)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SmallList<T>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(SmallList::default())
    }

    pass_over!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));
    pass_over_nothing!();
}
