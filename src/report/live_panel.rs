//! The live panel: the state of a load that is being measured, as a few lines for a terminal of any size.

use std::time::Duration;

use console::Style;

use super::format::milliseconds;
use super::live_run::{LiveRates, LiveRun, RECENT_SECONDS};
use super::sparkline::sparkline;
use crate::model::validity::{Check, CheckOutcome};
use crate::stats::DurationSketch;

/// The widest panel. Beyond that, the eye loses the line.
const MAX_WIDTH: usize = 120;

/// The width of the names at the beginning of the lines.
const NAME_WIDTH: usize = 10;

/// The room for a panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelArea {
    /// The columns of the terminal.
    pub width: usize,
    /// The most lines.
    pub height: usize,
    /// Whether the terminal shows colors, and the user wants them.
    pub is_colored: bool,
}

/// A line of the panel, and its place in the order in which lines are kept where there is no room for all.
struct PanelLine {
    rank: u8,
    text: String,
}

/// Renders the panel: at least one line, at most `height`. The caller cuts what is wider than the terminal.
pub(crate) fn panel(run: &LiveRun, area: PanelArea) -> Vec<String> {
    let paint = Paint { is_colored: area.is_colored };
    let width = area.width.min(MAX_WIDTH);
    let recent = run.recent();
    let bars = width.saturating_sub(30).clamp(8, 60);
    let line = |rank, name: &str, text: String| {
        Some(PanelLine { rank, text: format!("{}{text}", paint.dim(&format!("{name:<NAME_WIDTH$}"))) })
    };
    let rates = |value: fn(&LiveRates) -> f64| {
        let bars = sparkline(run.rates.iter().map(|rates| Some(value(rates))), bars, None);
        let now = run.rates.back().map(value).unwrap_or_default();
        format!("{} {}", paint.cyan(&bars), rate_text(now))
    };
    let lines = [
        Some(PanelLine { rank: 0, text: progress_line(run, width, paint) }),
        line(1, "requests", counts(run, paint)),
        line(5, "req/s", rates(|rates| rates.requests)),
        line(6, "tok/s", rates(|rates| rates.tokens)),
        line(
            2,
            "TTFT",
            latency(&recent.ttft, &format!("last {RECENT_SECONDS} s, {} answers", recent.ttft.len())),
        ),
        line(4, "ITL", latency(&recent.itl, "means of these answers")),
        server(run).and_then(|levels| line(7, "server", levels)),
        (!run.checks.is_empty()).then(|| line(3, "checks", checks(&run.checks, paint))).flatten(),
    ];
    fit(lines.into_iter().flatten().collect(), area.height)
}

/// Leaves out the least important lines where there is no room for all.
fn fit(mut lines: Vec<PanelLine>, height: usize) -> Vec<String> {
    while lines.len() > height.max(1) {
        let last = lines.iter().enumerate().max_by_key(|(_, line)| line.rank).map(|(at, _)| at);
        lines.remove(last.unwrap_or_default());
    }
    lines.into_iter().map(|line| line.text).collect()
}

fn progress_line(run: &LiveRun, width: usize, paint: Paint) -> String {
    let draining = if run.is_draining { ", draining" } else { "" };
    let name = format!("{}{draining}", run.goal.part.as_deref().unwrap_or("measuring"));
    let elapsed = run.progress.elapsed;
    let cells = width.saturating_sub(42 + name.chars().count()).clamp(6, 40);
    let name = paint.bold(&name);
    let Some(share) = share_done(run) else {
        return format!("{name} {} {}", run.ended, clock(elapsed));
    };
    let amount = match run.goal.requests {
        Some(requests) => format!("{} of {requests}", run.ended),
        None => run.ended.to_string(),
    };
    let left = (share > 0.0 && share < 1.0).then(|| elapsed.mul_f64(1.0 / share - 1.0));
    let left = left.map(|left| format!(", {} left", clock(left))).unwrap_or_default();
    let full = (share * cells as f64).round() as usize;
    let bar = paint.cyan(&"━".repeat(full)) + &paint.dim(&"─".repeat(cells - full));
    format!("{name} {bar} {:.0} %  {amount}  {}{left}", share * 100.0, clock(elapsed))
}

