//! What the client saw go wrong, with itself or with its requests.

use super::case::{Case, Fact, Judgement, Origin, Start, When};
use super::evidence::Evidence;
use crate::core::metrics::FailureCount;
use crate::core::record::{FailureClass, Phase};
use crate::core::server::Level;
use crate::core::validity::{CheckName, Figure, Outcome};

/// Checks of a run's verdict that are about the client.
const CLIENTS: [CheckName; 6] = [
    CheckName::ScheduleLag,
    CheckName::ReadDelay,
    CheckName::MergedReads,
    CheckName::ClientCpu,
    CheckName::WallClock,
    CheckName::Descriptors,
];

/// Characters of a failure's example that are shown.
const LONGEST_EXAMPLE: usize = 120;

/// The client was the bottleneck.
pub(super) fn client(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let checks = evidence.run.into_iter().flat_map(|run| &run.validity.checks);
    for check in checks.filter(|check| CLIENTS.contains(&check.name)) {
        let level = match check.outcome {
            Outcome::NotJudged => continue,
            Outcome::Passed => {
                case.looked();
                continue;
            }
            Outcome::Warning => Level::Hint,
            Outcome::Invalid => Level::Alert,
        };
        let mut fact = Fact::new(Origin::Result, check.name.label());
        (fact.figure, fact.bound) = (check.figure, check.bound.map(super::Bound::Above));
        case.found(level, fact);
    }
    case.judgement()
}

/// Requests failed.
pub(super) fn failures(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let Some(run) = evidence.run else { return case.judgement() };
    case.looked();
    let servers: Vec<_> =
        run.metrics.failures.iter().filter(|failure| is_the_servers(failure.class)).collect();
    let failed: usize = servers.iter().map(|failure| failure.count).sum();
    let share = failed as f64 / run.metrics.requests().max(1) as f64;
    let level = if share > run.spec.max_failure_rate { Level::Alert } else { Level::Warn };
    for failure in servers {
        case.found(level, of_class(failure));
    }
    let most = Figure::Share(run.spec.max_failure_rate);
    case.tell(
        Fact::new(Origin::Result, "share of requests that failed").figure(Figure::Share(share)).above(most),
    );
    case.judgement()
}

fn of_class(failure: &FailureCount) -> Fact {
    let example: String = failure.example.chars().take(LONGEST_EXAMPLE).collect();
    let example =
        if example.trim().is_empty() { String::new() } else { format!(", such as `{}`", example.trim()) };
    let what = format!("{} ({}){example}", failure.class, meaning(failure.class));
    Fact::new(Origin::Result, what).figure(Figure::Count(failure.count as u64))
}

/// Not ours, and nobody's wish.
fn is_the_servers(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Descriptors | FailureClass::Ports | FailureClass::Cancelled | FailureClass::Abandoned
    )
}

/// What a class of failures usually means for the server.
fn meaning(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Connect | FailureClass::Refused => {
            "nobody listens there, or its queue of connections is full"
        }
        FailureClass::Tls => "certificate or proxy",
        FailureClass::Timeout(Phase::Connect) => "the network, or a server that accepts no more",
        FailureClass::Timeout(Phase::Headers | Phase::FirstToken) => "a long queue, or an engine that hangs",
        FailureClass::Timeout(Phase::Stream) => "an answer longer than --timeout, or an engine that stopped",
        FailureClass::Status(429 | 503) => "the server, or what is in front of it, turns load away",
        FailureClass::Status(500..) => "the server failed: its log says why",
        FailureClass::Status(_) => "the server refuses the request: its model name, length or parameters",
        FailureClass::BrokenStream => "the engine died, or a proxy cut the connection",
        FailureClass::ErrorEvent => "the server gave up within the answer",
        FailureClass::EmptyStream => "an answer without a token",
        FailureClass::Descriptors | FailureClass::Ports => "the client's own limit",
        FailureClass::Cancelled | FailureClass::Abandoned => "the client left",
    }
}

/// The server started again while it was looked at.
pub(super) fn restart(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    for (origin, side) in evidence.sides() {
        case.looked();
        for at in side.restarts() {
            let start = std::time::Duration::try_from_secs_f64(at).ok().map(Start::Offset);
            let when = start.map(|start| When { start, lasted: std::time::Duration::ZERO });
            case.found(Level::Alert, Fact::new(origin, "the server's counters began anew").when(when));
        }
    }
    case.judgement()
}
