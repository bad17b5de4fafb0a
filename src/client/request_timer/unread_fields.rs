//! Counts events by the field whose text was not read.

use serde::{Deserialize, Serialize};

/// The largest number of fields that are counted by name.
const MAX_FIELDS: usize = 8;

/// The longest part of a name that is kept, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The number of events with text in an unknown field, by the field's name. The table is small, and only a new name
/// allocates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadFields(Vec<(Box<str>, u64)>);

impl UnreadFields {
    /// Counts an event.
    pub(super) fn count(&mut self, name: &str) {
        self.add(name, 1);
    }

    /// Adds the counts of another table.
    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, events)| self.add(name, *events));
    }

    /// The names and the numbers of events.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, events)| (&**name, *events))
    }

    fn add(&mut self, name: &str, events: u64) {
        let end = (0..=name.len().min(MAX_NAME_BYTES)).rev().find(|&end| name.is_char_boundary(end));
        let name = &name[..end.unwrap_or_default()];
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| **known == *name) {
            *count += events;
        } else if self.0.len() < MAX_FIELDS {
            self.0.push((name.into(), events));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_are_counted() {
        let mut fields = UnreadFields::default();
        ["thought", "cot", "thought"].iter().for_each(|name| fields.count(name));
        let mut all = fields.clone();
        all.merge(&fields);
        assert_eq!(all.iter().collect::<Vec<_>>(), [("thought", 4), ("cot", 2)]);
        (0..100).for_each(|name| all.count(&format!("{name}{}", "é".repeat(100))));
        assert_eq!(all.iter().count(), MAX_FIELDS);
        assert!(all.iter().all(|(name, _)| name.len() <= MAX_NAME_BYTES));
    }
}
