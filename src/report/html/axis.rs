//! Axes of charts: a range of round numbers, and the ticks on it.

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// An axis. Its range ends at round numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// The quantity and its unit: `TTFT, ms`.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// The least value on the axis; above zero on a logarithmic one.
    pub low: f64,
    /// The largest value on the axis.
    pub high: f64,
    /// The first tick of a linear axis, and the distance to the next.
    first: f64,
    step: f64,
}

/// The number of ticks that a linear axis has about.
const TICKS: f64 = 6.0;

/// The most ticks of a logarithmic axis that has one at 1, 2 and 5 of each decade.
const MAX_FINE_TICKS: usize = 9;

impl Axis {
    /// A linear axis from zero to a round number that is not below `most`.
    pub(super) fn from_zero(label: impl Into<String>, most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = round_up(most / TICKS);
        Self {
            label: label.into(),
            scale: Scale::Linear,
            low: 0.0,
            high: (most / step).ceil() * step,
            first: 0.0,
            step,
        }
    }

    /// A linear axis between round numbers that has these values.
    pub(super) fn spanning(label: impl Into<String>, values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite());
        let widened = values.fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = match widened {
            Some((low, high)) if low < high => (low, high),
            // The range of a single value begins or ends at zero.
            Some((value, _)) if value != 0.0 => (value.min(0.0), value.max(0.0)),
            _ => (0.0, 1.0),
        };
        let step = round_up((high - low) / TICKS);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { label: label.into(), scale: Scale::Linear, low, high, first: low, step }
    }

    /// A linear axis of exactly this range, with ticks at multiples of a step.
    pub(super) fn exact(label: impl Into<String>, (low, high): (f64, f64), step: f64) -> Self {
        Self { label: label.into(), scale: Scale::Linear, low, high, first: low, step }
    }

    /// A linear axis of the whole numbers from `first` to `last`, such as the turns of a session.
    pub(super) fn whole(label: impl Into<String>, first: usize, last: usize) -> Self {
        let step = (last - first).div_ceil(12).max(1) as f64;
        let (first, ends) = (first as f64, (first as f64 - 0.5, last as f64 + 0.5));
        Self { first, ..Self::exact(label, ends, step) }
    }

    /// A linear axis from zero to exactly `end`, such as the length of a run.
    pub(super) fn until(label: impl Into<String>, end: f64) -> Self {
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        Self { high: end, ..Self::from_zero(label, end) }
    }

    /// A logarithmic axis that has these values. Values of zero or less are at its start.
    pub(super) fn log(label: impl Into<String>, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.1, 10.0);
        }
        let (low, mut high) = (round_down(low), round_up(high));
        if low >= high {
            high = round_up(low * 1.01);
        }
        Self { label: label.into(), scale: Scale::Log, low, high, first: low, step: 0.0 }
    }

    /// The place of a value, from 0 to 1.
    pub(super) fn position(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log if value <= self.low => 0.0,
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// The ticks: the value and its text.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let values = match self.scale {
            Scale::Linear => {
                let count = ((self.high - self.first) / self.step + 1e-9).floor() as u32;
                (0..=count).map(|i| at_zero(self.first + f64::from(i) * self.step, self.step)).collect()
            }
            Scale::Log => self.log_ticks(),
        };
        values.into_iter().map(|value| (value, tick_text(value))).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let is_within = |value: &f64| *value >= self.low * 0.999 && *value <= self.high * 1.001;
        let of = |factors: &'static [f64]| {
            let values = decades
                .clone()
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
            values.filter(is_within).collect::<Vec<f64>>()
        };
        let fine = of(&[1.0, 2.0, 5.0]);
        if fine.len() <= MAX_FINE_TICKS { fine } else { of(&[1.0]) }
    }
}

/// Zero for a value that is a rounding error of a step away from it.
fn at_zero(value: f64, step: f64) -> f64 {
    if value.abs() < step * 1e-6 { 0.0 } else { value }
}

