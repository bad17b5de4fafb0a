//! The client's panels: latencies and rates seen from outside, beside the server's own metrics.

use super::panel::{Curve, Panel, WINDOW, curve, quantiles};
use crate::report::client_metrics as client;

/// Two to a row, below the server's panels.
pub(super) fn client_panels() -> [Panel; 5] {
    let latencies = [(client::TTFT, "TTFT"), (client::E2E, "E2E")];
    let token_times = [(client::TPOT, "TPOT"), (client::ITL, "ITL")];
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
        Panel::lines("Client: latency", "s", latencies.into_iter().flat_map(client_quantiles).collect()),
        Panel::lines(
            "Client: time per output token",
            "s",
            token_times.into_iter().flat_map(client_quantiles).collect(),
        ),
        Panel::lines("Client: requests a second, and in flight", "reqps", requests),
        Panel::lines("Client: token throughput", "short", tokens.into_iter().map(rate).collect()),
        Panel::lines("Client: lag behind the schedule", "s", client_quantiles((client::LAG, "lag")).into()),
    ]
}

fn client_quantiles((metric, name): (&str, &str)) -> [Curve; 3] {
    quantiles(&[format!("{metric}_bucket")], name)
}

/// The rate of a counter that may be absent: Prometheus has a failure class only after its first failure.
fn rate((counter, name): (&str, &str)) -> Curve {
    curve(format!("sum(rate({counter}[{WINDOW}])) or vector(0)"), name)
}
