//! The result file: vLLM's keys, its name, where it goes, and what must never be in it.

use serde_json::{Map, Value};

use crate::support::{Ended, Simulator, Witness, quick};

const SMALL: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --num-prompts 4";

/// The file that vLLM writes with `--save-result --save-detailed`, shortened; see the README beside it.
const VLLM_RANDOM: &str = include_str!("../../fixtures/vllm/py-random.json");
const VLLM_CHAT: &str = include_str!("../../fixtures/vllm/py-chat.json");

/// A key to which vLLM gives a value although the requests have no audio: ours is null.
const NEVER_MEASURED: [&str; 1] = ["rtfx"];

#[test]
fn every_key_of_vllms_result_is_there_with_its_type_for_completions() {
    let result = measure("--max-concurrency 2 --metric-percentiles 50,90,99");
    has_the_keys_of(&result, VLLM_RANDOM);
}

#[test]
fn every_key_of_vllms_result_is_there_with_its_type_for_chats() {
    let words = "--backend openai-chat --request-rate 40 --burstiness 0.5 --max-concurrency 8 \
                 --metric-percentiles 50,90,99 --goodput ttft:200 tpot:50";
    has_the_keys_of(&measure(words), VLLM_CHAT);
}

#[test]
fn percentiles_have_vllms_names_also_where_they_are_no_whole_numbers() {
    let result = measure("--percentile-metrics ttft --metric-percentiles 25,99.9");
    let keys: Vec<_> = object(&result).keys().filter(|key| key.ends_with("_ms")).collect();
    assert_eq!(keys, ["mean_ttft_ms", "median_ttft_ms", "p25_ttft_ms", "p99.9_ttft_ms", "std_ttft_ms"]);
}

#[test]
fn what_json_cannot_hold_is_a_string() {
    let result = measure("--burstiness inf");
    assert_eq!((&result["burstiness"], &result["request_rate"]), (&"inf".into(), &"inf".into()));
}

#[test]
fn without_details_no_request_is_saved_but_for_two_numbers() {
    let simulator = Simulator::start(quick());
    let result = simulator.run(SMALL).words("--save-result").end().well().result();
    for detail in ["input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors"] {
        assert!(object(&result).get(detail).is_none(), "{detail}");
    }
    assert!(object(&result["servegauge"]).get("records").is_none());
    for always in ["latencies", "queue_times"] {
        assert_eq!(result[always].as_array().map(Vec::len), Some(4), "{always}");
    }
}

#[test]
fn a_result_named_dash_is_all_of_stdout_and_the_report_is_on_stderr() {
    let simulator = Simulator::start(quick());
    let ended = simulator.run(SMALL).words("--result-filename -").end().well();
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["completed"], 4);
    assert!(ended.stderr.contains("\nSuccessful requests: 4\n"), "{}", ended.stderr);
    assert!(ended.saved_nothing());
}

#[test]
fn the_file_has_vllms_name() {
    let simulator = Simulator::start(quick());
    let names = [
        ("", "openai-infqps-some-model-"),
        ("--request-rate 200 --max-concurrency 4", "openai-200.0qps-concurrency4-some-model-"),
        ("--backend openai-chat --max-concurrency 3", "openai-chat-infqps-concurrency3-some-model-"),
        ("--label night --backend vllm", "night-infqps-some-model-"),
    ];
    for (words, start) in names {
        let ended = simulator.run(SMALL).words("--save-result").words(words).end().well();
        let (name, result) = ended.saved();
        let date = result["date"].as_str().unwrap();
        assert_eq!(name, format!("{start}{date}.json"));
        assert_eq!(date.bytes().map(shape).collect::<String>(), "########-######", "{date}");
        assert_eq!(ended.stderr, format!("saved {name}\n"));
    }
}

#[test]
fn the_file_goes_where_it_is_told() {
    let simulator = Simulator::start(quick());
    let ended =
        simulator.run(SMALL).words("--result-dir new/folder --result-filename mine.json").end().well();
    assert_eq!(ended.stderr, "saved new/folder/mine.json\n");
    let content = ended.read("new/folder/mine.json");
    assert_eq!(serde_json::from_str::<Value>(&content).unwrap()["completed"], 4);
    assert_eq!(ended.files("new/folder"), ["mine.json"], "no temporary file is left");
}

#[test]
fn label_and_metadata_are_kept() {
    let result = measure("--label night --metadata gpu=L4 build=a=b");
    assert_eq!((&result["label"], &result["gpu"]), (&"night".into(), &"L4".into()));
    assert_eq!(result["build"], "a=b");
    assert_eq!(result["servegauge"]["notes"]["metadata"]["gpu"], "L4");
}