/// The least of 1, 2, 5, 10, … that is not below a value.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * decade >= value * 0.999_999);
    found.unwrap_or(10.0) * decade
}

/// The largest of 1, 2, 5, 10, … that is not above a value.
fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let found = [10.0, 5.0, 2.0, 1.0].into_iter().find(|factor| factor * decade <= value * 1.000_001);
    found.unwrap_or(1.0) * decade
}

/// A tick's number, without zeros at its end, with commas between thousands.
fn tick_text(value: f64) -> String {
    if value.abs() >= 1e6 && value % 1e5 == 0.0 {
        return format!("{}M", value / 1e6);
    }
    let digits = if value == 0.0 { 0.0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) };
    let text = format!("{value:.*}", digits as usize);
    match text.split_once('.') {
        Some((whole, rest)) => {
            let rest = rest.trim_end_matches('0');
            if rest.is_empty() { with_commas(whole) } else { format!("{}.{rest}", with_commas(whole)) }
        }
        None => with_commas(&text),
    }
}

/// Writes a whole number with commas between thousands.
pub(super) fn with_commas(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && text.ends_with(|c: char| c.is_ascii_digit()) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let axis = Axis::from_zero("requests", 63.0);
        assert_eq!(texts(&axis), ["0", "20", "40", "60", "80"]);
        assert_eq!((axis.position(40.0), axis.position(-1.0), axis.position(99.0)), (0.5, 0.0, 1.0));
        assert_eq!(texts(&Axis::from_zero("share", 0.3)), ["0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3"]);
        assert_eq!(texts(&Axis::until("s", 15.5)), ["0", "5", "10", "15"]);
        assert_eq!(texts(&Axis::from_zero("tok/s", 23_456.0)).last().unwrap(), "25,000");
    }

    #[test]
    fn an_axis_of_differences_has_zero_as_a_tick() {
        let axis = Axis::spanning("%", [-33.0, 4.0, f64::INFINITY].into_iter());
        assert_eq!(texts(&axis), ["-40", "-30", "-20", "-10", "0", "10"]);
        assert_eq!(texts(&Axis::spanning("%", [0.3, 0.0].into_iter())).last().unwrap(), "0.3");
        for values in [vec![], vec![0.0], vec![-7.0], vec![1e300, -1e300]] {
            let axis = Axis::spanning("", values.into_iter());
            assert!(axis.low < axis.high && (2..=14).contains(&axis.ticks().len()), "{axis:?}");
        }
    }

    #[test]
    fn an_axis_of_whole_numbers_has_ticks_at_them() {
        assert_eq!(texts(&Axis::whole("turn", 1, 4)), ["1", "2", "3", "4"]);
        assert_eq!(texts(&Axis::whole("turn", 1, 1)), ["1"]);
        assert!(texts(&Axis::whole("turn", 1, 1000)).len() <= 13);
    }

    #[test]
    fn logarithmic_axes_have_their_values_and_few_ticks() {
        let axis = Axis::log("ms", [23.0, 180.0].into_iter());
        assert_eq!(texts(&axis), ["20", "50", "100", "200"]);
        assert_eq!(axis.position(0.0), 0.0);
        let wide = Axis::log("ms", [0.02, 90_000.0].into_iter());
        assert_eq!(texts(&wide), ["0.1", "1", "10", "100", "1,000", "10,000", "100,000"]);
    }

    #[test]
    fn one_value_and_none_have_an_axis() {
        for values in [vec![], vec![50.0], vec![0.0, f64::NAN], vec![1e-9], vec![1e12]] {
            let axis = Axis::log("ms", values.into_iter());
            assert!(axis.low < axis.high && !axis.ticks().is_empty(), "{axis:?}");
        }
        for most in [0.0, f64::NAN, f64::INFINITY, -1.0, 1e-12, 1e15] {
            let axis = Axis::from_zero("", most);
            assert!(axis.high > 0.0 && (2..=12).contains(&axis.ticks().len()), "{most}: {axis:?}");
        }
    }
}
