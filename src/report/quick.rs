//! The answer of a quick look at a server: a search's result in plain sentences.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::format::plain_number;
use super::search::number;
use crate::analysis::search::boundary::Boundary;
use crate::analysis::search::evidence::{Criterion, CriterionOutcome};
use crate::analysis::search::trial::Trial;
use crate::analysis::search::{Search, SearchAnswer, SearchFinding};

/// Version of the JSON. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// A quick look at a server.
pub(crate) struct QuickReport<'a> {
    /// The server, as the sentences name it: its URL, or `The simulator`.
    pub server: &'a str,
    /// What a user does, as the last sentence says it.
    pub user: &'a str,
    /// The search over the number of users.
    pub search: &'a Search,
    /// The search's answer.
    pub answer: &'a SearchAnswer,
}

/// What was found out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QuickAnswer {
    /// The number of users that meets the levels; `None` without a valid measurement that shows one.
    pub users: Option<u64>,
    /// The answer in sentences.
    pub sentences: Vec<String>,
}

impl QuickAnswer {
    /// Writes the sentences, and the commands to type next below them.
    pub(crate) fn render(&self, next: &[String], to: &mut impl Write) -> io::Result<()> {
        self.sentences.iter().try_for_each(|sentence| writeln!(to, "{sentence}"))?;
        writeln!(to, "\nNext:")?;
        next.iter().try_for_each(|command| writeln!(to, "  {command}"))
    }
}

impl QuickReport<'_> {
    /// Returns the JSON value.
    pub(crate) fn json(&self, next: &[String]) -> Value {
        let QuickAnswer { users, sentences } = self.answer();
        json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "server": self.server,
            "users": users,
            "sentences": sentences,
            "next": next,
            "question": self.search.config(),
            "answer": self.answer,
            "trials": self.search.trials(),
        })
    }

    /// Turns the result into sentences. An INVALID trial leaves only the sentence that says so.
    pub(crate) fn answer(&self) -> QuickAnswer {
        let users = self.users();
        let sentences = match self.doubts() {
            Some(doubts) => vec![doubts],
            None => {
                let lived = users.and_then(|users| self.experience(users));
                let user = (!self.search.trials().is_empty()).then(|| self.user.to_owned());
                [self.finding()].into_iter().chain(lived).chain(user).collect()
            }
        };
        QuickAnswer { users, sentences }
    }

    /// Why there is no answer, if trials are INVALID.
    fn doubts(&self) -> Option<String> {
        let trials = self.search.trials();
        let doubtful: Vec<&str> = trials.iter().filter_map(|trial| trial.doubt.as_deref()).collect();
        let first = doubtful.first()?;
        let (count, all) = (doubtful.len(), trials.len());
        Some(format!("No answer: {count} of {all} measurements of {} are INVALID: {first}", self.server))
    }

    /// The number of users that the measurements show to be fine.
    fn users(&self) -> Option<u64> {
        if self.doubts().is_some() {
            return None;
        }
        let (low, _) = self.answer.finding.interval();
        low.map(|low| low.floor() as u64).filter(|users| *users > 0)
    }

    fn finding(&self) -> String {
        let (server, levels) = (self.server, self.levels());
        match self.answer.finding {
            SearchFinding::Boundary(boundary) | SearchFinding::Cliff { boundary, .. } => {
                let Some(fine) = self.users() else { return self.too_many(boundary) };
                let high = boundary.high.map_or_else(|| "more".to_owned(), number);
                format!(
                    "{server} serves {} with {levels}. Its limit is between {fine} and {high} (95 % interval).",
                    users_text(fine)
                )
            }
            SearchFinding::NeverSaturated { highest } => {
                format!(
                    "{server} serves {} with {levels}, the most that were tried.",
                    users_text(highest as u64)
                )
            }
            SearchFinding::NeverGood { least } => {
                let first = self.answer.binding.as_ref();
                let value = plain_number(least.value, first.map_or("", unit));
                let measured = least.value.map(|_| format!(" (measured: {value})")).unwrap_or_default();
                format!(
                    "{server} does not meet {levels}, even with {}{measured}.",
                    users_text(least.load as u64)
                )
            }
            SearchFinding::Open(boundary) => match boundary.low {
                Some(low) => format!(
                    "{server} serves {} with {levels}. The time was too short to find its limit.",
                    users_text(low as u64)
                ),
                None => self.too_many(boundary),
            },
            SearchFinding::Nothing => format!("{server} was not measured, so nothing is known."),
        }
    }

    /// The sentence for a limit whose lower end is not known.
    fn too_many(&self, boundary: Boundary) -> String {
        match boundary.high {
            Some(high) => format!(
                "{} does not serve {} with {}. The time was too short to say how many it does serve.",
                self.server,
                users_text(high as u64),
                self.levels()
            ),
            None => format!(
                "The time was too short to say how many users {} serves with {}.",
                self.server,
                self.levels()
            ),
        }
    }

    /// What the most users that are fine experienced, in the longest trial at that load. A trial that decides nothing
    /// alone counts too: its figures were measured.
    fn experience(&self, users: u64) -> Option<String> {
        let fine = |trial: &&Trial| trial.outcome() != CriterionOutcome::Missed && trial.load <= users as f64;
        let trials = self.search.trials().iter().filter(fine);
        let trial = trials.max_by(|a, b| a.load.total_cmp(&b.load).then(a.length.cmp(&b.length)))?;
        let service = &trial.service;
        let metric = |name: &str, value: Option<f64>, unit: &str| {
            value.map(|value| format!("{name}{}", plain_number(Some(value), unit)))
        };
        let metrics = [
            metric("TTFT p95 ", service.ttft_p95_ms, "ms"),
            metric("TPOT p95 ", service.tpot_p95_ms, "ms"),
            metric("", service.output_throughput, "tok/s"),
            metric("", service.request_throughput, "answers/s"),
        ];
        let metrics: Vec<String> = metrics.into_iter().flatten().collect();
        let load = users_text(trial.load as u64);
        (!metrics.is_empty()).then(|| format!("With {load}: {}.", metrics.join(", ")))
    }

    /// The levels without the guard against failures, which the user did not ask for.
    fn levels(&self) -> String {
        let rules = self.search.config().criteria.iter();
        let rules = rules.filter(|rule| matches!(rule, Criterion::Rule(_)));
        rules.map(in_words).collect::<Vec<String>>().join(" and ")
    }
}