/// The share of the load that is over: of its requests, or of its time, whichever ends first.
fn share_done(run: &LiveRun) -> Option<f64> {
    let requests = run.goal.requests.filter(|requests| *requests > 0);
    let requests = requests.map(|requests| run.ended as f64 / requests as f64);
    let time = run.goal.duration.filter(|duration| !duration.is_zero());
    let time = time.map(|duration| run.progress.elapsed.as_secs_f64() / duration.as_secs_f64());
    requests.into_iter().chain(time).reduce(f64::max).map(|share| share.clamp(0.0, 1.0))
}

fn counts(run: &LiveRun, paint: Paint) -> String {
    let failed = format!("failed {}", run.failed);
    let failed = if run.failed > 0 { paint.red(&failed) } else { failed };
    let done = run.ended - run.failed;
    format!("sent {}   done {done}   {failed}   in flight {}", run.progress.sent, run.progress.in_flight)
}

fn latency(recent: &DurationSketch, what: &str) -> String {
    let percentile = |p| milliseconds(recent.percentile(p));
    format!("p50 {:<9} p99 {:<9} {what}", percentile(50.0), percentile(99.0))
}

fn server(run: &LiveRun) -> Option<String> {
    let levels = run.server?;
    let count = |name, level: Option<f64>| level.map(|level| format!("{name} {level:.0}"));
    let levels = [
        count("running", levels.running),
        count("waiting", levels.waiting),
        levels.kv_usage.map(|share| format!("KV {:.1} %", share * 100.0)),
    ];
    let levels: Vec<String> = levels.into_iter().flatten().collect();
    (!levels.is_empty()).then(|| levels.join("   "))
}

/// What the verdict would be if the run ended now, of the checks that can be judged by then.
fn checks(checks: &[Check], paint: Paint) -> String {
    let with = |outcome| checks.iter().filter(move |check| check.outcome == outcome).map(Check::finding);
    let (bad, doubtful) = (with(CheckOutcome::Invalid), with(CheckOutcome::Warning));
    let bad: Vec<String> = bad.map(|finding| paint.red(&format!("INVALID now: {finding}"))).collect();
    let doubtful = doubtful.map(|finding| paint.yellow(&format!("warning now: {finding}")));
    let objections: Vec<String> = bad.into_iter().chain(doubtful).collect();
    match objections.is_empty() {
        true => format!("{} of {} pass so far", checks.len(), checks.len()),
        false => objections.join("; "),
    }
}

