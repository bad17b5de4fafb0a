//! The first line of the report: target, load, and start.

use std::io::{self, Write};

use super::wrapped;
use crate::model::plain_text::one_line;
use crate::model::run::Run;
use crate::model::run_spec::{Load, RateSchedule};

/// Writes the first line: target, model, server, dataset, load, seed, start.
pub(crate) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    // A prediction has no server.
    let place = match run.is_predicted() {
        true => "PREDICTED".to_owned(),
        false => one_line(&run.spec.target.display_url()),
    };
    let model = one_line(&run.spec.target.model);
    let is_named = !(model.is_empty() && run.is_predicted());
    let mut parts = vec![place];
    parts.extend(is_named.then(|| format!("model {model}")));
    parts.extend(server(run));
    let requests = run.metrics.request_count();
    let plural = if requests == 1 { "" } else { "s" };
    parts.push(format!("{}, {requests} request{plural}", one_line(&run.inputs.dataset.dataset)));
    parts.push(load(&run.spec.load));
    parts.push(format!("seed {}", run.spec.seed));
    parts.push(run.started.strftime("%Y-%m-%d %H:%M:%S %:z").to_string());
    wrapped(&parts, to)
}

/// `vLLM 0.11.0`; `None` if the server does not report its version.
fn server(run: &Run) -> Option<String> {
    let version = one_line(run.environment.server_version.as_deref()?);
    let replicas = run.server.iter().flat_map(|server| &server.replicas);
    let engine = replicas.filter_map(|replica| replica.engine.as_deref()).next().unwrap_or("server");
    Some(format!("{} {version}", one_line(engine)))
}

/// `Poisson 20 req/s, at most 64 in flight`.
pub(crate) fn load(load: &Load) -> String {
    let sessions = load.max_active_sessions.map(|most| format!("{most} sessions"));
    let cap = sessions.or(load.max_concurrency.map(|most| format!("{most} in flight")));
    let arrivals = match (load.is_paced(), &cap) {
        (true, None) => arrivals(load),
        (true, Some(cap)) => format!("{}, at most {cap}", arrivals(load)),
        (false, Some(cap)) => format!("closed loop, {cap}"),
        (false, None) => "all at once".to_owned(),
    };
    match load.duration {
        Some(time) => format!("{arrivals}, for {}", humantime::format_duration(time)),
        None => arrivals,
    }
}

fn arrivals(load: &Load) -> String {
    let rate = load.request_rate.get();
    match (&load.pace, load.burstiness) {
        (RateSchedule::Trace, _) => "arrivals as in the trace".to_owned(),
        (RateSchedule::Ramp(_) | RateSchedule::Stages { .. }, _) => load.pace.to_string(),
        (RateSchedule::Steady, 1.0) => format!("Poisson {rate} req/s"),
        (RateSchedule::Steady, f64::INFINITY) => format!("constant {rate} req/s"),
        (RateSchedule::Steady, burstiness) => format!("Gamma {rate} req/s of burstiness {burstiness}"),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;
    use crate::model::units::Rate;
    use crate::testing::sample_run;

    #[test]
    fn the_first_line_says_what_was_measured() {
        let mut run = sample_run::run(false);
        run.environment.server_version = Some("0.11.0".into());
        run.spec.target.base_url = "http://user:hunter2@host:8000".into();
        let mut text = Vec::new();
        render(&run, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("http://") && !text.contains("hunter2"), "{text}");
        let expected = " · server 0.11.0 · sharegpt, 2 requests · ";
        assert!(text.replace("\n ", "").contains(expected), "{text}");
        let flat = text.replace("\n ", "");
        assert!(flat.ends_with(" · seed 7 · 2026-11-22 09:44:51 +01:00\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= super::super::LINE), "{text}");
    }

    #[test]
    fn loads_are_in_the_words_of_the_field() {
        let capped = sample_run::run(false).spec.load;
        assert_eq!(load(&capped), "constant 20 req/s, at most 8 in flight");
        let closed = Load { request_rate: Rate::INFINITE, ..capped };
        assert_eq!(load(&closed), "closed loop, 8 in flight");
        let sessions = Load { max_active_sessions: NonZeroUsize::new(3), ..closed.clone() };
        assert_eq!(load(&sessions), "closed loop, 3 sessions");
        let open = Load { max_concurrency: None, ..closed };
        assert_eq!(load(&open), "all at once");
        let rate = |burstiness| Load {
            request_rate: "2.5".parse().unwrap(),
            burstiness,
            duration: Some(Duration::from_secs(60)),
            ..open.clone()
        };
        assert_eq!(load(&rate(f64::INFINITY)), "constant 2.5 req/s, for 1m");
        assert_eq!(load(&rate(1.0)), "Poisson 2.5 req/s, for 1m");
        assert_eq!(load(&rate(0.5)), "Gamma 2.5 req/s of burstiness 0.5, for 1m");
    }
}
