//! Ctrl-C: the first ends the run with a report, the second ends the program.

use servebench::sim::{FaultKind, Faults, Spec};

use crate::support::{Ended, Simulator, Witness, fault, quick};

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn the_first_interrupt_stops_sending_and_reports_what_was_measured() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                 --num-prompts 5000 --request-rate 50 --save-result";
    let running = witness.run(words).start();
    witness.wait_for(10, COMPLETIONS);
    running.interrupt();
    let ended = running.end().with_code(130);

    let sent = witness.heard(COMPLETIONS).len();
    let result = ended.result();
    assert!((10..1000).contains(&sent), "{sent} requests in the moments before the interrupt");
    assert_eq!(result["completed"], sent, "what was in flight could finish");
    assert_eq!(result["servebench"]["interrupted"], true);
    assert_eq!(ended.line("Successful requests"), sent.to_string());
    assert!(ended.stdout.contains(
        "─── Interrupted ───────────────────────\n\
         The run was cut short: the numbers are of what was measured until then.\n"
    ));
}

#[test]
fn what_does_not_end_within_the_grace_period_is_cancelled() {
    // Some answers stall, so that there is something to report and something to cancel.
    let spec = Spec { faults: Faults { rate: 0.5, kinds: vec![FaultKind::Stall] }, ..quick() };
    let simulator = Simulator::start(spec);
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos \
                 --num-prompts 12 --save-detailed";
    let running = witness.run(words).start();
    witness.wait_for(12, COMPLETIONS);
    running.interrupt();
    let ended = running.end().with_code(130);
    drop(witness);

    let result = ended.result();
    let stalled = simulator.truth().iter().filter(|story| story.fault.is_some()).count();
    assert!(0 < stalled && stalled < 12, "{stalled} of 12 stalled");
    assert_eq!((&result["completed"], &result["failed"]), (&(12 - stalled).into(), &stalled.into()));
    let failures = &result["servebench"]["metrics"]["failures"];
    assert_eq!((&failures[0]["class"], &failures[0]["count"]), (&"cancelled".into(), &stalled.into()));
    let errors = result["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap());
    assert_eq!(errors.filter(|error| error.starts_with("cancelled: ")).count(), stalled);
    assert!(ended.stdout.contains(&format!("\ncancelled: {stalled} (first: ")), "{}", ended.stdout);
}

#[test]
fn a_second_interrupt_ends_the_program_at_once() {
    let simulator = Simulator::start(fault(FaultKind::Stall));
    let witness = Witness::before(&simulator);
    let words =
        "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 3 --save-result";
    let running = witness.run(words).start();
    witness.wait_for(3, COMPLETIONS);
    running.interrupt();
    running.wait_for("again to end at once");
    running.interrupt();
    let ended = running.end();
    let Ended { stdout, .. } = &ended;
    assert_eq!(
        (ended.code, stdout.as_str()),
        (Some(130), ""),
        "no report: it did not wait for the grace period"
    );
    assert!(ended.saved_nothing());
}

#[test]
fn an_interrupt_of_the_warm_up_ends_the_run() {
    let simulator = Simulator::start(fault(FaultKind::Stall));
    let witness = Witness::before(&simulator);
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --num-prompts 3 \
                 --num-warmups 1 --max-concurrency 1 --timeout 2s";
    let running = witness.run(words).start();
    witness.wait_for(1, COMPLETIONS);
    running.interrupt();
    running.end().with_code(130);
    assert_eq!(witness.heard(COMPLETIONS).len(), 1, "nothing is measured");
}
