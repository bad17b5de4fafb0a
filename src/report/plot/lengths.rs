//! Prompt and output lengths of a run: histograms in one SVG file.

use std::io::{self, Write};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::model::length_counts::LengthSummary;
use crate::model::record::Record;

/// Width and height of the image, in pixels.
const SIZE: (u32, u32) = (840, 960);

/// The most bars of a histogram. More of them only show noise.
const MAX_BARS: u32 = 40;

/// Writes the image: prompt lengths of all requests; output lengths and totals of completed requests.
pub(crate) fn render(records: &[Record], to: &mut impl Write) -> io::Result<()> {
    let answered = || records.iter().filter(|record| record.is_success());
    let prompt = |record: &Record| record.prompt_tokens.count;
    let output = |record: &Record| record.output_tokens.count;
    let panels = [
        ("Prompt tokens", RGBColor(74, 127, 193), records.iter().map(prompt).collect::<Vec<_>>()),
        ("Output tokens", RGBColor(232, 102, 46), answered().map(output).collect()),
        (
            "Prompt and output tokens",
            RGBColor(42, 157, 111),
            answered().map(|record| prompt(record).saturating_add(output(record))).collect(),
        ),
    ];
    let mut svg = String::new();
    {
        let picture = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        picture.fill(&WHITE).map_err(io::Error::other)?;
        for (area, (title, colour, lengths)) in picture.split_evenly((panels.len(), 1)).iter().zip(panels) {
            panel(area, title, colour, &lengths).map_err(io::Error::other)?;
        }
        picture.present().map_err(io::Error::other)?;
    }
    to.write_all(svg.as_bytes())
}

type DrawResult<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Draws one histogram, or only its title without values.
fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    title: &str,
    colour: RGBColor,
    lengths: &[u32],
) -> DrawResult<'a> {
    let Some(summary) = LengthSummary::from_lengths(lengths.iter().copied()) else {
        area.titled(&format!("{title}: no request"), ("sans-serif", 18))?;
        return Ok(());
    };
    let bars = LengthBars::count(lengths, summary.min, summary.max);
    let most = bars.counts.iter().copied().max().unwrap_or_default();
    let title = format!(
        "{title}: mean {:.0}, median {:.0}, P99 {:.0} ({} requests)",
        summary.mean,
        summary.p50,
        summary.p99,
        lengths.len()
    );
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(bars.start..bars.end(), 0..most + most / 10 + 1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("tokens")
        .y_desc("requests")
        .y_labels(6)
        .draw()?;
    chart.draw_series(bars.bar_bounds().map(|(from, to, count)| {
        Rectangle::new([(from, 0), (to, count)], colour.mix(0.85).filled().stroke_width(1))
    }))?;
    Ok(())
}

/// Bars of equal width over whole numbers of tokens.
#[derive(Debug, PartialEq, Eq)]
struct LengthBars {
    start: u32,
    width: u32,
    counts: Vec<u32>,
}

impl LengthBars {
    fn count(lengths: &[u32], min: u32, max: u32) -> Self {
        let width = ((max - min) / MAX_BARS).saturating_add(1);
        let mut counts = vec![0; ((max - min) / width) as usize + 1];
        for length in lengths {
            counts[((length - min) / width) as usize] += 1;
        }
        Self { start: min, width, counts }
    }

    fn end(&self) -> u32 {
        self.start.saturating_add(self.width.saturating_mul(self.counts.len() as u32))
    }

    /// The lower bound, the upper bound and the count of each bar.
    fn bar_bounds(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        self.counts.iter().enumerate().map(|(i, count)| {
            let from = self.start.saturating_add(self.width.saturating_mul(i as u32));
            (from, from.saturating_add(self.width), *count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::queue::Queue;
    use crate::testing::sample_run;

    fn svg(records: &[Record]) -> String {
        let mut svg = Vec::new();
        render(records, &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    #[test]
    fn every_length_is_in_one_bar() {
        let bars = LengthBars::count(&[3, 3, 4, 9], 3, 9);
        assert_eq!(bars, LengthBars { start: 3, width: 1, counts: vec![2, 1, 0, 0, 0, 0, 1] });
        assert_eq!(LengthBars::count(&[7, 7], 7, 7), LengthBars { start: 7, width: 1, counts: vec![2] });
        let long = LengthBars::count(&[0, u32::MAX], 0, u32::MAX);
        assert_eq!(long.counts.iter().sum::<u32>(), 2);
        assert!(long.counts.len() <= MAX_BARS as usize + 1);
    }

    #[test]
    fn prompts_and_answers_have_a_histogram_each() {
        let svg = svg(&Queue::default().open(500, 15.0));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for title in ["Prompt tokens: mean 100", "Output tokens: mean ", "Prompt and output tokens: mean "] {
            assert!(svg.contains(title), "{title}");
        }
        assert!(svg.matches("<rect").count() > 20);
    }

    #[test]
    fn requests_without_an_answer_have_a_prompt_only() {
        let svg = svg(&sample_run::records()[1..]);
        assert!(svg.contains("Prompt tokens: mean 9") && svg.contains("Output tokens: no request"), "{svg}");
    }
}
