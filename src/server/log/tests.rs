//! Every line format that vLLM has ever written. The lines are made by hand from its format strings.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::server::log::startup::MaxConcurrency;

mod others;

fn stats(line: &str) -> StatsLine {
    match parse_line(line.as_bytes()).entry {
        LogEvent::Stats(stats) => stats,
        other => panic!("{line}\n{other:?}"),
    }
}

fn start_up(line: &str) -> StartupInfo {
    match parse_line(line.as_bytes()).entry {
        LogEvent::StartUp(facts) => *facts,
        other => panic!("{line}\n{other:?}"),
    }
}

fn drafts(line: &str) -> SpecDecodeLine {
    match parse_line(line.as_bytes()).entry {
        LogEvent::Drafts(drafts) => drafts,
        other => panic!("{line}\n{other:?}"),
    }
}

const V0: &str = "Avg prompt throughput: 1234.5 tokens/s, Avg generation throughput: 567.8 tokens/s, Running: 42 reqs, \
                  Swapped: 1 reqs, Pending: 3 reqs, GPU KV cache usage: 67.3%, CPU KV cache usage: 0.5%";
const V1: &str = "Avg prompt throughput: 1234.5 tokens/s, Avg generation throughput: 567.8 tokens/s, Running: 42 reqs, \
                  Waiting: 3 reqs, GPU KV cache usage: 67.3%, Prefix cache hit rate: 12.5%";

fn near(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-9)
}

#[test]
fn a_request_over_http_is_no_line_of_the_engines_whatever_its_path() {
    let line = "INFO:     10.0.0.7:41234 - \"GET /?q=OutOfMemoryError HTTP/1.1\" 404 Not Found";
    let access = LogEvent::Access(AccessLine { status: 404, is_work: true });
    assert_eq!(parse_line(line.as_bytes()), LogLine { stamp: None, engine_core: None, entry: access });
}

#[test]
fn the_line_of_v0_in_all_its_dresses() {
    let lines = [
        format!("INFO 12-05 19:20:57 llm_engine.py:645] {V0}"),
        format!("INFO 12-05 19:20:57 llm_engine.py:645] {V0}    "),
        format!("INFO 12-05 19:20:57 metrics.py:341] {V0}."),
        format!("INFO 12-05 19:20:57 [metrics.py:486] {V0}."),
    ];
    for line in lines {
        let found = stats(&line);
        assert_eq!((found.prompt, found.generation), (Some(1234.5), Some(567.8)));
        assert_eq!((found.running, found.waiting, found.swapped), (42, Some(3), Some(1)));
        assert!(near(found.kv, 0.673) && near(found.cpu_kv, 0.005), "{line}");
        assert_eq!((found.engine, found.hit_rate), (EngineId::Only, None));
        assert!(parse_line(line.as_bytes()).stamp.is_some(), "{line}");
    }
}

#[test]
fn the_line_of_v1_in_all_its_dresses() {
    let lines = [
        (format!("INFO 02-05 19:20:57 [loggers.py:78] {V1}"), EngineId::Only),
        (format!("INFO 02-05 19:20:57 [loggers.py:118] Engine 000: {V1}"), EngineId::Number(0)),
        (
            format!("(APIServer pid=1) INFO 02-05 19:20:57 [loggers.py:271] Engine 013: {V1}"),
            EngineId::Number(13),
        ),
        (
            format!("(APIServer pid=1) INFO 02-05 19:20:57 [loggers.py:271] 4 Engines Aggregated: {V1}"),
            EngineId::Together(4),
        ),
        (
            format!(
                "\u{1b}[1;36m(APIServer pid=1)\u{1b}[0;0m \u{1b}[32mINFO\u{1b}[0m \u{1b}[90m02-05 19:20:57\u{1b}[0m [loggers.py:271] Engine 000: {V1}"
            ),
            EngineId::Number(0),
        ),
        (
            format!("vllm-1  | (APIServer pid=1) INFO 02-05 19:20:57 [loggers.py:271] Engine 000: {V1}"),
            EngineId::Number(0),
        ),
        (
            format!(
                r#"{{"log":"INFO 02-05 19:20:57 [loggers.py:271] Engine 000: {V1}\n","stream":"stderr"}}"#
            ),
            EngineId::Number(0),
        ),
    ];
    for (line, engine) in lines {
        let found = stats(&line);
        assert_eq!((found.prompt, found.generation), (Some(1234.5), Some(567.8)));
        assert_eq!((found.running, found.waiting), (42, Some(3)));
        assert!(near(found.kv, 0.673) && near(found.hit_rate, 0.125), "{line}");
        assert_eq!((found.engine, found.swapped, found.cpu_kv), (engine, None, None), "{line}");
        assert!(parse_line(line.as_bytes()).stamp.is_some(), "{line}");
    }
}

