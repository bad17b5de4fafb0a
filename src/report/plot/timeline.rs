//! Every request of a run on one page: when it waited, and how its tokens came. One HTML file that needs no network.

use std::io::{self, Write};
use std::time::Duration;

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use crate::core::record::Record;
use crate::core::run::Run;
use crate::report::figures::{milliseconds, percent, seconds};

const PAGE: &str = include_str!("timeline/page.html");
const SCRIPT: &str = include_str!("timeline/script.js");

/// Colours from what is wanted to what is not, told apart by eyes that see red and green alike, on light and on dark.
const COLOURS: [&str; MOST_THRESHOLDS + 1] = ["#2a9d6f", "#9dbb3f", "#efa31d", "#e8662e", "#c2255c"];

/// There are no more colours than for this many.
pub const MOST_THRESHOLDS: usize = 4;

/// Writes the page. Gaps between tokens are coloured by the thresholds, ascending and at most [`MOST_THRESHOLDS`]; the
/// Records must have kept them.
pub fn render(run: &Run, records: &[Record], thresholds: &[Duration], to: &mut impl Write) -> io::Result<()> {
    let bands = Bands(thresholds);
    let rows: Vec<_> = records.iter().map(|record| Row::of(record, bands)).collect();
    let legend = bands.legend(&rows);
    let colours = legend.iter().map(|entry| entry.colour).collect();
    let data = serde_json::to_string(&Data { end: micros(run.metrics.duration), colours, rows })?;
    let view = View {
        model: &run.spec.target.model,
        facts: facts(run),
        objection: run.validity.reason(),
        legend,
        script: SCRIPT,
        // Within a script element only its end tag means anything, and `<` stands in nothing but strings.
        data: data.replace('<', "\\u003c"),
    };
    let environment = Environment::new();
    let page = environment.template_from_named_str("timeline.html", PAGE).map_err(io::Error::other)?;
    let page = page.render(Serde(view)).map_err(io::Error::other)?;
    to.write_all(page.as_bytes())
}

/// What the template sees.
#[derive(Serialize)]
struct View<'a> {
    model: &'a str,
    facts: [(&'static str, String); 5],
    objection: Option<String>,
    legend: Vec<Entry>,
    script: &'a str,
    data: String,
}

fn facts(run: &Run) -> [(&'static str, String); 5] {
    [
        ("Started", run.started.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        ("Backend", run.spec.target.backend.name().to_owned()),
        ("Requests", run.metrics.requests().to_string()),
        ("Failed", run.metrics.failed.to_string()),
        ("Duration", seconds(run.metrics.duration)),
    ]
}

/// What the script sees. Times are microseconds since t0.
#[derive(Serialize)]
struct Data {
    end: u64,
    colours: Vec<&'static str>,
    rows: Vec<Row>,
}

/// A request; in JSON an array, of which there are thousands.
#[derive(Debug, PartialEq, Serialize)]
struct Row(Marks, u32, u32, Option<String>, Vec<Stretch>);

/// due, sent, first token, last token, done.
type Marks = [Option<u64>; 5];

/// Gaps of one band in a row, up to where they are in the other: band, end, how many, the longest.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Stretch(usize, u64, u32, u64);

impl Row {
    fn of(record: &Record, bands: Bands<'_>) -> Self {
        let times = &record.times;
        let marks = [Some(times.due), times.sent, times.first_token, times.last_token, times.done];
        let output = if record.succeeded() { record.output_tokens.count } else { 0 };
        let failure = record.outcome.as_ref().err().map(ToString::to_string);
        Self(
            marks.map(|mark| mark.map(micros)),
            record.prompt_tokens.count,
            output,
            failure,
            stretches(record, bands),
        )
    }
}

fn stretches(record: &Record, bands: Bands<'_>) -> Vec<Stretch> {
    let mut at = record.times.first_token.unwrap_or_default();
    let mut stretches: Vec<Stretch> = Vec::new();
    for gap in record.events.gaps.iter().flatten() {
        at += *gap;
        let (band, end, long) = (bands.of(*gap), micros(at), micros(*gap));
        match stretches.last_mut() {
            Some(Stretch(last, until, gaps, longest)) if *last == band => {
                (*until, *gaps, *longest) = (end, *gaps + 1, long.max(*longest));
            }
            _ => stretches.push(Stretch(band, end, 1, long)),
        }
    }
    stretches
}

/// Gaps up to the first threshold, from there to the second, and so on.
#[derive(Clone, Copy)]
struct Bands<'a>(&'a [Duration]);

/// A band as the legend shows it.
#[derive(Serialize)]
struct Entry {
    colour: &'static str,
    label: String,
    gaps: String,
}

impl Bands<'_> {
    /// The band of a gap.
    fn of(self, gap: Duration) -> usize {
        self.0.partition_point(|threshold| *threshold <= gap)
    }

    fn legend(self, rows: &[Row]) -> Vec<Entry> {
        let mut counts = vec![0_usize; self.0.len() + 1];
        for Stretch(band, _, gaps, _) in rows.iter().flat_map(|row| &row.4) {
            counts[*band] += *gaps as usize;
        }
        let all = counts.iter().sum();
        let entry = |(band, count): (usize, &usize)| Entry {
            colour: COLOURS[(band * MOST_THRESHOLDS).div_ceil(self.0.len().max(1)).min(MOST_THRESHOLDS)],
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
    use crate::core::record::{Failure, FailureClass};
    use crate::core::run::sample;
    use crate::core::simulated::Queue;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn page(records: &[Record]) -> String {
        let mut page = Vec::new();
        render(&sample::run(false), records, &[ms(25), ms(50)], &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_page_holds_the_times_of_every_request() {
        let rows = &data(&page(&sample::records()))["rows"];
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
        let mut record = sample::records().remove(0);
        record.events.gaps = Some([10, 24, 25, 49, 50, 10].map(ms).to_vec());
        let expected = [
            Stretch(0, 146_000, 2, 24_000),
            Stretch(1, 220_000, 2, 49_000),
            Stretch(2, 270_000, 1, 50_000),
            Stretch(0, 280_000, 1, 10_000),
        ];
        assert_eq!(stretches(&record, Bands(&[ms(25), ms(50)])), expected);
        let page = page(&[record]);
        for entry in ["ITL &lt; 25 ms", "25 ms ≤ ITL &lt; 50 ms", "ITL ≥ 50 ms", "3 (50.0 %)"] {
            assert!(page.contains(entry), "{entry}");
        }
    }

    #[test]
    fn any_number_of_thresholds_has_colours_of_its_own() {
        for count in 1..=MOST_THRESHOLDS as u64 {
            let thresholds: Vec<_> = (1..=count).map(ms).collect();
            let mut colours: Vec<_> =
                Bands(&thresholds).legend(&[]).iter().map(|entry| entry.colour).collect();
            assert_eq!((colours[0], *colours.last().unwrap()), (COLOURS[0], COLOURS[MOST_THRESHOLDS]));
            colours.dedup();
            assert_eq!(colours.len() as u64, count + 1);
        }
    }

    #[test]
    fn the_page_asks_nothing_of_the_network() {
        let page = page(&sample::records());
        assert!(page.contains("default-src 'none'"));
        for link in ["http:", "https:", " src=", "@import", "url(", "<link"] {
            assert!(!page.contains(link), "{link}");
        }
    }

    #[test]
    fn what_a_server_says_is_no_markup() {
        let mut records = sample::records();
        records[1].outcome =
            Err(Failure::new(FailureClass::Status(500), "</script><script>alert(1)</script>"));
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