/// A level with the metric's name as people write it: `TTFT P95 < 500ms`.
fn in_words(criterion: &Criterion) -> String {
    let rule = criterion.label();
    match criterion.figure() {
        Some(figure) => rule.replacen(&figure.to_string(), &figure.label(), 1),
        None => rule,
    }
}

fn unit(criterion: &Criterion) -> &'static str {
    criterion.figure().map_or("", |figure| super::format::unit_symbol(figure.unit()))
}

fn users_text(users: u64) -> String {
    match users {
        1 => "1 user".to_owned(),
        users => format!("{users} users at once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::search::evidence::CriterionEvidence;
    use crate::analysis::search::{LoadAxis, LoadLimit, SearchConfig};
    use crate::testing::searches;

    /// A search whose trials at these loads met (true) or violated the level.
    fn search(trials: &[(f64, bool)]) -> Search {
        let config = SearchConfig {
            over: LoadAxis::Concurrency,
            criteria: vec![Criterion::from_rule("ttft.p95 < 500ms".parse().unwrap()).unwrap()],
            ..searches::question(&[])
        };
        let mut search = Search::new(config);
        for (number, (load, is_met)) in (1..).zip(trials) {
            let slack = if *is_met { -0.5 } else { 0.5 };
            let evidence = CriterionEvidence {
                slack,
                worst_slack: slack,
                error: 0.01,
                value: Some(1000.0 * (slack + 1.0)),
                n: 300,
                censored: 0,
                beyond: None,
            };
            let mut trial = searches::trial(*load, vec![Some(evidence)]);
            trial.number = number;
            trial.service.ttft_p95_ms = Some(120.0);
            trial.service.output_throughput = Some(2300.0);
            search.add_trial(trial);
        }
        search
    }

    fn answer(search: &Search, finding: Option<SearchFinding>) -> QuickAnswer {
        let mut answer = search.answer();
        answer.finding = finding.unwrap_or(answer.finding);
        answer.binding = Some(search.config().criteria[0].clone());
        let report = QuickReport {
            server: "http://localhost:8000",
            user: "Each user asks again at once.",
            search,
            answer: &answer,
        };
        report.answer()
    }

    #[test]
    fn a_limit_is_a_number_of_users_with_its_interval() {
        let search = search(&[(1.0, true), (32.0, true), (64.0, false), (32.0, true), (64.0, false)]);
        let answer = answer(&search, None);
        assert_eq!(answer.users, Some(32));
        assert_eq!(
            answer.sentences,
            [
                "http://localhost:8000 serves 32 users at once with TTFT P95 < 500ms. Its limit is between 32 and 64 \
                 (95 % interval).",
                "With 32 users at once: TTFT p95 120 ms, 2300 tok/s.",
                "Each user asks again at once."
            ]
        );
    }

    #[test]
    fn each_ending_has_its_sentence_and_none_promises_what_was_not_measured() {
        let boundary = |low, high| {
            let mut boundary = search(&[(8.0, true)]).boundary_draws().boundary();
            (boundary.low, boundary.high) = (low, high);
            boundary
        };
        let said = |finding| {
            let answer = answer(&search(&[(8.0, true)]), Some(finding));
            (answer.users, answer.sentences[0].replace("http://localhost:8000", "It"))
        };
        let (users, text) = said(SearchFinding::NeverSaturated { highest: 256.0 });
        assert_eq!(users, Some(256));
        assert!(text.ends_with("the most that were tried."), "{text}");
        let least = LoadLimit { load: 1.0, value: Some(812.0) };
        let (users, text) = said(SearchFinding::NeverGood { least });
        assert_eq!(users, None);
        assert_eq!(text, "It does not meet TTFT P95 < 500ms, even with 1 user (measured: 812 ms).");
        let (users, text) = said(SearchFinding::Open(boundary(Some(8.0), None)));
        assert_eq!(users, Some(8));
        assert!(text.ends_with("The time was too short to find its limit."), "{text}");
        let (users, text) = said(SearchFinding::Open(boundary(None, Some(8.0))));
        assert_eq!(users, None);
        assert!(text.starts_with("It does not serve 8 users at once"), "{text}");
        let (users, text) = said(SearchFinding::Open(boundary(None, None)));
        assert_eq!(users, None);
        assert!(text.starts_with("The time was too short to say how many users"), "{text}");
        assert_eq!(said(SearchFinding::Nothing).0, None);
    }

    #[test]
    fn an_invalid_measurement_leaves_no_sentence_but_that() {
        let mut search = search(&[(1.0, true)]);
        let mut doubtful = search.trials()[0].clone();
        doubtful.doubt = Some("schedule lag: 80 ms (limit 50 ms)".into());
        search.add_trial(doubtful);
        let answer = answer(&search, Some(SearchFinding::NeverSaturated { highest: 256.0 }));
        assert_eq!(answer.users, None);
        assert_eq!(
            answer.sentences,
            [
                "No answer: 1 of 2 measurements of http://localhost:8000 are INVALID: schedule lag: 80 ms (limit 50 ms)"
            ]
        );
    }

    #[test]
    fn the_text_ends_with_commands() {
        let search = search(&[(1.0, true)]);
        let answer = search.answer();
        let report = QuickReport { server: "S", user: "U.", search: &search, answer: &answer };
        let mut text = Vec::new();
        report.answer().render(&["servegauge run".to_owned()], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("U.\n\nNext:\n  servegauge run\n"), "{text}");
        assert_eq!(report.json(&[])["sentences"][0], report.answer().sentences[0]);
    }
}
