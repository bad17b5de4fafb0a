//! The outcome of the server's profiler.

use std::io::{self, Write};
use std::time::Duration;

use super::section;
use crate::model::profile::ProfilerCall;
use crate::model::run::Run;
use crate::report::format::seconds;

/// Writes the section; writes nothing for a run that requested no profile.
pub(super) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(profile) = &run.profile else { return Ok(()) };
    section("Profiler", to)?;
    let orders = [("Started", &profile.start), ("Stopped", &profile.stop)];
    for (deed, order) in orders.iter().filter_map(|(deed, order)| Some((deed, order.as_ref()?))) {
        let ProfilerCall { sent, took, answer: Ok(answer) } = order else { continue };
        // The profile may have started just before the first request.
        let since = sent.duration_since(run.started.timestamp()).try_into().unwrap_or(Duration::ZERO);
        writeln!(to, "{deed}: at {}, in {}, with {answer}", seconds(since), seconds(*took))?;
    }
    match profile.failure_reason() {
        Some(trouble) => writeln!(to, "Profiler error: {trouble}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::{ProfileReport, ProfileTrigger};
    use crate::testing::sample_run;

    fn text(start: Option<ProfilerCall>, stop: Option<ProfilerCall>) -> String {
        let capture = ProfileReport { trigger: ProfileTrigger::Running(200), lasting: None, start, stop };
        let mut text = Vec::new();
        render(&Run { profile: Some(capture), ..sample_run::run(false) }, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    fn order(after: i64, answer: Result<&str, &str>) -> Option<ProfilerCall> {
        let began = sample_run::run(false).started.timestamp();
        let answer = answer.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
        let sent = began + jiff::SignedDuration::from_millis(after);
        Some(ProfilerCall { sent, took: Duration::from_millis(20), answer })
    }

    #[test]
    fn the_servers_answers_are_told_with_their_times() {
        let shown = text(order(-5, Ok("HTTP 200")), order(12_340, Ok("HTTP 200: 3 traces")));
        let expected = "Started: at 0.00 s, in 0.02 s, with HTTP 200\n\
                        Stopped: at 12.34 s, in 0.02 s, with HTTP 200: 3 traces";
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_went_wrong_is_told() {
        assert_eq!(
            text(None, None),
            "Profiler error: the server was not profiled: it never had 200 running requests"
        );
        let shown = text(order(0, Ok("HTTP 200")), order(9, Err("HTTP 500")));
        assert!(
            shown.ends_with("\nProfiler error: the server's profiler started but did not stop: HTTP 500"),
            "{shown}"
        );
    }

    #[test]
    fn who_wants_no_profile_reads_nothing_of_it() {
        let mut text = Vec::new();
        render(&sample_run::run(false), &mut text).unwrap();
        assert!(text.is_empty());
    }
}
