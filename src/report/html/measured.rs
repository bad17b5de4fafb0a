//! What was measured, all metrics, and the checks of the verdict.

use super::foreign_text::{MESSAGE, NAME, foreign_text};
use super::page::{NamedTable, Section};
use super::summary::metric_cell;
use super::table::{Cell, Row, Table};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::model::run_spec::{Slo, SloFrom};
use crate::model::server::{ServerMetrics, SpecDecodeStats};
use crate::model::validity::{Check, CheckOutcome, Quantity};
use crate::report::format::{milliseconds, seconds, share_text};
use crate::report::run_metrics::{self, MetricRow};
use crate::report::text::header;

/// The most labels of a run that are shown.
const MAX_LABELS: usize = 20;

/// The section of all metrics.
pub(super) fn metrics(run: &Run) -> Section {
    let mut section = Section::new("metrics", "Metrics");
    if run.metrics.completed == 0 {
        section.notes.push("No request was answered, so there are no latencies.".into());
    }
    let latencies = latency_table(run);
    if !latencies.rows.is_empty() {
        section.notes.push(match &run.prediction {
            None => "Below each value is its 95 % interval, wider than for independent requests where neighboring requests are correlated.".into(),
            Some(prediction) => format!("Below each value is its {:.0} % prediction interval.", 100.0 * prediction.coverage),
        });
        section.tables.push(NamedTable { title: "Latencies".into(), class: "numbers", table: latencies });
    }
    let mut rates = Table::new(["Metric", "Value"]);
    for row in run_metrics::scalar_rows(run) {
        let cells = vec![Cell::from(row.id.label()), metric_cell(&row)];
        rates.rows.push(Row {
            class: if row.invalid.is_some() { "bad" } else { "" },
            cells,
            ..Row::default()
        });
    }
    let plain = |name: &str, value: f64, text: String| Row {
        cells: vec![
            Cell::from(name.to_owned()),
            Cell { text, value: Some(value.to_string()), ..Cell::default() },
        ],
        ..Row::default()
    };
    let metrics = &run.metrics;
    for (name, rate) in [("Offered rate", metrics.offered_rate), ("Achieved rate", metrics.achieved_rate)] {
        rates.rows.extend(rate.map(|rate| plain(name, rate, format!("{rate:.2} req/s"))));
    }
    let (input, output) = (metrics.input_tokens.total, metrics.output_tokens.total);
    rates.rows.push(plain("Input tokens", input as f64, input.to_string()));
    if !metrics.is_pooling() {
        rates.rows.push(plain("Output tokens", output as f64, output.to_string()));
    }
    let peak = metrics.peak_in_flight;
    rates.rows.push(plain("Peak requests in flight", peak as f64, peak.to_string()));
    let server = run.server.as_ref();
    let share = |share: f64| (share, share_text(share));
    let speculation = server.and_then(SpecDecodeStats::from_server);
    let tokens = |length: f64| (length, format!("{length:.2} tokens a step"));
    let of_server = [
        ("Prefix cache hit rate (server)", server.and_then(ServerMetrics::prefix_hit_rate).map(share)),
        ("Accepted draft tokens", speculation.as_ref().map(|stats| share(stats.acceptance_rate()))),
        ("Acceptance length", speculation.and_then(|stats| stats.acceptance_length()).map(tokens)),
    ];
    let of_server = of_server.into_iter().filter_map(|(name, known)| Some((name, known?)));
    rates.rows.extend(of_server.map(|(name, (value, text))| plain(name, value, text)));
    section.tables.push(NamedTable { title: "Rates and totals".into(), class: "numbers", table: rates });
    section
}

fn latency_table(run: &Run) -> Table {
    let statistics = run_metrics::statistics(run);
    let mut table = Table::new(["Latency"]);
    table.head.extend(statistics.iter().map(|statistic| match statistic {
        Statistic::Mean => "mean".to_owned(),
        Statistic::Percentile(p) => format!("P{p}"),
    }));
    table.head.push("n".into());
    for latency in run_metrics::latencies(run) {
        let found = |statistic: &Statistic| MetricRow::from_run(MetricId::Latency(latency, *statistic), run);
        let rows: Vec<Option<MetricRow>> = statistics.iter().map(found).collect();
        let is_invalid = rows.iter().flatten().any(|row| row.invalid.is_some());
        let mut cells = vec![Cell::from(latency.symbol().to_owned())];
        cells.extend(rows.iter().map(|row| row.as_ref().map(metric_cell).unwrap_or_default()));
        let n = run.metrics.latencies.get(&latency).map_or(0, |found| found.n);
        let unit = if latency == Latency::Itl { "gaps" } else { "requests" };
        let count =
            Cell { text: n.to_string(), value: Some(n.to_string()), detail: Some(unit.into()), metric: None };
        cells.push(count);
        table.rows.push(Row { class: if is_invalid { "bad" } else { "" }, cells, ..Row::default() });
    }
    table
}