fn rate_text(rate: f64) -> String {
    if rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// A time as `0:07`, `12:34` or `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Colors, where they are wanted.
#[derive(Clone, Copy)]
struct Paint {
    is_colored: bool,
}

impl Paint {
    fn apply(self, style: Style, text: &str) -> String {
        if self.is_colored { style.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }

    fn dim(self, text: &str) -> String {
        self.apply(Style::new().dim(), text)
    }

    fn bold(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    fn cyan(self, text: &str) -> String {
        self.apply(Style::new().cyan(), text)
    }

    fn yellow(self, text: &str) -> String {
        self.apply(Style::new().yellow(), text)
    }

    fn red(self, text: &str) -> String {
        self.apply(Style::new().red().bold(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::validity::ChecksSoFar;
    use crate::report::live_run::{LiveGoal, LiveProgress, LiveServer};
    use crate::testing::sample_run;

    fn area(width: usize, height: usize) -> PanelArea {
        PanelArea { width, height, is_colored: false }
    }

    /// Ten seconds of a load, 5 of whose 60 requests failed.
    fn load() -> LiveRun {
        let part = Some("step 2 of 6: concurrency 8".to_owned());
        let mut run = LiveRun::new(LiveGoal { part, requests: Some(120), duration: None });
        for second in 1..=10 {
            for n in 0..6 {
                let time = Duration::from_millis(100 + 10 * n);
                run.add_ended(Some(time), Some(time / 10), n == 0 && second > 5);
            }
            let elapsed = Duration::from_secs(second);
            run.update(LiveProgress {
                elapsed,
                sent: 6 * second as usize + 8,
                in_flight: 8,
                gaps: 300 * second,
            });
        }
        run.set_server(LiveServer { running: Some(8.0), waiting: Some(0.0), kv_usage: Some(0.123) });
        run
    }

    #[test]
    fn a_panel_of_80_columns() {
        let expected = [
            "step 2 of 6: concurrency 8 ━━━━━━────── 50 %  60 of 120  0:10, 0:10 left",
            "requests  sent 68   done 55   failed 5   in flight 8",
            "req/s     ██████████ 6.0",
            "tok/s     ██████████ 300",
            "TTFT      p50 125 ms    p99 150 ms    last 10 s, 54 answers",
            "ITL       p50 13 ms     p99 15 ms     means of these answers",
            "server    running 8   waiting 0   KV 12.3 %",
        ];
        assert_eq!(panel(&load(), area(80, 9)), expected);
    }

    #[test]
    fn a_panel_fits_every_terminal() {
        let mut run = load();
        let mut checks = ChecksSoFar::default();
        sample_run::records().iter().for_each(|record| checks.add_record(record));
        run.set_checks(&checks.judge(&sample_run::spec()));
        for height in 0..12 {
            for width in [0, 1, 20, 40, 80, 120, 200, 1000] {
                let lines = panel(&run, area(width, height));
                assert!((1..=height.max(1)).contains(&lines.len()), "{width} {height}: {lines:#?}");
                assert!(lines[0].starts_with("step 2"), "the progress stays: {lines:#?}");
            }
        }
        let narrow = panel(&run, area(80, 4)).join("\n");
        assert!(
            narrow.contains("TTFT") && narrow.contains("checks") && !narrow.contains("tok/s"),
            "{narrow}"
        );
    }

    #[test]
    fn a_load_that_has_not_begun_shows_no_figure_that_it_does_not_have() {
        let lines = panel(&LiveRun::default(), area(80, 9));
        assert_eq!(lines[0], "measuring 0 0:00");
        assert!(lines.iter().any(|line| line.contains("p50 n/a")), "{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("server") && !line.contains("checks")), "{lines:#?}");
    }

    #[test]
    fn progress_is_of_the_requests_or_of_the_time_and_never_above_the_whole() {
        let run = |requests, duration| {
            let mut run = LiveRun::new(LiveGoal { part: None, requests, duration });
            run.add_ended(None, None, false);
            run.update(LiveProgress { elapsed: Duration::from_secs(30), ..LiveProgress::default() });
            share_done(&run)
        };
        assert_eq!(run(None, None), None);
        assert_eq!(run(Some(4), None), Some(0.25));
        assert_eq!(run(None, Some(Duration::from_secs(60))), Some(0.5));
        assert_eq!(run(Some(4), Some(Duration::from_secs(60))), Some(0.5));
        assert_eq!(run(Some(0), Some(Duration::from_secs(10))), Some(1.0));
    }

    #[test]
    fn what_would_fail_now_is_said_with_figure_and_limit_and_in_color_only_where_wanted() {
        let mut run = load();
        let mut so_far = ChecksSoFar::default();
        let mut records = sample_run::records();
        for record in &mut records {
            let class = crate::model::record::FailureClass::Status(500);
            record.outcome = Err(Box::new(crate::model::record::Failure { class, detail: String::new() }));
            so_far.add_record(record);
        }
        run.set_checks(&so_far.judge(&sample_run::spec()));
        let plain = panel(&run, area(80, 9)).join("\n");
        assert!(plain.contains("INVALID now: failed requests: 100.0 % (limit "), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let colored = panel(&run, PanelArea { is_colored: true, ..area(80, 9) }).join("\n");
        assert!(colored.contains("\u{1b}[31m"), "{colored}");
        assert_eq!(console::strip_ansi_codes(&colored), plain);
    }

    #[test]
    fn times_are_read_as_clocks() {
        let read = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!([read(7), read(754), read(3723)], ["0:07", "12:34", "1:02:03"]);
    }
}
