//! Least squares with non-negative coefficients, after Lawson and Hanson (*Solving Least Squares Problems*, 1974).

/// A least-squares problem as sums over its rows, so that rows need not be kept.
#[derive(Clone, Debug)]
pub(super) struct LeastSquares {
    width: usize,
    /// The sum of the products of two columns, row by row.
    gram: Vec<f64>,
    /// The sum of the products of each column and the target.
    moment: Vec<f64>,
    /// The sum of the squares of the targets.
    squares: f64,
}

/// The share of a column's norm that is added to its diagonal, so that equal columns have a solution.
const RIDGE: f64 = 1e-9;

impl LeastSquares {
    pub(super) fn new(width: usize) -> Self {
        Self { width, gram: vec![0.0; width * width], moment: vec![0.0; width], squares: 0.0 }
    }

    /// Adds a row. A weight of 2 counts its deviation twice.
    pub(super) fn add(&mut self, row: &[f64], target: f64, weight: f64) {
        let weight = weight * weight;
        self.squares += target * target * weight;
        for (at, value) in row.iter().enumerate() {
            self.moment[at] += value * target * weight;
            for (other, with) in row.iter().enumerate() {
                self.gram[at * self.width + other] += value * with * weight;
            }
        }
    }

    /// Adds the rows of another problem.
    pub(super) fn merge(&mut self, other: &Self) {
        self.gram.iter_mut().zip(&other.gram).for_each(|(sum, more)| *sum += more);
        self.moment.iter_mut().zip(&other.moment).for_each(|(sum, more)| *sum += more);
        self.squares += other.squares;
    }

    /// The sum of the squared deviations of these coefficients.
    pub(super) fn deviation(&self, x: &[f64]) -> f64 {
        let image =
            |at: usize| (0..self.width).map(|with| self.gram[at * self.width + with] * x[with]).sum::<f64>();
        let linear = |at: usize| x[at] * (image(at) - 2.0 * self.moment[at]);
        (self.squares + (0..self.width).map(linear).sum::<f64>()).max(0.0)
    }

    /// The non-negative coefficients with the least squared deviation. Columns that `is_allowed` excludes get zero.
    pub(super) fn solve(&self, is_allowed: &[bool]) -> Vec<f64> {
        let scale: Vec<f64> = (0..self.width).map(|at| self.gram[at * self.width + at].sqrt()).collect();
        let columns: Vec<usize> = (0..self.width).filter(|at| is_allowed[*at] && scale[*at] > 0.0).collect();
        let scaled = ScaledProblem::new(self, &columns, &scale);
        let mut found = vec![0.0; self.width];
        for (at, value) in columns.iter().zip(scaled.solve()) {
            found[*at] = value / scale[*at];
        }
        found
    }
}

/// A problem whose columns have the norm 1.
struct ScaledProblem {
    size: usize,
    gram: Vec<f64>,
    moment: Vec<f64>,
}

impl ScaledProblem {
    fn new(problem: &LeastSquares, columns: &[usize], scale: &[f64]) -> Self {
        let entry = |a: usize, b: usize| problem.gram[a * problem.width + b] / scale[a] / scale[b];
        let gram = columns.iter().flat_map(|a| columns.iter().map(|b| entry(*a, *b))).collect();
        let moment = columns.iter().map(|at| problem.moment[*at] / scale[*at]).collect();
        let mut scaled = Self { size: columns.len(), gram, moment };
        (0..scaled.size).for_each(|at| scaled.gram[at * scaled.size + at] += RIDGE);
        scaled
    }