#[test]
fn the_optional_parts_of_todays_line() {
    let found = stats(
        "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 1.0 tokens/s, Running: 1 reqs, \
         Waiting: 7 reqs, Deferred: 2 reqs, Preemptions: 5, GPU KV cache usage: 1.0%, Prefix cache hit rate: 2.0%, \
         Corrupted: 1 reqs, External prefix cache hit rate: 3.0%, MM cache hit rate: 4.0%",
    );
    assert_eq!((found.waiting, found.deferred, found.preemptions), (Some(7), Some(2), 5));
    assert!(
        near(found.hit_rate, 0.02) && near(found.external_hit_rate, 0.03) && near(found.mm_hit_rate, 0.04)
    );
}

#[test]
fn on_a_cpu_the_cpus_cache_is_the_kv_cache() {
    let found = stats(&V1.replace("GPU KV", "CPU KV"));
    assert!(near(found.kv, 0.673) && found.cpu_kv.is_none());
}

#[test]
fn the_hit_rates_of_v0() {
    let line = "INFO 05-25 06:50:29 [metrics.py:502] Prefix cache hit rate: GPU: 25.00%, CPU: 90.00%";
    let LogEvent::HitRate(rate) = parse_line(line.as_bytes()).entry else { panic!() };
    assert_eq!((rate.gpu, rate.cpu), (0.25, Some(0.9)));
}

#[test]
fn the_three_forms_of_v1s_line_about_drafts_and_v0s() {
    let per_position = "Per-position acceptance rate: 0.700, 0.300";
    let forms = [
        "Draft acceptance rate: 50.0%, Accepted: 17 tokens, Drafted: 34 tokens".to_owned(),
        format!(
            "Draft acceptance rate: 50.0%, Mean acceptance length: 2.00, Accepted: 17 tokens, Drafted: 34 tokens, {per_position}"
        ),
        format!(
            "Mean acceptance length: 2.00, Accepted throughput: 1.70 tokens/s, Drafted throughput: 3.40 tokens/s, Accepted: 17 tokens, Drafted: 34 tokens, {per_position}, Avg Draft acceptance rate: 50.0%"
        ),
    ];
    for (at, form) in forms.iter().enumerate() {
        let found = drafts(&format!(
            "(APIServer pid=1) INFO 09-01 14:28:09 [metrics.py:87] SpecDecoding metrics: {form}"
        ));
        assert_eq!((found.accepted, found.drafted, found.since_start), (17, 34, false), "{form}");
        let (length, positions) = if at == 0 { (None, vec![]) } else { (Some(2.0), vec![0.7, 0.3]) };
        assert_eq!((found.mean_length, found.per_position), (length, positions), "{form}");
    }
    let v0 = "Speculative metrics: Draft acceptance rate: 0.500, System efficiency: 0.400, Number of speculative tokens: 4, \
              Number of accepted tokens: 17, Number of draft tokens: 34, Number of emitted tokens: 40.";
    let found = drafts(v0);
    assert_eq!((found.accepted, found.drafted, found.since_start), (17, 34, true));
}

