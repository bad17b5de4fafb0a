//! The record log: what is left of a run whose client is killed.

use servegauge::sim::{FaultInjection, FaultKind, SimSpec};

use crate::support::{Program, Simulator, Witness, quick};

const COMPLETIONS: &str = "/v1/completions";

const WORDS: &str = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos";

#[test]
fn a_killed_run_is_recovered_from_its_record_log() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = format!("{WORDS} --num-prompts 5000 --request-rate 50 --result-filename half.json");
    let mut running = witness.run(&words).start();
    // Half of the way, and what had been sent two seconds before has ended and is flushed.
    witness.wait_for(50, COMPLETIONS);
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.kill();
    let killed = running.end();
    assert_eq!((killed.code, killed.stdout.as_str()), (None, ""));
    let files = killed.files("");
    let [log] = &files[..] else { panic!("not one file but {files:?}") };
    assert!(log.starts_with("half.") && log.ends_with(".reclog"), "{log}");

    let recovered =
        Program::new("run --recover killed.reclog").file("killed.reclog", killed.bytes(log)).end();
    let recovered = recovered.with_code(3);
    let result = recovered.result();
    let completed = result["completed"].as_u64().unwrap();
    let sent = witness.heard(COMPLETIONS).len() as u64;
    assert!((50..=sent).contains(&completed), "{completed} of {sent}");
    let ours = &result["servegauge"];
    assert_eq!((&ours["interrupted"], &ours["validity"]["valid"]), (&true.into(), &false.into()));
    assert!(result["mean_ttft_ms"].as_f64().unwrap() > 0.0 && result["mean_tpot_ms"].as_f64().unwrap() > 0.0);
    assert!(ours["t0"]["unix_ns"].is_u64(), "t0 is that of the run");
    assert!(recovered.stdout.contains("INVALID: errors of the client itself: 1"), "{}", recovered.stdout);
    assert!(recovered.stderr.contains("in flight or ended too late to be written"), "{}", recovered.stderr);
    assert!(recovered.files("").contains(&"killed.reclog".to_owned()), "the log stays");
}

#[test]
fn a_record_log_goes_when_the_result_is_saved() {
    let simulator = Simulator::start(quick());
    let ended =
        simulator.run(&format!("{WORDS} --num-prompts 3 --result-filename r.json")).end().with_code(0);
    assert_eq!(ended.files(""), ["r.json"]);
}

#[test]
fn a_record_log_that_was_asked_for_stays_and_says_the_same_as_the_result() {
    // Half of the answers break off, so that there are failures to keep.
    let spec =
        SimSpec { faults: FaultInjection { rate: 0.5, kinds: vec![FaultKind::Disconnect] }, ..quick() };
    let simulator = Simulator::start(spec);
    let words =
        format!("{WORDS} --num-prompts 20 --save-detailed --result-filename r.json --record-log all.reclog");
    let ended = simulator.run(&words).end();
    let recovered =
        Program::new("run --recover all.reclog --save-detailed --result-filename again.json --allow-invalid")
            .file("all.reclog", ended.bytes("all.reclog"))
            .end()
            .with_code(0);
    let (first, again) = (ended.result(), recovered.result());
    let counts = ["date", "completed", "failed", "duration", "mean_tpot_ms", "p99_itl_ms"];
    let arrays = ["ttfts", "itls", "errors", "generated_texts", "input_lens", "latencies"];
    for key in counts.into_iter().chain(arrays) {
        assert_eq!(first[key], again[key], "{key}");
    }
    let texts = first["generated_texts"].as_array().unwrap();
    assert!(texts.len() == 20 && texts.iter().any(|text| text.as_str().unwrap().len() > 5), "{texts:?}");
    let (first, again) = (&first["servegauge"], &again["servegauge"]);
    for key in ["t0", "interrupted", "spec", "settings", "metrics", "records", "steady"] {
        assert_eq!(first[key], again[key], "{key}");
    }
}

#[test]
fn a_record_log_is_read_like_a_result() {
    let simulator = Simulator::start(quick());
    let words = format!("{WORDS} --num-prompts 12 --result-filename r.json --record-log all.reclog");
    let ended = simulator.run(&words).end().with_code(0);
    let report =
        |file: &str| Program::new(&format!("report {file}")).file(file, ended.bytes(file)).end().with_code(0);
    assert_eq!(report("all.reclog").stdout, report("r.json").stdout);
    let requests = Program::new("report all.reclog --save-records r.parquet")
        .file("all.reclog", ended.bytes("all.reclog"))
        .end()
        .with_code(0);
    assert!(requests.files("").contains(&"r.parquet".to_owned()), "a log has every request");
}

#[test]
fn a_record_log_is_never_written_over_and_no_other_file_is_read_as_one() {
    let taken = Program::new(&format!("run --sim {WORDS} --num-prompts 1 --record-log mine"))
        .file("mine", "precious")
        .end()
        .with_code(2);
    assert!(taken.stderr.contains("mine exists"), "{}", taken.stderr);
    assert_eq!(taken.read("mine"), "precious");
    for (content, why) in [("{}", "it is not a record log"), ("\u{89}", "it is not a record log")] {
        let ended = Program::new("run --recover x").file("x", content).end().with_code(2);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    }
    let ended = Program::new("run --recover nowhere").end().with_code(2);
    assert!(ended.stderr.contains("cannot read the record log nowhere: "), "{}", ended.stderr);
}

#[test]
fn a_log_that_cannot_be_written_does_not_stop_the_run() {
    let ended =
        Program::new(&format!("run --sim --allow-invalid {WORDS} --num-prompts 2 --record-log none/x"))
            .end()
            .with_code(0);
    assert_eq!(ended.stderr.matches("cannot write the record log").count(), 1, "{}", ended.stderr);
}

#[test]
fn details_are_saved_although_the_log_that_should_have_them_cannot_be_written() {
    let details = |log: &str| {
        let words = format!("run --sim --allow-invalid {WORDS} --num-prompts 9 --save-detailed {log}");
        let ended = Program::new(&words).words("--result-filename r.json").end().with_code(0);
        let result = ended.result();
        let texts = result["generated_texts"].as_array().unwrap().clone();
        let gaps = result["itls"].as_array().unwrap().iter().map(|gaps| gaps.as_array().unwrap().len());
        assert_eq!(gaps.collect::<Vec<_>>(), [5; 9]);
        assert!(texts.iter().all(|text| !text.as_str().unwrap().is_empty()), "{texts:?}");
        texts
    };
    assert_eq!(details("--record-log none/x"), details(""));
}