    fn solve(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.size];
        let mut is_free = vec![false; self.size];
        let tolerance = 1e-9 * self.moment.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        // Each round frees a coefficient; few are ever fixed again.
        for _ in 0..3 * self.size {
            let gain = |at: usize| {
                self.moment[at]
                    - (0..self.size).map(|with| self.gram[at * self.size + with] * x[with]).sum::<f64>()
            };
            let best = (0..self.size).filter(|at| !is_free[*at]).max_by(|a, b| gain(*a).total_cmp(&gain(*b)));
            let Some(best) = best.filter(|at| gain(*at) > tolerance) else { break };
            is_free[best] = true;
            self.settle(&mut x, &mut is_free);
        }
        x
    }

    /// Solves for the free coefficients, and fixes those at zero that would be negative.
    fn settle(&self, x: &mut [f64], is_free: &mut [bool]) {
        loop {
            let free: Vec<usize> = (0..self.size).filter(|at| is_free[*at]).collect();
            let solved = self.solve_free(&free);
            let step = free.iter().zip(&solved).filter(|(_, value)| **value <= 0.0);
            let step = step.map(|(at, value)| x[*at] / (x[*at] - value)).fold(1.0, f64::min);
            let step = if step.is_finite() { step } else { 0.0 };
            for (at, value) in free.iter().zip(&solved) {
                x[*at] += step * (value - x[*at]);
            }
            if solved.iter().all(|value| *value > 0.0) {
                return;
            }
            for (at, value) in free.iter().zip(&solved) {
                if *value <= 0.0 && x[*at] <= 1e-12 {
                    (x[*at], is_free[*at]) = (0.0, false);
                }
            }
            if free.iter().all(|at| is_free[*at]) {
                return;
            }
        }
    }

    /// Solves the equations of the free coefficients by Cholesky's decomposition.
    fn solve_free(&self, free: &[usize]) -> Vec<f64> {
        let size = free.len();
        let mut lower = vec![0.0; size * size];
        for row in 0..size {
            for column in 0..=row {
                let known: f64 = (0..column).map(|k| lower[row * size + k] * lower[column * size + k]).sum();
                let rest = self.gram[free[row] * self.size + free[column]] - known;
                lower[row * size + column] =
                    if row == column { rest.max(RIDGE).sqrt() } else { rest / lower[column * size + column] };
            }
        }
        let mut x: Vec<f64> = free.iter().map(|at| self.moment[*at]).collect();
        for row in 0..size {
            let known: f64 = (0..row).map(|k| lower[row * size + k] * x[k]).sum();
            x[row] = (x[row] - known) / lower[row * size + row];
        }
        for row in (0..size).rev() {
            let known: f64 = (row + 1..size).map(|k| lower[k * size + row] * x[k]).sum();
            x[row] = (x[row] - known) / lower[row * size + row];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(rows: &[([f64; 3], f64)]) -> LeastSquares {
        let mut problem = LeastSquares::new(3);
        rows.iter().for_each(|(row, target)| problem.add(row, *target, 1.0));
        problem
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        let is_close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(is_close && found.len() == expected.len(), "{found:?} is not {expected:?}");
    }

    #[test]
    fn positive_coefficients_are_those_of_least_squares() {
        let row = |n: f64| ([1.0, n, n * n], 2.0 + 0.5 * n + 0.25 * n * n);
        assert_close(&problem(&[1.0, 2.0, 3.0, 5.0, 8.0].map(row)).solve(&[true; 3]), &[2.0, 0.5, 0.25]);
    }

    #[test]
    fn a_coefficient_that_would_be_negative_is_zero_and_the_others_are_refitted() {
        // Without the third column the best line through 1, 3, 5 over 0, 1, 2 is 1 + 2·n.
        let rows = [([1.0, 0.0, 0.0], 1.0), ([1.0, 1.0, -1.0], 3.0), ([1.0, 2.0, -2.0], 5.0)];
        assert_close(&problem(&rows).solve(&[true; 3]), &[1.0, 2.0, 0.0]);
        let falling = [([1.0, 1.0, 0.0], 3.0), ([1.0, 2.0, 0.0], 2.0), ([1.0, 3.0, 0.0], 1.0)];
        assert_close(&problem(&falling).solve(&[true; 3]), &[2.0, 0.0, 0.0]);
    }

    #[test]
    fn excluded_equal_and_empty_columns_do_no_harm() {
        let rows = [1.0, 2.0, 4.0].map(|n| ([n, n, 0.0], 3.0 * n));
        let both = problem(&rows).solve(&[true; 3]);
        assert!((both[0] + both[1] - 3.0).abs() < 1e-5 && both[2] == 0.0, "{both:?}");
        assert_close(&problem(&rows).solve(&[false, true, true]), &[0.0, 3.0, 0.0]);
        assert_close(&problem(&[]).solve(&[true; 3]), &[0.0; 3]);
    }

    #[test]
    fn weights_count_a_row_more() {
        let mut weighted = LeastSquares::new(3);
        weighted.add(&[1.0, 0.0, 0.0], 1.0, 2.0);
        weighted.add(&[1.0, 0.0, 0.0], 2.0, 1.0);
        assert_close(&weighted.solve(&[true; 3]), &[1.2, 0.0, 0.0]);
    }
}
