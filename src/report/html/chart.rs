//! Charts: layers between two axes, drawn as SVG without a color of its own, so that the page's style colors one drawing
//! for light, dark and paper.
//!
//! `plotters`, which draws the other pictures, writes colors and font sizes into every element, which neither follow the
//! reader's color scheme nor can be read by a script for its cursor.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::axis::{Axis, Scale};
use super::table::{Table, number};

/// Width of a drawing, in its own units; two fit beside each other on a wide screen.
const WIDTH: f64 = 640.0;
/// Space for the labels of the y axis.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;
/// Height of the drawings whose content does not set it.
const HEIGHT: f64 = 270.0;
/// The width of a letter, about.
pub(super) const LETTER: f64 = 7.2;

/// The number of colors of series.
pub(super) const COLORS: usize = 8;

/// A chart with the table of what it shows.
pub(super) struct Chart {
    /// The title.
    pub title: String,
    /// The x axis.
    pub x: Axis,
    /// The y axis.
    pub y: Axis,
    /// What is drawn, from back to front.
    pub layers: Vec<Layer>,
    /// The words for the layers.
    pub legend: Vec<(LegendKey, String)>,
    /// The numbers.
    pub table: Table,
    /// What a reader must know to read it.
    pub note: Option<String>,
    /// Charts of one group have one x axis, and share the cursor.
    pub group: &'static str,
    /// The height of the space between the axes, if the content sets it.
    pub inner_height: Option<f64>,
    /// The space for the labels of the y axis.
    pub left: f64,
}

