//! A timeline of every request of a run: when it waited, and when its tokens came. One HTML file that needs no
//! network.

use std::io::{self, Write};
use std::time::Duration;

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use crate::model::record::Record;
use crate::model::run::Run;
use crate::report::format::{milliseconds, percent, seconds};

const PAGE: &str = include_str!("timeline/page.html");
const SCRIPT: &str = include_str!("timeline/script.js");

/// Colors from good to bad. Red-green color-blind readers can tell them apart, on light and dark backgrounds.
const COLORS: [&str; MAX_THRESHOLDS + 1] = ["#2a9d6f", "#9dbb3f", "#efa31d", "#e8662e", "#c2255c"];

/// The most thresholds: the number of colors minus one.
pub(crate) const MAX_THRESHOLDS: usize = 4;

/// Writes the page. `thresholds` color the gaps between tokens; they are ascending, at most [`MAX_THRESHOLDS`]. The
/// Records must include their gaps.
pub(crate) fn render(
    run: &Run,
    records: &[Record],
    thresholds: &[Duration],
    to: &mut impl Write,
) -> io::Result<()> {
    let bands = GapBands(thresholds);
    let rows: Vec<_> = records.iter().map(|record| TimelineRow::from_record(record, bands)).collect();
    let legend = bands.legend(&rows);
    let colours = legend.iter().map(|entry| entry.colour).collect();
    let data = serde_json::to_string(&TimelineData { end: micros(run.metrics.duration), colours, rows })?;
    let view = TimelineView {
        model: &run.spec.target.model,
        facts: facts(run),
        objection: run.validity.reason(),
        legend,
        script: SCRIPT,
        // Within a script element only its end tag has a meaning, and `<` occurs in strings only.
        data: data.replace('<', "\\u003c"),
    };
    let environment = Environment::new();
    let page = environment.template_from_named_str("timeline.html", PAGE).map_err(io::Error::other)?;
    let page = page.render(Serde(view)).map_err(io::Error::other)?;
    to.write_all(page.as_bytes())
}