#[test]
fn preemptions_and_lack_of_memory() {
    let warning = "Sequence group 7 is preempted by PreemptionMode.RECOMPUTE mode because there is not enough KV cache space.";
    for counter in ["total_num_cumulative_preemption=51", "total_cumulative_preemption_cnt=51"] {
        let line = format!("WARNING 05-09 00:49:33 scheduler.py:1057] {warning} {counter}");
        assert_eq!(parse_line(line.as_bytes()).entry, LogEvent::Preempted { total: 51 });
    }
    for line in [
        "(EngineCore pid=9) ERROR 05-05 12:36:59 [core.py:1131] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB.",
        "torch.cuda.OutOfMemoryError: HIP out of memory.",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "(VllmWorker rank=7 pid=2) Cuda failure 'out of memory'",
    ] {
        assert_eq!(parse_line(line.as_bytes()).entry, LogEvent::OutOfMemory, "{line}");
    }
}

#[test]
fn gpus_without_fast_links_are_noticed() {
    let why = "Custom allreduce is disabled because";
    for rest in [
        "it's not supported on more than two PCIe-only GPUs. To silence this warning, specify disable_custom_all_reduce=True explicitly.",
        "your platform lacks GPU P2P capability or P2P test failed. To silence this warning, specify disable_custom_all_reduce=True explicitly.",
    ] {
        let line = format!(
            "(VllmWorkerProcess pid=191) WARNING 02-22 22:09:01 custom_all_reduce.py:136] {why} {rest}"
        );
        assert_eq!(parse_line(line.as_bytes()).entry, LogEvent::SlowLinks, "{rest}");
    }
    let other = format!(
        "WARNING 02-22 22:09:01 [custom_all_reduce.py:107] {why} this process group spans across nodes."
    );
    assert_eq!(parse_line(other.as_bytes()).entry, LogEvent::Unknown);
}

#[test]
fn a_prompt_in_the_log_is_not_taken_for_the_servers_own_words() {
    let line = format!(
        "INFO 05-09 00:49:33 logger.py:36] Received request cmpl-1: prompt: 'CUDA out of memory {V0}'"
    );
    assert_eq!(parse_line(line.as_bytes()).entry, LogEvent::Unknown);
}

#[test]
fn the_start_in_the_words_of_each_version() {
    let merged = "(EngineCore pid=1) INFO 11-22 09:51:16 [kv_cache_utils.py:2327] GPU KV cache size: 4,194,304 tokens, \
                  Maximum concurrency for 2,048 tokens per request: 2048.00x";
    let fits = Some(MaxConcurrency { tokens_per_request: 2048, requests: 2048.0 });
    let found = start_up(merged);
    assert_eq!((found.kv_tokens, found.concurrency), (Some(4_194_304), fits));
    let apart =
        ["GPU KV cache size: 2,042,016 tokens", "Maximum concurrency for 2048 tokens per request: 2048.00x"];
    assert_eq!(start_up(apart[0]).kv_tokens, Some(2_042_016));
    assert_eq!(start_up(apart[1]).concurrency, fits);
    assert_eq!(start_up("# GPU blocks: 1952, # CPU blocks: 2048").gpu_blocks, Some(1952));
    assert_eq!(start_up("# GPU blocks: 1381").gpu_blocks, Some(1381));
    assert_eq!(start_up("vLLM API server version 0.8.5.post1").version.as_deref(), Some("0.8.5.post1"));
}