/// The section of the checks behind the verdict.
pub(super) fn checks(run: &Run) -> Section {
    let mut table = Table::new(["Outcome", "Check", "Value", "Bound", "Advice"]);
    let mut checks: Vec<&Check> = run.validity.checks.iter().collect();
    checks.sort_by_key(|check| match check.outcome {
        CheckOutcome::Invalid => 0,
        CheckOutcome::Warning => 1,
        CheckOutcome::NotJudged => 2,
        CheckOutcome::Passed => 3,
    });
    for check in checks {
        let (class, word) = match check.outcome {
            CheckOutcome::Invalid => ("bad", "INVALID"),
            CheckOutcome::Warning => ("warn", "warning"),
            CheckOutcome::NotJudged => ("", "not judged"),
            CheckOutcome::Passed => ("good", "passed"),
        };
        let quantity =
            |quantity: Option<Quantity>| quantity.map_or("–".to_owned(), |quantity| quantity.to_string());
        let texts = [
            word.to_owned(),
            check.name.label().to_owned(),
            quantity(check.figure),
            quantity(check.bound),
            foreign_text(&check.advice, MESSAGE),
        ];
        table.rows.push(Row { class, cells: texts.map(Cell::from).to_vec(), ..Row::default() });
    }
    let mut section = Section::new("checks", "Checks of the verdict");
    section.tables.push(NamedTable { title: String::new(), class: "checks", table });
    section
}

/// The section of what was asked of which server, from where.
pub(super) fn measured(run: &Run) -> Section {
    let mut section = Section::new("measured", "What was measured");
    let named = |title: &str, facts: Vec<(&str, Option<String>)>| {
        let mut table = Table::new(["", ""]);
        for (name, text) in facts {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                table.push([name.to_owned(), text]);
            }
        }
        NamedTable { title: title.into(), class: "facts", table }
    };
    section.tables.push(named("Server and load", server_and_load(run)));
    section.tables.push(named("Input and client", input_and_client(run)));
    let labels: Vec<(&str, Option<String>)> = run
        .notes
        .metadata
        .iter()
        .take(MAX_LABELS)
        .map(|(name, value)| (name.as_str(), Some(foreign_text(value, NAME))))
        .collect();
    if !labels.is_empty() {
        let mut table = named("Labels", labels);
        for row in &mut table.table.rows {
            row.cells[0].text = foreign_text(&row.cells[0].text, NAME);
        }
        section.tables.push(table);
    }
    section
}

fn server_and_load(run: &Run) -> Vec<(&'static str, Option<String>)> {
    let target = &run.spec.target;
    let name = |text: &str| Some(foreign_text(text, NAME));
    let engine = run.server.iter().flat_map(|server| &server.replicas);
    let engine = engine.filter_map(|replica| replica.engine.as_deref()).next().unwrap_or("server");
    let version = run.environment.server_version.as_deref();
    vec![
        ("Model", name(&target.model)),
        ("Address", Some(foreign_text(&target.display_url(), MESSAGE))),
        ("Server", version.and_then(|version| name(&format!("{engine} {version}")))),
        ("Backend", name(target.backend.name())),
        ("Load", Some(header::load(&run.spec.load))),
        ("Requests", Some(run.metrics.request_count().to_string())),
        ("SLO", run.spec.slo.is_set().then(|| limits(&run.spec.slo))),
        ("Seed", Some(run.spec.seed.to_string())),
        ("Steady state", Some(steady(run))),
    ]
}

fn input_and_client(run: &Run) -> Vec<(&'static str, Option<String>)> {
    let (dataset, tokenizer) = (&run.inputs.dataset, &run.inputs.tokenizer);
    let words: Vec<&str> = run.command.iter().map(String::as_str).collect();
    let command = shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "));
    let file = dataset.path.as_deref().map(|path| format!(" ({path})")).unwrap_or_default();
    let environment = &run.environment;
    let client = format!(
        "{}, {}, {} processors, servegauge {}",
        environment.host, environment.system, environment.cpus, run.version
    );
    vec![
        ("Command", Some(foreign_text(&command, MESSAGE))),
        ("Started", Some(run.started.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())),
        ("Duration", Some(seconds(run.metrics.duration))),
        ("Dataset", Some(foreign_text(&format!("{}{file}", dataset.dataset), NAME))),
        ("Dataset SHA-256", dataset.sha256.as_ref().map(|digest| foreign_text(&digest.to_string(), NAME))),
        (
            "Prompts SHA-256",
            run.inputs.prompts.as_ref().map(|digest| foreign_text(&digest.to_string(), NAME)),
        ),
        (
            "Token counts",
            Some(foreign_text(&format!("{} ({})", tokenizer.source.label(), tokenizer.origin), NAME)),
        ),
        ("Client", Some(foreign_text(&client, MESSAGE))),
    ]
}

fn steady(run: &Run) -> String {
    match &run.steady {
        Ok(steady) => format!(
            "from {} s to {} s, {} requests",
            steady.window.start.as_secs(),
            steady.window.end.as_secs(),
            steady.window.requests
        ),
        Err(why) => format!("none: {why}"),
    }
}

/// The limits of an SLO.
fn limits(slo: &Slo) -> String {
    let of_run = latency_limits(slo);
    let of_class = |(class, slo): (&String, &Slo)| {
        format!("class {}: {}", foreign_text(class, NAME), latency_limits(slo))
    };
    let classes = slo.classes.iter().take(MAX_LABELS).map(of_class);
    let parts: Vec<String> = std::iter::once(of_run).filter(|text| !text.is_empty()).chain(classes).collect();
    let from = if slo.from == SloFrom::Due { "from due" } else { "from sent" };
    format!("{} ({from})", parts.join("; "))
}

fn latency_limits(slo: &Slo) -> String {
    let limits = [("TTFT", slo.ttft), ("TPOT", slo.tpot), ("E2E", slo.e2e)];
    let limits = limits
        .into_iter()
        .filter_map(|(name, limit)| Some(format!("{name} ≤ {}", milliseconds(Some(limit?)))));
    limits.collect::<Vec<_>>().join(", ")
}