/// The template's data.
#[derive(Serialize)]
struct TimelineView<'a> {
    model: &'a str,
    facts: [(&'static str, String); 5],
    objection: Option<String>,
    legend: Vec<LegendEntry>,
    script: &'a str,
    data: String,
}

fn facts(run: &Run) -> [(&'static str, String); 5] {
    [
        ("Started", run.started.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        ("Backend", run.spec.target.backend.name().to_owned()),
        ("Requests", run.metrics.request_count().to_string()),
        ("Failed", run.metrics.failed.to_string()),
        ("Duration", seconds(run.metrics.duration)),
    ]
}

/// The script's data. Times are microseconds since t0.
#[derive(Serialize)]
struct TimelineData {
    end: u64,
    colours: Vec<&'static str>,
    rows: Vec<TimelineRow>,
}

/// A request. JSON holds it as an array, since there are thousands of them.
#[derive(Debug, PartialEq, Serialize)]
struct TimelineRow(RowMarks, u32, u32, Option<String>, Vec<GapStretch>);

/// Times of a row: due, sent, first token, last token, done.
type RowMarks = [Option<u64>; 5];

/// A stretch of consecutive gaps in one band: the band's number, the end of the stretch, the number of gaps, the
/// longest gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct GapStretch(usize, u64, u32, u64);

impl TimelineRow {
    fn from_record(record: &Record, bands: GapBands<'_>) -> Self {
        let times = &record.times;
        let marks = [Some(times.due()), times.sent(), times.first_token(), times.last_token(), times.done()];
        let output = if record.is_success() { record.output_tokens.count } else { 0 };
        let failure = record.outcome.as_ref().err().map(ToString::to_string);
        Self(
            marks.map(|mark| mark.map(micros)),
            record.prompt_tokens.count,
            output,
            failure,
            gap_stretches(record, bands),
        )
    }
}

fn gap_stretches(record: &Record, bands: GapBands<'_>) -> Vec<GapStretch> {
    let mut at = record.times.first_token().unwrap_or_default();
    let mut stretches: Vec<GapStretch> = Vec::new();
    for gap in record.events.gaps.iter().flatten() {
        at += gap;
        let (band, end, long) = (bands.band_of(gap), micros(at), micros(gap));
        match stretches.last_mut() {
            Some(GapStretch(last, until, gaps, longest)) if *last == band => {
                (*until, *gaps, *longest) = (end, *gaps + 1, long.max(*longest));
            }
            _ => stretches.push(GapStretch(band, end, 1, long)),
        }
    }
    stretches
}

/// Bands of gaps, separated by ascending thresholds.
#[derive(Clone, Copy)]
struct GapBands<'a>(&'a [Duration]);

#[derive(Serialize)]
struct LegendEntry {
    colour: &'static str,
    label: String,
    gaps: String,
}

impl GapBands<'_> {
    fn band_of(self, gap: Duration) -> usize {
        self.0.partition_point(|threshold| *threshold <= gap)
    }

    fn legend(self, rows: &[TimelineRow]) -> Vec<LegendEntry> {
        let mut counts = vec![0_usize; self.0.len() + 1];
        for GapStretch(band, _, gaps, _) in rows.iter().flat_map(|row| &row.4) {
            counts[*band] += *gaps as usize;
        }
        let all = counts.iter().sum();
        let entry = |(band, count): (usize, &usize)| LegendEntry {
            colour: COLORS[(band * MAX_THRESHOLDS).div_ceil(self.0.len().max(1)).min(MAX_THRESHOLDS)],
            label: self.label(band),
            gaps: format!("{count} ({})", percent(*count, all)),
        };
        counts.iter().enumerate().map(entry).collect()
    }

    fn label(self, band: usize) -> String {
        let limit = |at: usize| self.0.get(at).map(|threshold| milliseconds(Some(*threshold)));
        match (band.checked_sub(1).and_then(limit), limit(band)) {
            (None, None) => "ITL".to_owned(),
            (None, Some(below)) => format!("ITL < {below}"),
            (Some(from), Some(below)) => format!("{from} ≤ ITL < {below}"),
            (Some(from), None) => format!("ITL ≥ {from}"),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::record::{Failure, FailureClass};
    use crate::testing::queue::Queue;
    use crate::testing::sample_run;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn page(records: &[Record]) -> String {
        let mut page = Vec::new();
        render(&sample_run::run(false), records, &[ms(25), ms(50)], &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_page_holds_the_times_of_every_request() {
        let rows = &data(&page(&sample_run::records()))["rows"];
        assert_eq!(
            rows[0],
            json!([
                [10000, 12000, 112000, 212000, 213000],
                9,
                3,
                null,
                [[1, 152000, 1, 40000], [2, 212000, 1, 60000]]
            ])
        );
        assert_eq!(rows[1], json!([[20000, 21000, null, null, 30000], 9, 0, "HTTP 503: busy", []]));
    }

    #[test]
    fn gaps_are_coloured_by_the_thresholds() {
        let mut record = sample_run::records().remove(0);
        record.events.gaps = Some([10, 24, 25, 49, 50, 10].map(ms).into_iter().collect());
        let expected = [
            GapStretch(0, 146_000, 2, 24_000),
            GapStretch(1, 220_000, 2, 49_000),
            GapStretch(2, 270_000, 1, 50_000),
            GapStretch(0, 280_000, 1, 10_000),
        ];
        assert_eq!(gap_stretches(&record, GapBands(&[ms(25), ms(50)])), expected);
        let page = page(&[record]);
        for entry in ["ITL &lt; 25 ms", "25 ms ≤ ITL &lt; 50 ms", "ITL ≥ 50 ms", "3 (50.0 %)"] {
            assert!(page.contains(entry), "{entry}");
        }
    }

    #[test]
    fn any_number_of_thresholds_has_colours_of_its_own() {
        for count in 1..=MAX_THRESHOLDS as u64 {
            let thresholds: Vec<_> = (1..=count).map(ms).collect();
            let mut colours: Vec<_> =
                GapBands(&thresholds).legend(&[]).iter().map(|entry| entry.colour).collect();
            assert_eq!((colours[0], *colours.last().unwrap()), (COLORS[0], COLORS[MAX_THRESHOLDS]));
            colours.dedup();
            assert_eq!(colours.len() as u64, count + 1);
        }
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let page = page(&sample_run::records());
        assert!(page.contains("default-src 'none'"));
        for link in ["http:", "https:", " src=", "@import", "url(", "<link"] {
            assert!(!page.contains(link), "{link}");
        }
    }

    #[test]
    fn what_a_server_says_is_no_markup() {
        let mut records = sample_run::records();
        records[1].outcome =
            Err(Failure::new(FailureClass::Status(500), "</script><script>alert(1)</script>").into());
        let page = page(&records);
        assert!(!page.contains("<script>alert"));
        assert_eq!(data(&page)["rows"][1][3], "HTTP 500: </script><script>alert(1)</script>");
    }

    #[test]
    fn ten_thousand_requests_are_a_page_of_a_few_megabytes() {
        let mut records = Queue::default().open(10_000, 15.0);
        for record in &mut records {
            let gaps = record.events.count - 1;
            record.events.gaps = Some((0..gaps).map(|i| ms(if i % 20 == 0 { 60 } else { 10 })).collect());
        }
        let page = page(&records);
        assert_eq!(data(&page)["rows"].as_array().unwrap().len(), 10_000);
        assert!(page.len() < 4 << 20, "{} bytes", page.len());
    }
}