#[test]
fn the_settings_that_matter_are_kept() {
    for (words, version) in [
        ("Initializing a V1 LLM engine (v0.32.0) with config: ", Some("0.32.0")),
        ("Initializing an LLM engine (v0.6.4.post1) with config: ", Some("0.6.4.post1")),
        ("Initializing an LLM engine with config: ", None),
    ] {
        let found = start_up(&format!(
            "{words}model='org/some, model', speculative_config=None, tokenizer='x', dtype=torch.bfloat16, \
             max_seq_len=2048, other=Config(a='b, c', dtype=[1, 2]), enforce_eager=True)"
        ));
        assert_eq!((found.version.as_deref(), found.begins), (version, true));
        let expected = [
            ("dtype", "torch.bfloat16"),
            ("enforce_eager", "True"),
            ("max_seq_len", "2048"),
            ("model", "org/some, model"),
        ];
        assert_eq!(found.settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
    let found = start_up(
        "INFO 05-07 05:58:42 config.py:1555] Chunked prefill is enabled with max_num_batched_tokens=8192.",
    );
    assert_eq!(found.settings["max_num_batched_tokens"], "8192");
}

#[test]
fn arguments_are_kept_and_secrets_are_not() {
    let found = start_up(
        "(APIServer pid=1) INFO 11-22 09:50:53 [api_utils.py:286] non-default args: {'port': 8100, 'api_key': ['sk-123', 'sk-4'], \
         'max_model_len': 2048, 'served_model_name': ['a', 'b'], 'hf_token': 'hf_567'}",
    );
    assert_eq!(found.arguments["max_model_len"], "2048");
    assert_eq!(found.arguments["served_model_name"], "['a', 'b']");
    assert_eq!((found.arguments["api_key"].as_str(), found.arguments["hf_token"].as_str()), ("***", "***"));
    assert!(!format!("{found:?}").contains("sk-"));
    let found = start_up(
        "INFO 08-20 02:39:37 api_server.py:340] args: Namespace(host=None, port=8000, api_key='sk-1', max_num_seqs=256, swap_space=None)",
    );
    assert_eq!(
        found.arguments.into_iter().collect::<Vec<_>>(),
        [("max_num_seqs".to_owned(), "256".to_owned())]
    );
}

#[test]
fn a_line_that_was_cut_is_damaged_and_not_half_believed() {
    let whole = format!("INFO 02-05 19:20:57 [loggers.py:118] Engine 000: {V1}");
    let waiting = whole.find("Waiting: 3 reqs").unwrap();
    let from = whole.find("throughput: ").unwrap() + "throughput: ".len();
    for end in from..waiting + "Waiting: 3 req".len() {
        assert_eq!(parse_line(&whole.as_bytes()[..end]).entry, LogEvent::Damaged, "{}", &whole[..end]);
    }
    for line in ["Engine 9999: ", "Engine x: "] {
        assert_eq!(parse_line(format!("{line}{V1}").as_bytes()).entry, LogEvent::Damaged);
    }
    for number in ["9".repeat(400), "nan".to_owned(), "-1".to_owned(), String::new()] {
        assert_eq!(parse_line(V1.replace("567.8", &number).as_bytes()).entry, LogEvent::Damaged, "{number}");
    }
}

#[test]
fn time_stamps_in_all_their_forms() {
    let inner = Some(LogTimestamp { year: None, month: 7, day: 28, time: (6, 42, 9) });
    let whole = Some(LogTimestamp { year: Some(2025), month: 7, day: 28, time: (6, 42, 9) });
    let cases = [
        ("INFO 07-28 06:42:09 metrics.py:161] x", inner),
        ("WARNING 07-28 06:42:09 [a.py:1] x", inner),
        ("(APIServer pid=1) INFO 07-28 06:42:09 [a.py:1] x", inner),
        ("Jul 28 08:42:10 host vllm[12]: INFO 07-28 06:42:09 [a.py:1] x", inner),
        ("(EngineCore_DP0 pid=1) ERROR 07-28 06:42:09 [a.py:1]   File \"x\"", inner),
        ("2025-07-28T06:42:09.123456Z INFO 01-01 00:00:00 [a.py:1] x", whole),
        ("2025-07-28 06:42:09.757 | (APIServer pid=1) INFO 01-01 00:00:00 [a.py:1] x", whole),
        ("[2025-07-28T06:42:09Z] (Worker_TP0 pid=9260) ERROR 01-01 00:00:00 [a.py:1] x", whole),
        ("INFO 2025-07-28 06:42:09 [a.py:1] x", whole),
        ("(EngineCore_0 pid=1) [2025-07-28 06:42:09,753] LMCache INFO: x", whole),
        ("INFO:     127.0.0.1:39830 - \"GET /health HTTP/1.1\" 200 OK", None),
        ("the meeting is on 07-28 06:42:09", None),
        ("the meeting is on 2025-07-28 06:42:09", None),
        ("INFO 13-28 06:42:09 x", None),
        ("INFO 02-30 06:42:09 x", None),
        ("INFO 07-28 24:42:09 x", None),
        ("2025-02-29 06:42:09 x", None),
    ];
    for (line, expected) in cases {
        assert_eq!(parse_line(line.as_bytes()).stamp, expected, "{line}");
    }
}

fn moments(today: jiff::civil::Date, stamps: &[&str]) -> Vec<LogTime> {
    let mut calendar = YearInference::new(today);
    let find = |text: &&str| timestamp::find_timestamp(format!("INFO {text} x").as_bytes()).unwrap();
    stamps.iter().map(|text| calendar.resolve(&find(text)).unwrap()).collect()
}

#[test]
fn a_log_goes_on_over_new_year_and_over_a_leap_day() {
    let seconds = |today, stamps: [&str; 2]| {
        let moments = moments(today, &stamps);
        moments[1].since(moments[0]).as_secs()
    };
    assert_eq!(seconds(date(2026, 1, 5), ["12-31 23:59:55", "01-01 00:00:05"]), 10);
    assert_eq!(seconds(date(2026, 11, 22), ["02-28 23:59:55", "03-01 00:00:05"]), 10);
    assert_eq!(seconds(date(2024, 11, 22), ["02-28 23:59:55", "03-01 00:00:05"]), 24 * 3600 + 10);
    assert_eq!(seconds(date(2026, 11, 22), ["02-29 23:59:55", "03-01 00:00:05"]), 10);
    assert_eq!(seconds(date(2026, 11, 22), ["01-01 00:00:05", "12-31 23:59:55"]), 0, "a little out of order");
}

#[test]
fn a_moment_is_written_as_the_log_has_it() {
    let found = moments(date(2026, 11, 22), &["07-28 06:42:09", "2025-07-28 06:42:09"]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["07-28 06:42:09", "2025-07-28 06:42:09"]
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json, serde_json::json!(["2026-07-28T06:42:09", "2025-07-28T06:42:09"]));
}

fn all_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = LogLines::new(bytes);
    let mut found = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        found.push(line.to_vec());
    }
    found.extend(lines.partial_line().map(<[u8]>::to_vec));
    found
}