#[test]
fn what_vllm_leaves_out_is_under_servegauge() {
    let result = measure("--max-concurrency 2 --seed 7");
    let ours = &result["servegauge"];
    assert_eq!((&ours["schema"], &ours["interrupted"]), (&2.into(), &false.into()));
    assert_eq!(ours["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ours["spec"]["seed"], 7);
    assert_eq!(ours["spec"]["workload"]["dataset"]["input_len"], 8);
    assert_eq!(ours["environment"]["server_version"], servegauge::sim::VERSION);
    assert_eq!(ours["inputs"]["tokenizer"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(ours["command"][1], "run");
    for latency in ["ttft", "tpot", "itl", "e2el"] {
        let histogram = ours["histograms"][latency].as_str().unwrap();
        assert!(histogram.starts_with("HISTEw"), "base64 of the V2 cookie: {histogram}");
    }
    assert_eq!(ours["records"].as_array().map(Vec::len), Some(4));
}

#[test]
fn secrets_reach_the_server_and_nothing_else() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let program =
        witness.run(SMALL).words("--save-detailed --header x-team=hidden-one --header=x-more=hidden-two");
    let ended = program.env("OPENAI_API_KEY", "hidden-three").end().well();
    for heard in witness.all() {
        let headers = ["x-team", "x-more", "authorization"].map(|name| heard.header(name));
        assert_eq!(headers, ["hidden-one", "hidden-two", "Bearer hidden-three"], "{}", heard.path);
    }
    assert_eq!(witness.heard("/v1/completions").len(), 4);
    let Ended { stdout, stderr, .. } = &ended;
    let file = ended.read(&ended.saved().0);
    for text in [stdout, stderr, &file] {
        assert!(!text.contains("hidden"), "{text}");
    }
    assert!(file.contains("x-team=***"), "what was masked can be seen");
}

#[test]
fn a_header_of_the_users_goes_before_the_api_key() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let program = witness.run(SMALL).words("--header").arg("Authorization=Basic abc");
    program.env("OPENAI_API_KEY", "unused").end().well();
    assert!(witness.all().iter().all(|heard| heard.header("authorization") == "Basic abc"));
}

#[test]
fn sampling_flags_and_the_extra_body_reach_the_server() {
    let simulator = Simulator::start(quick());
    let witness = Witness::before(&simulator);
    let words = "--temperature 0.5 --top-p 0.9 --top-k -1 --min-p 0.1 --frequency-penalty -0.5 \
                 --presence-penalty 0.25 --repetition-penalty 1.1 --extra-body {\"temperature\":0,\"user\":\"me\"}";
    witness.run(SMALL).words(words).end().well();
    let body = &witness.heard("/v1/completions")[0].body;
    let expected = [
        ("temperature", 0.into()),
        ("top_p", 0.9.into()),
        ("top_k", Value::from(-1)),
        ("min_p", 0.1.into()),
        ("frequency_penalty", Value::from(-0.5)),
        ("presence_penalty", 0.25.into()),
        ("repetition_penalty", 1.1.into()),
        ("user", "me".into()),
        ("ignore_eos", true.into()),
        ("max_tokens", 6.into()),
        ("model", "some-model".into()),
    ];
    for (key, value) in expected {
        assert_eq!(body[key], value, "{key} in {body}");
    }
}

fn measure(words: &str) -> Value {
    Simulator::start(quick()).run(SMALL).words("--save-detailed").words(words).end().well().result()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn shape(byte: u8) -> char {
    if byte.is_ascii_digit() { '#' } else { char::from(byte) }
}

#[track_caller]
fn has_the_keys_of(result: &Value, vllm: &str) {
    let vllm: Value = serde_json::from_str(vllm).unwrap();
    for (key, theirs) in object(&vllm) {
        let ours = object(result).get(key).unwrap_or_else(|| panic!("no key `{key}`"));
        if NEVER_MEASURED.contains(&key.as_str()) {
            assert_eq!(*ours, Value::Null, "{key}");
        } else {
            assert_eq!(kind(ours), kind(theirs), "{key}: {ours} instead of {theirs}");
        }
    }
}

/// A value's type; of an array, also that of its first element.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_f64() => "float".into(),
        Value::Number(_) => "integer".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => format!("array of {}", items.first().map(kind).unwrap_or_default()),
        Value::Object(_) => "object".into(),
    }
}