/// What is drawn on a chart.
pub(super) enum Layer {
    /// A line, interrupted where there is no value.
    Line { color: usize, points: Vec<Option<(f64, f64)>> },
    /// The space between two lines: x, low, high.
    Band { color: usize, points: Vec<Option<(f64, f64, f64)>> },
    /// Filled outlines.
    Outline { color: usize, parts: Vec<Vec<(f64, f64)>> },
    /// A span of the x axis in the background.
    Span { class: &'static str, from: f64, to: f64 },
    /// A span of the y axis in the background.
    Zone { class: &'static str, from: f64, to: f64 },
    /// A vertical line. The labels of lines are in ascending order.
    Rule { class: &'static str, x: f64, label: String },
    /// A horizontal line, with its label at the left.
    Level { class: &'static str, y: f64, label: String },
    /// A short mark at the foot of the chart.
    Tick { x: f64 },
    /// A point, with a number in its label.
    Dot { color: usize, x: f64, y: f64, radius: f64, label: DotLabel },
    /// A horizontal line with ends: an interval.
    Interval { color: usize, y: f64, from: f64, to: f64 },
    /// A rectangle: x from, x to, y from, y to.
    Block { class: String, x: (f64, f64), y: (f64, f64) },
    /// A text in front of the y axis.
    RowLabel { y: f64, text: String },
}

/// The text beside a point.
pub(super) enum DotLabel {
    None,
    /// Below and right of the point, where a rising line leaves space.
    Below(String),
    /// Above and right of the point, where a falling line leaves space.
    Above(String),
}

/// What stands before a word of the legend.
#[derive(Debug, Clone, Copy)]
pub(super) enum LegendKey {
    Line(usize),
    Band(usize),
    Class(&'static str),
}

impl LegendKey {
    /// The class of the legend's mark.
    pub(super) fn class(self) -> String {
        match self {
            Self::Line(color) => format!("key c{}", color % COLORS),
            Self::Band(color) => format!("key band c{}", color % COLORS),
            Self::Class(class) => format!("key {class}"),
        }
    }
}

/// Escapes text for markup, as the page's template does.
fn escaped(text: &str) -> String {
    HtmlEscape(text).to_string()
}

impl Chart {
    /// A chart without layers.
    pub(super) fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            layers: Vec::new(),
            legend: Vec::new(),
            table: Table::default(),
            note: None,
            group: "",
            inner_height: None,
            left: LEFT,
        }
    }

    fn height(&self) -> f64 {
        self.inner_height.map_or(HEIGHT, |inner| inner + TOP + BOTTOM)
    }

    fn x_of(&self, value: f64) -> f64 {
        self.left + self.x.position(value) * (WIDTH - self.left - RIGHT)
    }

    fn y_of(&self, value: f64) -> f64 {
        self.height() - BOTTOM - self.y.position(value) * (self.height() - TOP - BOTTOM)
    }

    /// Draws the chart.
    pub(super) fn svg(&self) -> String {
        let mut svg = String::new();
        let log = if self.x.scale == Scale::Log { " data-log=\"1\"" } else { "" };
        let _ = write!(
            svg,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\" data-low=\"{}\" data-high=\"{}\"{log} \
             data-left=\"{}\" data-right=\"{}\" data-top=\"{TOP}\" data-foot=\"{}\">",
            self.height(),
            escaped(&self.title),
            number(self.x.low),
            number(self.x.high),
            self.left,
            WIDTH - RIGHT,
            self.height() - BOTTOM,
        );
        self.draw_axes(&mut svg);
        if self.group.is_empty() {
            self.layers.iter().for_each(|layer| self.draw(layer, &mut svg));
        } else {
            // The script zooms by the inner picture's view.
            let (left, width, height) = (self.left, WIDTH - self.left - RIGHT, self.height());
            let _ = write!(
                svg,
                "<svg class=\"plot\" x=\"{left}\" width=\"{width}\" height=\"{height}\" viewBox=\"{left} 0 {width} \
                 {height}\" preserveAspectRatio=\"none\">"
            );
            self.layers.iter().for_each(|layer| self.draw(layer, &mut svg));
            svg.push_str("</svg>");
        }
        self.draw_rule_labels(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn draw_axes(&self, svg: &mut String) {
        let (left, right, foot) = (self.left, WIDTH - RIGHT, self.height() - BOTTOM);
        let mut grid = String::new();
        if !self.layers.iter().any(|layer| matches!(layer, Layer::RowLabel { .. })) {
            for (value, text) in self.y.ticks() {
                let y = self.y_of(value);
                let _ = write!(grid, "M{left} {y:.1}H{right}");
                let _ =
                    write!(svg, "<text class=\"e\" x=\"{}\" y=\"{:.1}\">{text}</text>", left - 7.0, y + 4.0);
            }
        }
        let middle = f64::midpoint(left, right);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"{grid}\"/><path class=\"axis\" d=\"M{left} {foot}H{right}\"/>\
             <text class=\"m\" x=\"{middle}\" y=\"{}\">{}</text><text x=\"8\" y=\"14\">{}</text><g class=\"ticks\">",
            foot + 36.0,
            escaped(&self.x.label),
            escaped(&self.y.label),
        );
        for (value, text) in self.x.ticks() {
            let x = self.x_of(value);
            // A label in the corner would leave the picture.
            let (class, at) = if x > right - 12.0 { ("e", right + 12.0) } else { ("m", x) };
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {foot}v5\"/><text class=\"{class}\" x=\"{at:.1}\" y=\"{}\">{text}</text>",
                foot + 18.0
            );
        }
        svg.push_str("</g>");
    }

    /// Writes the labels of vertical lines where they do not cover each other.
    fn draw_rule_labels(&self, svg: &mut String) {
        let mut free_from = 0.0;
        for layer in &self.layers {
            let Layer::Rule { x: value, label, .. } = layer else { continue };
            let (at, length) = (self.x_of(*value), LETTER * label.chars().count() as f64);
            let (anchor, beside) = if at + length > WIDTH { ("e", at - 4.0) } else { ("s", at + 4.0) };
            let start = if anchor == "e" { beside - length } else { beside };
            if label.is_empty() || start < free_from {
                continue;
            }
            free_from = start + length;
            let _ = write!(
                svg,
                "<text class=\"{anchor}\" x=\"{beside:.1}\" y=\"{}\" data-at=\"{}\">{}</text>",
                TOP + 10.0,
                number(*value),
                escaped(label)
            );
        }
    }

    fn draw(&self, layer: &Layer, svg: &mut String) {
        let (head, foot) = (TOP, self.height() - BOTTOM);
        let _ = match layer {
            Layer::Line { color, points } => {
                let (path, lone) = self.line(points);
                let class = color % COLORS;
                if !lone.is_empty() {
                    let _ = write!(svg, "<path class=\"lone c{class}\" d=\"{lone}\"/>");
                }
                write!(svg, "<path class=\"line c{class}\" d=\"{path}\"/>")
            }
            Layer::Outline { color, parts } => {
                let path: String = parts.iter().map(|part| self.outline(part.iter().copied())).collect();
                write!(svg, "<path class=\"band c{}\" d=\"{path}\"/>", color % COLORS)
            }
            Layer::Band { color, points } => {
                let path = self.band(points);
                write!(svg, "<path class=\"band c{}\" d=\"{path}\"/>", color % COLORS)
            }
            Layer::Span { class, from, to } => {
                let (from, to) = (self.x_of(*from), self.x_of(*to));
                rectangle(svg, class, (from, to), (head, foot))
            }
            Layer::Zone { class, from, to } => {
                rectangle(svg, class, (self.left, WIDTH - RIGHT), (self.y_of(*to), self.y_of(*from)))
            }
            Layer::Block { class, x, y } => {
                rectangle(svg, class, (self.x_of(x.0), self.x_of(x.1)), (self.y_of(y.1), self.y_of(y.0)))
            }
            mark => return self.draw_mark(mark, svg),
        };
    }

    /// Draws the layers that are not areas or lines through values.
    fn draw_mark(&self, mark: &Layer, svg: &mut String) {
        let (head, foot) = (TOP, self.height() - BOTTOM);
        let _ = match mark {
            Layer::Rule { class, x, .. } => {
                write!(svg, "<path class=\"{class}\" d=\"M{:.1} {head}V{foot}\"/>", self.x_of(*x))
            }
            Layer::Level { class, y, label } => {
                let (left, right, y) = (self.left, WIDTH - RIGHT, self.y_of(*y));
                write!(
                    svg,
                    "<path class=\"{class}\" d=\"M{left} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\">{}</text>",
                    left + 4.0,
                    (y - 4.0).max(head + 10.0),
                    escaped(label)
                )
            }
            Layer::Tick { x } => {
                write!(svg, "<path class=\"failure\" d=\"M{:.1} {}v9\"/>", self.x_of(*x), foot - 9.0)
            }
            Layer::Dot { color, x, y, radius, label } => {
                let (x, y) = (self.x_of(*x), self.y_of(*y));
                let class = color % COLORS;
                let _ = write!(
                    svg,
                    "<circle class=\"dot c{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
                );
                let (height, text) = match label {
                    DotLabel::None => return,
                    DotLabel::Below(text) => ((y + 17.0).min(foot - 3.0), text),
                    DotLabel::Above(text) => ((y - 5.0).max(head + 10.0), text),
                };
                let length = LETTER * text.chars().count() as f64;
                let (anchor, beside) = if x + 7.0 + length > WIDTH { ("e", x - 7.0) } else { ("s", x + 7.0) };
                write!(
                    svg,
                    "<text class=\"{anchor}\" x=\"{beside:.1}\" y=\"{height:.1}\">{}</text>",
                    escaped(text)
                )
            }
            Layer::Interval { color, y, from, to } => {
                let y = self.y_of(*y);
                // An end that is not bounded has no bar.
                let bar = |end: f64| match end.is_finite() {
                    true => format!("M{:.1} {:.1}v8", self.x_of(end), y - 4.0),
                    false => String::new(),
                };
                write!(
                    svg,
                    "<path class=\"whisker c{}\" d=\"M{:.1} {y:.1}H{:.1}{}{}\"/>",
                    color % COLORS,
                    self.x_of(*from),
                    self.x_of(*to),
                    bar(*from),
                    bar(*to)
                )
            }
            Layer::RowLabel { y, text } => {
                let y = self.y_of(*y) + 4.0;
                write!(
                    svg,
                    "<text class=\"e\" x=\"{}\" y=\"{y:.1}\">{}</text>",
                    self.left - 7.0,
                    escaped(text)
                )
            }
            _ => return,
        };
    }

    /// The path of a line, and that of the values between two gaps: strokes of no length, which are dots.
    fn line(&self, points: &[Option<(f64, f64)>]) -> (String, String) {
        let (mut path, mut lone) = (String::new(), String::new());
        for part in points.split(Option::is_none) {
            for (at, (x, y)) in part.iter().flatten().enumerate() {
                let command = if at == 0 { "M" } else { "L" };
                let (path, end) = if part.len() == 1 { (&mut lone, "h0") } else { (&mut path, "") };
                let _ = write!(path, "{command}{:.1} {:.1}{end}", self.x_of(*x), self.y_of(*y));
            }
        }
        (path, lone)
    }

    fn band(&self, points: &[Option<(f64, f64, f64)>]) -> String {
        let parts = points.split(Option::is_none).filter(|part| !part.is_empty());
        let outline = |part: &[Option<(f64, f64, f64)>]| {
            let low = part.iter().flatten().map(|(x, low, _)| (*x, *low));
            let high = part.iter().rev().flatten().map(|(x, _, high)| (*x, *high));
            self.outline(low.chain(high))
        };
        parts.map(outline).collect()
    }

    fn outline(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (at, (x, y)) in points.enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x_of(x), self.y_of(y));
        }
        path + "Z"
    }
}

fn rectangle(
    svg: &mut String,
    class: &str,
    (left, right): (f64, f64),
    (top, foot): (f64, f64),
) -> std::fmt::Result {
    write!(
        svg,
        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        (right - left).max(0.0),
        (foot - top).max(0.0)
    )
}
