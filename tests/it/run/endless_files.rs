//! Files of the user that do not end. Every command runs with little memory, so that reading one whole would fail.

use crate::support::Program;

/// Runs the program with 3 GB of address space and requires one line and exit code 2.
#[track_caller]
fn is_refused(words: &str, file: &str, expected: &str) {
    let ended = Program::new(words).with_memory_limit(3_000_000).end().with_code(2);
    let stderr = &ended.stderr;
    let lines = stderr.lines().filter(|line| !line.starts_with("warning: environment variable"));
    assert_eq!(lines.count(), 1, "{words}: {stderr}");
    assert!(stderr.contains(file) && stderr.contains(expected), "{words}: {stderr}");
}

#[test]
fn a_file_that_does_not_end_is_refused_in_one_line() {
    for words in [
        "run --sim --config /dev/zero",
        "run --sim --workload /dev/zero",
        "run --sim --tokenizer /dev/zero",
        "run --sim --ca-cert /dev/zero",
        "sweep /dev/zero",
        "plan --model-config /dev/zero --gpu h100 --prompt-tokens 9 --output-tokens 9",
        "sim --tokenizer /dev/zero",
    ] {
        is_refused(words, "/dev/zero", "larger than");
    }
    for words in ["report /dev/zero", "run --sim --like /dev/zero", "compare /dev/zero /dev/zero"] {
        is_refused(words, "/dev/zero", "not a servegauge result");
    }
}

#[test]
fn a_certificate_that_does_not_exist_is_a_mistake_without_tls_too() {
    is_refused("run --sim --ca-cert none.pem", "none.pem", "PEM file with certificates");
}
