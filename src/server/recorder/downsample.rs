//! Reduces the number of points of a time series, so that a run of any length stays small.

/// How points are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Downsampling {
    /// Merges the last point into the one before it.
    Last,
    /// Merges every two points from the second on. The first is from before the run, and stays as it is.
    Pairs,
}

impl Downsampling {
    /// Downsamples a column.
    pub(super) fn downsample<T: Copy>(self, column: &mut Vec<T>, join: impl Fn(T, T) -> T) {
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

    /// Downsamples a column with missing values. A value that only one of two points has becomes the value of both.
    pub(super) fn downsample_known<T: Copy>(self, column: &mut Vec<Option<T>>, join: impl Fn(T, T) -> T) {
        self.downsample(column, |earlier, later| match (earlier, later) {
            (Some(earlier), Some(later)) => Some(join(earlier, later)),
            (known, None) | (None, known) => known,
        });
    }

    /// Returns the new index of a point in a column of this old length.
    pub(super) fn new_index(self, point: usize, length: usize) -> usize {
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
        for thinning in [Downsampling::Last, Downsampling::Pairs] {
            for length in 1..8 {
                let mut column: Vec<u32> = (0..length).map(|point| 1 << point).collect();
                thinning.downsample(&mut column, |a, b| a | b);
                for point in 0..length {
                    let there = column[thinning.new_index(point as usize, length as usize)];
                    assert!(there & (1 << point) != 0, "{thinning:?} {point} of {length}: {column:?}");
                }
            }
        }
    }

    #[test]
    fn holes_are_filled_by_their_neighbours() {
        let mut column = vec![None, Some(1), None, None, None, Some(2), Some(3), Some(4)];
        Downsampling::Pairs.downsample_known(&mut column, |a, b| a + b);
        assert_eq!(column, [None, Some(1), None, Some(5), Some(4)]);
        Downsampling::Last.downsample_known(&mut column, |a, b| a + b);
        assert_eq!(column, [None, Some(1), None, Some(9)]);
    }
}
