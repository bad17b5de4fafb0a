//! `servegauge dashboard` as a user runs it.

use serde_json::Value;

use crate::support::{Program, Simulator, quick};

#[test]
fn three_files_are_written_for_each_version() {
    for version in ["vllm-0.6", "vllm-1"] {
        let words = format!("dashboard --out monitoring --for {version} --base-url http://gpu-1:8000/v1");
        let ended = Program::new(&words).end().well();
        let mut files = ended.files("monitoring");
        files.sort();
        assert_eq!(files, ["alerts.yml", "grafana.json", "prometheus.yml"]);
        assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
        assert!(ended.read("monitoring/prometheus.yml").contains("targets: [\"gpu-1:8000\"]"));
        assert!(ended.read("monitoring/alerts.yml").contains(version));
        let board: Value = serde_json::from_str(&ended.read("monitoring/grafana.json")).unwrap();
        assert_eq!(board["panels"].as_array().unwrap().len(), 12);
        let (own, others) = match version {
            "vllm-1" => ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
            _ => ("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"),
        };
        let text = board.to_string();
        assert!(
            text.contains(own) && !text.contains(others) && text.contains("servegauge_ttft_seconds_bucket")
        );
    }
}

#[test]
fn a_live_server_is_asked_for_its_version() {
    let simulator = Simulator::start(quick());
    let ended = Program::new("dashboard --out here --base-url").arg(simulator.base_url()).end().well();
    assert!(ended.read("here/alerts.yml").contains("vllm-1"));
}

#[test]
fn mistakes_are_one_line_with_the_cure() {
    let cases = [
        ("--out here --base-url http://127.0.0.1:1", "--for vllm-1 or --for vllm-0.6"),
        ("--out here --for vllm-1 --base-url localhost", "write it as http://localhost:8000"),
        ("--out taken/here --for vllm-1", "cannot write into --out taken/here"),
    ];
    for (words, expected) in cases {
        let ended = Program::new("dashboard").words(words).file("taken", "a file").end();
        assert!(ended.code == Some(2) && ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
