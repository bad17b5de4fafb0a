//! Values of flags that take one value, or a list of them, which makes a ladder.

use std::num::NonZeroUsize;

use super::bounds::{count, rate};
use crate::model::units::Rate;

/// The most steps of a ladder.
const MOST: usize = 100;

/// One value, or a list of several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ValueList<T> {
    first: T,
    rest: Vec<T>,
}

impl<T: Copy> ValueList<T> {
    /// The only value, or the first of several.
    pub(crate) fn first(&self) -> T {
        self.first
    }

    /// Whether there are several values.
    pub(crate) fn is_list(&self) -> bool {
        !self.rest.is_empty()
    }

    /// All values, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = T> {
        std::iter::once(self.first).chain(self.rest.iter().copied())
    }
}

impl<T> From<T> for ValueList<T> {
    fn from(first: T) -> Self {
        Self { first, rest: Vec::new() }
    }
}

/// Reads numbers from 1 to a billion: `8`, or `1,2,4,8`.
pub(crate) fn counts(text: &str) -> Result<ValueList<NonZeroUsize>, String> {
    value_list(text, count)
}

/// Reads rates in requests per second, or `inf`: `20`, or `1,2,4`.
pub(crate) fn rates(text: &str) -> Result<ValueList<Rate>, String> {
    value_list(text, rate)
}

fn value_list<T: Copy + PartialEq>(
    text: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<ValueList<T>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if let [only] = items[..] {
        return parse(only).map(ValueList::from);
    }
    if items.contains(&"") {
        return Err("an element of the list is empty: write it as 1,2,4".into());
    }
    if items.len() > MOST {
        return Err(format!("{} values are more than the {MOST} steps of a ladder", items.len()));
    }
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let value = parse(item).map_err(|why| format!("`{item}`: {why}"))?;
        if values.contains(&value) {
            return Err(format!("{item} is in the list twice"));
        }
        values.push(value);
    }
    let first = values.remove(0);
    Ok(ValueList { first, rest: values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order() {
        let list = counts("8, 1,4").unwrap();
        assert_eq!(list.all().map(NonZeroUsize::get).collect::<Vec<_>>(), [8, 1, 4]);
        assert_eq!((list.first().get(), list.is_list()), (8, true));
        let rates = rates("0.5,2,inf").unwrap();
        assert_eq!(rates.all().map(Rate::get).collect::<Vec<_>>(), [0.5, 2.0, f64::INFINITY]);
    }

    #[test]
    fn one_value_is_no_list() {
        let one = counts("8").unwrap();
        assert_eq!((one.first().get(), one.is_list(), one.all().count()), (8, false, 1));
        assert_eq!(counts("x").unwrap_err(), count("x").unwrap_err());
    }

    #[test]
    fn what_is_wrong_with_a_list_is_said_of_its_element() {
        for (text, why) in [
            ("1,2,2", "2 is in the list twice"),
            ("1,,2", "empty"),
            ("1,2,", "empty"),
            (",", "empty"),
            ("1,x", "`x`: "),
        ] {
            let error = counts(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(rates("1,1.0").unwrap_err().contains("twice"));
        let many: Vec<String> = (1..=101).map(|number| number.to_string()).collect();
        assert!(counts(&many.join(",")).unwrap_err().contains("100 steps"));
    }
}