#[test]
fn lines_end_with_lf_crlf_or_cr_and_blank_ones_do_not_count() {
    assert_eq!(all_lines(b"a\nb\r\n\n  \n10%\r20%\rc"), [b"a".as_slice(), b"b", b"10%", b"20%", b"c"]);
    assert!(all_lines(b"").is_empty() && all_lines(b"\n\n").is_empty());
}

#[test]
fn a_line_without_end_takes_no_more_memory_than_a_long_one() {
    let mut lines =
        LogLines::new(std::io::BufReader::new(std::io::Read::take(std::io::repeat(b'x'), 10 << 20)));
    assert!(lines.next_line().unwrap().is_none());
    assert_eq!(lines.partial_line().unwrap().len(), 64 << 10);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut calendar = YearInference::new(date(2026, 11, 22));
        for line in all_lines(&bytes) {
            if let Some(stamp) = parse_line(&line).stamp {
                calendar.resolve(&stamp);
            }
        }
    }

    #[test]
    fn anything_behind_any_mark_is_survived(mark in 0..LINE_MARKS.len(), before in ".{0,20}", after in "[ -~é\\n]{0,80}") {
        parse_line(format!("{before}{}{after}", LINE_MARKS[mark].0).as_bytes());
    }

    #[test]
    fn a_line_that_was_changed_anywhere_is_survived(at in 0..V1.len(), byte in any::<u8>()) {
        let mut line = format!("INFO 02-05 19:20:57 [loggers.py:118] Engine 000: {V1}").into_bytes();
        line[at] = byte;
        parse_line(&line);
    }

    #[test]
    fn any_day_and_time_finds_a_year(month in 1i8..=12, day in 1i8..=28, hour in 0i8..24, other in 1i8..=12) {
        let mut calendar = YearInference::new(date(2026, 11, 22));
        for month in [month, other] {
            let stamp = LogTimestamp { year: None, month, day, time: (hour, 0, 0) };
            prop_assert!(calendar.resolve(&stamp).is_some());
        }
    }
}
