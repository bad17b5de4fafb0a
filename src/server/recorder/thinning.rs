//! Fewer points for the same time: how a run of any length stays small.

/// Which points become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinning {
    /// The last goes into the one before.
    Last,
    /// Every two, from the second on: the first is from before the run, and stays as it is.
    Pairs,
}

impl Thinning {
    /// Thins a column.
    pub fn thin<T: Copy>(self, column: &mut Vec<T>, join: impl Fn(T, T) -> T) {
        match self {
            Self::Last => {
                let Some(last) = column.pop() else { return };
                let joined = column.pop().map_or(last, |before| join(before, last));
                column.push(joined);
            }
            Self::Pairs => {
                let pairs = column.split_off(column.len().min(1));
                column.extend(pairs.chunks(2).map(|pair| match *pair {
                    [earlier, later] => join(earlier, later),
                    _ => pair[0],
                }));
            }
        }
    }

    /// Thins a column with holes: what is only in one of two points is in their common one.
    pub fn thin_known<T: Copy>(self, column: &mut Vec<Option<T>>, join: impl Fn(T, T) -> T) {
        self.thin(column, |earlier, later| match (earlier, later) {
            (Some(earlier), Some(later)) => Some(join(earlier, later)),
            (known, None) | (None, known) => known,
        });
    }

    /// Where a point has gone, in a column that was so long before.
    pub fn place(self, point: usize, length: usize) -> usize {
        match self {
            Self::Last => point.min(length.saturating_sub(2)),
            Self::Pairs => point.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_go_where_their_place_is() {
        for thinning in [Thinning::Last, Thinning::Pairs] {
            for length in 1..8 {
                let mut column: Vec<u32> = (0..length).map(|point| 1 << point).collect();
                thinning.thin(&mut column, |a, b| a | b);
                for point in 0..length {
                    let there = column[thinning.place(point as usize, length as usize)];
                    assert!(there & (1 << point) != 0, "{thinning:?} {point} of {length}: {column:?}");
                }
            }
        }
    }

    #[test]
    fn holes_are_filled_by_their_neighbours() {
        let mut column = vec![None, Some(1), None, None, None, Some(2), Some(3), Some(4)];
        Thinning::Pairs.thin_known(&mut column, |a, b| a + b);
        assert_eq!(column, [None, Some(1), None, Some(5), Some(4)]);
        Thinning::Last.thin_known(&mut column, |a, b| a + b);
        assert_eq!(column, [None, Some(1), None, Some(9)]);
    }
}
