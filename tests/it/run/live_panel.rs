//! The live panel on a pseudo terminal, which `script` (util-linux) makes. Elsewhere, and without it, nothing is tested.

#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{Program, Simulator, quick};

const LOAD: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --request-rate 40 --num-prompts 60 \
                    --skip-tokenizer-init --allow-invalid --no-keep --model m";

/// What a terminal of 80 columns and 24 rows receives from a shell's line; `None` without `script`.
fn typed(line: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("script");
    command.args(["-qec", &format!("stty rows 24 cols 80; {line}; stty -a"), "/dev/null"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").envs(environment.iter().copied());
    let Ok(output) = command.stdin(Stdio::null()).output() else {
        let _ = writeln!(std::io::stderr(), "skipped: there is no `script` on this machine");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(simulator: &Simulator, flags: &str) -> String {
    let program = env!("CARGO_BIN_EXE_servegauge");
    format!("{program} run --base-url {} {LOAD} {flags}", simulator.base_url())
}

#[test]
fn a_terminal_shows_the_panel_and_then_the_report_and_needs_no_restoring() {
    let simulator = Simulator::start(quick());
    let Some(shown) = typed(&run(&simulator, ""), &[]) else { return };
    for part in ["measuring", "in flight", "req/s", "TTFT", "last 10 s", "Successful requests"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("\u{1b}["), "lines are replaced in place");
    assert!(!shown.contains("\u{1b}[?"), "the cursor, the screen and the wrapping are left alone: {shown:?}");
    let report = shown.rfind("Successful requests").unwrap();
    assert!(!shown[report..].contains("measuring"), "the report is what remains");
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "{shown}");
}

#[test]
fn plain_lines_where_a_panel_is_not_wanted() {
    let simulator = Simulator::start(quick());
    for (flags, environment) in
        [("--no-tui", vec![]), ("", vec![("TERM", "dumb")]), ("--disable-tqdm", vec![])]
    {
        let Some(shown) = typed(&run(&simulator, flags), &environment) else { return };
        assert!(!shown.contains("last 10 s"), "{flags} {environment:?}: {shown}");
        assert!(shown.contains("Successful requests"), "{shown}");
    }
    let ended = Program::new("run --base-url").arg(simulator.base_url()).words(LOAD).end().well();
    assert!(!ended.stderr.contains('\u{1b}'), "a pipe is no terminal: {}", ended.stderr);
}

#[test]
fn no_color_is_respected() {
    let simulator = Simulator::start(quick());
    let Some(shown) = typed(&run(&simulator, ""), &[("NO_COLOR", "1")]) else { return };
    assert!(shown.contains("last 10 s") && !shown.contains("\u{1b}[36m"), "{shown:?}");
    let Some(shown) = typed(&run(&simulator, ""), &[]) else { return };
    assert!(shown.contains("\u{1b}[36m"), "{shown:?}");
}
