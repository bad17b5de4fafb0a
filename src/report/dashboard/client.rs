//! The client's panels: what was seen from outside, beside what the server says.

use super::board::{Curve, Panel, WINDOW, curve, quantiles};
use crate::report::exposition as client;

/// Beside each other, below the server's.
pub(super) fn panels() -> [Panel; 4] {
    let latencies =
        [(client::TTFT, "TTFT"), (client::TPOT, "TPOT"), (client::ITL, "ITL"), (client::E2E, "E2E")];
    let tokens = [(client::PROMPT_TOKENS, "prompt"), (client::OUTPUT_TOKENS, "output")];
    let requests = [
        (client::SENT, "sent"),
        (client::COMPLETED, "completed"),
        (client::FAILED, "failed"),
        (client::ABANDONED, "abandoned"),
    ];
    let in_flight =
        Curve { bars: true, ..curve(format!("sum({}) or vector(0)", client::IN_FLIGHT), "in flight") };
    let requests = requests.into_iter().map(rate).chain([in_flight]).collect();
    [
        Panel::lines("Client: latency", "s", latencies.into_iter().flat_map(quantiles).collect()),
        Panel::lines("Client: requests a second, and in flight", "reqps", requests),
        Panel::lines("Client: token throughput", "short", tokens.into_iter().map(rate).collect()),
        Panel::lines("Client: lag behind the schedule", "s", quantiles((client::LAG, "lag")).into()),
    ]
}

/// Of a counter that may not be there yet: a failure of a class is counted from the first on.
fn rate((counter, name): (&str, &str)) -> Curve {
    curve(format!("sum(rate({counter}[{WINDOW}])) or vector(0)"), name)
}
