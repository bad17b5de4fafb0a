//! Lines of vLLM's Rust frontend, of SGLang and of TensorRT-LLM, HTTP access lines, and levels. A comment beside each
//! format names its source.

use super::*;

/// The values of a periodic line: running, waiting, prompt and generation throughput, KV cache usage.
type LoggedStats = (u64, Option<u64>, Option<f64>, Option<f64>, Option<f64>);

fn logged_stats(line: &str) -> LoggedStats {
    let stats = stats(line);
    (stats.running, stats.waiting, stats.prompt, stats.generation, stats.kv)
}

fn entry_of(line: &str) -> LogEvent {
    parse_line(line.as_bytes()).entry
}

#[test]
fn the_line_of_vllms_rust_frontend_in_all_its_dresses() {
    let line = "Avg prompt tput: 583.1 toks/s, Avg generation tput: 883.7 toks/s, Reqs Running: 4, Waiting: 0, GPU KV cache used: 0.1%, \
                Prefix cache hit rate: 8.1%";
    let expected = (4, Some(0), Some(583.1), Some(883.7), Some(0.001));
    let variants = [
        // ../shared/reference/real-trial.md, F4: a real log of vLLM 0.32, with and without colors.
        line.to_owned(),
        format!("(RustFrontend pid=3226278) INFO 09-17 15:57:17 [log_stats.rs:273] {line}"),
        format!(
            "\u{1b}[1;36m(RustFrontend pid=1)\u{1b}[0;0m \u{1b}[32mINFO\u{1b}[0m 09-17 15:57:17 \u{1b}[90m[log_stats.rs:273]\u{1b}[0m {line}"
        ),
        // tracing-subscriber's own format, plain and in a terminal.
        format!("2026-09-17T15:57:17.123456Z  INFO vllm_server::log_stats: {line}"),
        format!(
            "\u{1b}[2m2026-09-17T15:57:17.123456Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mvllm_server::log_stats\u{1b}[0m\u{1b}[2m:\u{1b}[0m {line}"
        ),
        // Docker Compose.
        format!("vllm-1  | (RustFrontend pid=353) INFO 06-01 21:35:56 [log_stats.rs:302] {line}"),
    ];
    for line in &variants {
        let found = stats(line);
        assert_eq!(logged_stats(line), expected, "{line}");
        assert!(near(found.hit_rate, 0.081) && found.engine == EngineId::Only, "{line}");
        assert!(line.starts_with("Avg") || parse_line(line.as_bytes()).stamp.is_some(), "{line}");
    }
    // rust/src/llm/src/log_stats.rs in vLLM: parts that are present if they are not zero.
    let more = stats(
        "Avg prompt tput: 0.0 toks/s, Avg generation tput: 1.0 toks/s, Reqs Running: 1, Waiting: 50, Deferred: 2 reqs, \
         Preemptions: 5, GPU KV cache used: 98.7%, Prefix cache hit rate: 2.0%, External prefix cache hit rate: 3.0%",
    );
    assert_eq!((more.waiting, more.deferred, more.preemptions), (Some(50), Some(2), 5));
    assert!(near(more.kv, 0.987) && near(more.external_hit_rate, 0.03));
    for end in "Avg prompt tput: ".len()..line.find("Prefix").unwrap() - "%, ".len() {
        assert_eq!(entry_of(&line[..end]), LogEvent::Damaged, "{}", &line[..end]);
    }
    let drafted = drafts(
        "(RustFrontend pid=1230) INFO 09-26 07:00:59 [log_stats.rs:302] SpecDecoding metrics: Mean acceptance length: 3.04, Accepted \
         throughput: 5.10 tokens/s, Drafted throughput: 12.50 tokens/s, Accepted: 51 tokens, Drafted: 125 tokens, Avg Draft \
         acceptance rate: 40.8%",
    );
    assert_eq!((drafted.accepted, drafted.drafted, drafted.mean_length), (51, 125, Some(3.04)));
}

#[test]
fn sglangs_batch_lines_of_every_version() {
    let cases: [(&str, LoggedStats); 12] = [
        // SGLang's docs, Hyperparameter Tuning (v0.2 to v0.3).
        (
            "Decode batch. #running-req: 233, #token: 370959, token usage: 0.82, gen throughput (token/s): 4594.01, #queue-req: 317",
            (233, Some(317), None, Some(4594.01), Some(0.82)),
        ),
        // sgl-project/sglang issues of November 2024, January, February, June and September 2025.
        (
            "[2024-11-30 05:10:04 TP0] Decode batch. #running-req: 1, #token: 234, token usage: 0.00, gen throughput (token/s): 147.64, #queue-req: 0",
            (1, Some(0), None, Some(147.64), Some(0.0)),
        ),
        (
            "[2025-01-23 19:35:28 TP0] Prefill batch. #new-seq: 1, #new-token: 7, #cached-token: 0, cache hit rate: 25.00%, token usage: 0.00, #running-req: 0, #queue-req: 0",
            (0, Some(0), None, None, Some(0.0)),
        ),
        (
            "sglang  | [2025-06-06 10:23:32 TP0] Prefill batch. #new-seq: 2, #new-token: 8191, #cached-token: 0, token usage: 0.01, #running-req: 1, #queue-req: 7",
            (1, Some(7), None, None, Some(0.01)),
        ),
        (
            "[2025-07-18 15:32:54 TP0] Decode batch. #running-req: 1, #token: 2266, token usage: 0.00, cuda graph: True, gen throughput (token/s): 3.13, #queue-req: 0, timestamp: 2025-07-18T15:32:54.159394",
            (1, Some(0), None, Some(3.13), Some(0.0)),
        ),
        (
            "[2025-09-03 05:49:04] Decode batch. #running-req: 1, #token: 501, token usage: 0.02, cuda graph: True, gen throughput (token/s): 65.75, #queue-req: 0,",
            (1, Some(0), None, Some(65.75), Some(0.02)),
        ),
        // Since 2026 with a comma and an iteration (a skill for reading SGLang's logs lists all of them).
        (
            "[2026-09-13 16:06:07] Decode batch, #running-req: 66, #token: 87282, token usage: 1.00, cuda graph: False, gen throughput (token/s): 2529.33, #queue-req: 13",
            (66, Some(13), None, Some(2529.33), Some(1.0)),
        ),
        (
            "[2025-05-27 20:14:33] Prefill batch [123], #new-seq: 4, #new-token: 1024, token usage: 0.41, #running-req: 12, #queue-req: 5, input throughput (token/s): 18722.30",
            (12, Some(5), Some(18722.3), None, Some(0.41)),
        ),
        // Disaggregated serving: pre-allocated, transferred and retracted requests come in between.
        (
            "[2025-05-27 20:14:38 TP0] Decode batch. #running-req: 18, #token: 16384, token usage: 0.71, accept len: 2.40, accept rate: 0.84, pre-allocated usage: 0.28, #prealloc-req: 5, #transfer-req: 3, #retracted-req: 0, cuda graph: True, gen throughput (token/s): 2520.18, #queue-req: 3",
            (18, Some(3), None, Some(2520.18), Some(0.71)),
        ),
        // Sliding windows and state-space layers have separate pools.
        (
            "Prefill batch, #new-seq: 1, #new-token: 6, #cached-token: 0, full token usage: 0.06, swa token usage: 0.52, #running-req: 0, #queue-req: 0, #pending-token: 0, cuda graph: True, input throughput (token/s): 0.54",
            (0, Some(0), Some(0.54), None, Some(0.52)),
        ),
        // Counts of each data-parallel rank on one line.
        (
            "Decode batch. #running-req: 8, #running-req per DP: [2, 2, 2, 2], token usage: 0.10, #queue-req: 0,",
            (8, Some(0), None, None, Some(0.1)),
        ),
        // A usage below zero is SGLang's fault, not the parser's.
        (
            "Decode batch, #running-req: 32, full token usage: 0.28, swa token usage: -5.96, gen throughput (token/s): 80, #queue-req: 0",
            (32, Some(0), None, Some(80.0), Some(0.28)),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(logged_stats(line), expected, "{line}");
        let dated = line.contains("[20");
        assert_eq!(parse_line(line.as_bytes()).stamp.is_some(), dated, "{line}");
    }
    assert_eq!(stats(cases[8].0).draft_length, Some(2.4));
    assert!(near(stats(cases[2].0).hit_rate, 0.25));
}

#[test]
fn blanks_and_commas_at_the_end_belong_to_no_value() {
    let lines = [
        "Decode batch. #running-req: 509, #token: 180776, token usage: 0.97, gen throughput (token/s): 7897.87, #queue-req: 99",
        "Prefill batch. #new-seq: 1, #running-req: 3, token usage: 0.01, #queue-req: 7, input throughput (token/s): 187.5",
        "Avg prompt tput: 583.1 toks/s, Avg generation tput: 883.7 toks/s, Reqs Running: 4, Waiting: 0, GPU KV cache used: 0.1%",
        "Avg prompt throughput: 1.0 tokens/s, Avg generation throughput: 2.0 tokens/s, Running: 3 reqs, Waiting: 4 reqs",
        "SpecDecoding metrics: Accepted: 51 tokens, Drafted: 125 tokens, Accepted throughput: 5.10 tokens/s",
        "KV cache size: 4,194,304 tokens",
        "iter = 0, global_rank = 0, rank = 0, host_step_time = 10.0ms, num_scheduled_requests: 0, states = {}",
    ];
    for line in lines {
        let expected = entry_of(line);
        assert_ne!(expected, LogEvent::Damaged, "{line}");
        for end in [" ", ",", ", ", " , ,", "\t", ", \u{1b}[0m"] {
            assert_eq!(entry_of(&format!("{line}{end}")), expected, "{line}{end}");
        }
    }
    // Docker's JSON lines, in which the rest of the object follows.
    let wrapped = format!("{{\"log\":\"{}, \\n\",\"stream\":\"stderr\"}}", lines[0]);
    assert_eq!(entry_of(&wrapped), entry_of(lines[0]));
}

#[test]
fn ranks_of_sglang_are_engines_where_they_have_requests_of_their_own() {
    let line = |ranks: &str| {
        format!(
            "[2026-07-16 10:22:33{ranks}] Decode batch. #running-req: 3, token usage: 0.97, #queue-req: 0"
        )
    };
    let cases = [
        ("", Some(EngineId::Only)),
        (" TP0", Some(EngineId::Only)),
        (" TP0 EP0", Some(EngineId::Only)),
        (" DP0 TP0", Some(EngineId::Number(0))),
        (" DP1 TP4 EP4", Some(EngineId::Number(1))),
        (" TP1", None),
        (" PP1 TP0", None),
        (" PP0 TP0", Some(EngineId::Only)),
        (" DP3 PP1 TP0", None),
    ];
    for (ranks, engine) in cases {
        let expected = match entry_of(&line(ranks)) {
            LogEvent::Stats(stats) => Some(stats.engine),
            LogEvent::Repeated => None,
            other => panic!("{ranks}: {other:?}"),
        };
        assert_eq!(expected, engine, "{ranks}");
    }
    for cut in ["Decode batch. #running-req: 3, token usage: 0.97", "Prefill batch, #new-seq: 4, #new-tok"] {
        assert_eq!(entry_of(cut), LogEvent::Damaged, "{cut}");
    }
    assert_eq!(entry_of("[2026-07-16 10:22:33.123 DP0 TP0] Decode batch size is 8"), LogEvent::Unknown);
    // SGLang's retractions: both forms of the warning.
    for line in [
        "[2026-09-13 16:06:07] KV cache pool is full. Retract requests. #retracted_reqs: 3, #new_tokens_gained: 646, #new_token_ratio: 0.0980 -> 0.3487",
        "Decode out of memory happened. #retracted_reqs: 3, #new_token_ratio: 0.9998 -> 1.0000",
    ] {
        assert_eq!(entry_of(line), LogEvent::Retracted(3), "{line}");
    }
}

#[test]
fn tensorrt_llms_lines_of_each_version() {
    let states = "states = {'num_ctx_requests': 0, 'num_ctx_tokens': 100, 'num_generation_tokens': 256}";
    let cases: [(String, LoggedStats); 5] = [
        // NVIDIA/TensorRT-LLM, py_executor.py in 2025: the batch follows a colon.
        (
            format!("[07/22/2025-05:45:38] [TRT-LLM] [I] iter = 12, global_rank = 0, rank = 0, currank_total_requests = 0/1, host_step_time = 50.0ms, prev_device_step_time = N/A, timestamp = 2025-07-22 05:45:38, num_scheduled_requests: 5, {states}"),
            (5, None, Some(2000.0), Some(5120.0), None),
        ),
        // In 2026, the batch and the KV cache come first (TensorRT-LLM's own tests have this line).
        (
            format!("[08/23/2026-01:02:03] [TRT-LLM] [I] [_torch][RANK 0] iter = 1, global_rank = 0, rank = 0, num_scheduled_requests = 256, kv_cache_util = 0.100, currank_total_requests = 0/1, host_step_time = 50.0ms, prev_device_step_time = 7.3ms, timestamp = 2026-08-23 01:02:03, {states}"),
            (256, None, Some(2000.0), Some(5120.0), Some(0.1)),
        ),
        (
            "iter = 2, global_rank = 0, rank = 0, num_scheduled_requests = 1, kv_cache_util = N/A, currank_total_requests = 1/1, host_step_time = 5.0ms, prev_device_step_time = 4.0ms, timestamp = 2026-07-22 00:00:00, states = {'num_ctx_requests': 0, 'num_ctx_tokens': 0, 'num_generation_tokens': 1, 'cached_kv_tokens': 0}".to_owned(),
            (1, None, Some(0.0), Some(200.0), None),
        ),
        // A waiting step: ten seconds without work.
        (
            "iter = 0, global_rank = 0, rank = 0, currank_total_requests = 0/0, host_step_time = 10000.0ms, prev_device_step_time = N/A, timestamp = 2026-01-02 03:04:05, num_scheduled_requests: 0, states = {}".to_owned(),
            (0, None, None, None, None),
        ),
        // Tokens by position, which yield no total.
        (
            "iter = 3, global_rank = 0, rank = 0, num_scheduled_requests = 2, kv_cache_util = 0.5, currank_total_requests = 1/1, host_step_time = 5.0ms, prev_device_step_time = 4.0ms, timestamp = 2026-07-22 00:00:00, states = {'num_generation_tokens': [2, 3], 'num_ctx_tokens': 0}".to_owned(),
            (2, None, Some(0.0), None, Some(0.5)),
        ),
    ];
    for (line, expected) in &cases {
        assert_eq!(logged_stats(line), *expected, "{line}");
        assert_eq!(parse_line(line.as_bytes()).stamp.is_some(), line.starts_with('['), "{line}");
        let cut = &line[..line.len() - 1];
        assert_eq!(entry_of(cut), LogEvent::Damaged, "{cut}");
    }
    let other = cases[1].0.replace("global_rank = 0, rank = 0", "global_rank = 1, rank = 1");
    assert_eq!(entry_of(&other), LogEvent::Repeated);
    let stamp = parse_line(cases[0].0.as_bytes()).stamp;
    assert_eq!(stamp, Some(LogTimestamp { year: Some(2025), month: 7, day: 22, time: (5, 45, 38) }));
}

#[test]
fn requests_over_http_have_their_status() {
    let cases = [
        // uvicorn's lines, from vLLM and from SGLang.
        ("INFO:     127.0.0.1:39830 - \"POST /v1/completions HTTP/1.1\" 200 OK", Some((200, true))),
        (
            "INFO:     127.0.0.1:1 - \"POST /v1/chat/completions HTTP/1.1\" 503 Service Unavailable",
            Some((503, true)),
        ),
        (
            "[2025-09-03 05:49:05] INFO:     127.0.0.1:54504 - \"POST /v1/chat/completions HTTP/1.1\" 500 Internal Server Error",
            Some((500, true)),
        ),
        (
            "(APIServer pid=1) INFO:     10.0.0.7:1 - \"GET /health HTTP/1.1\" 503 Service Unavailable",
            Some((503, false)),
        ),
        ("INFO:     127.0.0.1:1 - \"GET /metrics HTTP/1.1\" 404 Not Found", Some((404, false))),
        (
            "INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 429 Too Many Requests",
            Some((429, true)),
        ),
        // nginx's combined format, and HTTP/1.0.
        (
            "10.0.0.1 - - [29/Nov/2026:10:00:00 +0000] \"POST /v1/completions HTTP/1.0\" 502 157 \"-\" \"curl/8\"",
            Some((502, true)),
        ),
        // Lines that only resemble an access line.
        ("INFO 07-28 06:42:09 [x.py:1] the answer was \"HTTP/1.1\" 500 or so", None),
        ("INFO 07-28 06:42:09 [x.py:1] prompt: 'GET / HTTP/1.1\" 500'", None),
        ("INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 5", None),
        ("INFO:     127.0.0.1:1 - \"POST /v1/completions HTTP/1.1\" 999 x", None),
    ];
    for (line, expected) in cases {
        let found = match entry_of(line) {
            LogEvent::Access(access) => Some((access.status, access.is_work)),
            other => {
                assert_eq!(other, LogEvent::Unknown, "{line}");
                None
            }
        };
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn errors_are_told_by_their_level_and_not_by_their_words() {
    let errors = [
        "ERROR 07-28 06:42:09 [core.py:1131] Something failed",
        "(EngineCore_DP0 pid=1) ERROR 07-28 06:42:09 [core.py:1]   File \"x\", line 3",
        "\u{1b}[1;36m(APIServer pid=1)\u{1b}[0;0m \u{1b}[31mERROR\u{1b}[0m 07-28 06:42:09 [serving.py:500] Traceback (most recent call last):",
        "ERROR:    Exception in ASGI application",
        "[2026-07-16 10:22:33] ERROR:    Exception in ASGI application",
        "CRITICAL 07-28 06:42:09 [launcher.py:116] MQLLMEngine is already dead",
        "2026-09-17T15:57:17.123456Z ERROR vllm_server: engine core died",
        // SGLang writes no level; a crash begins like this (issues of 2025).
        "[2025-01-20 19:10:07 TP0] Scheduler hit an exception: Traceback (most recent call last):",
        "[2025-05-25 19:45:03] [ERROR] Scheduler hit an exception: KeyError",
        "[2025-01-20 19:10:07] Received sigquit from a child process. It usually means the child failed.",
        // TensorRT-LLM's levels are letters.
        "[05/19/2026-14:25:08] [TRT-LLM] [E] [serve   ] Internal server error:",
        "via-server-1  | [07/22/2025-05:45:38] [TRT-LLM] [E] Failed to initialize executor on rank 0",
        "Traceback (most recent call last):",
        "Fatal Python error: Segmentation fault",
    ];
    for line in errors {
        assert_eq!(entry_of(line), LogEvent::Error, "{line}");
    }
    let others = [
        "INFO 07-28 06:42:09 [x.py:1] no ERROR in this line",
        "WARNING 07-28 06:42:09 [x.py:1] ERROR: is what a client said",
        "[07/22/2025-05:45:38] [TRT-LLM] [I] ERROR handler installed",
        "INFO:     127.0.0.1:1 - \"GET /ERROR HTTP/1.1\" 200 OK",
        "INFO 05-09 00:49:33 logger.py:36] Received request cmpl-1: prompt: 'ERROR 07-28 Traceback (most recent call last)'",
        "the log of ERRORS",
        "TERROR is a word",
    ];
    for line in others {
        assert_ne!(entry_of(line), LogEvent::Error, "{line}");
    }
    let memory =
        "(EngineCore pid=9) ERROR 05-05 12:36:59 [core.py:1131] torch.OutOfMemoryError: CUDA out of memory.";
    assert_eq!(entry_of(memory), LogEvent::OutOfMemory, "it has an alert of its own");
}

#[test]
fn a_line_names_its_engine_core() {
    for (line, core) in [
        (
            "(EngineCore_DP1 pid=9) INFO 09-01 14:28:09 [kv_cache_utils.py:1] GPU KV cache size: 110,000 tokens",
            Some(1),
        ),
        (
            "(EngineCore_0 pid=9) INFO 09-01 14:28:09 [kv_cache_utils.py:1] GPU KV cache size: 110,000 tokens",
            Some(0),
        ),
        ("(EngineCore pid=9) INFO 09-01 14:28:09 [x.py:1] GPU KV cache size: 110,000 tokens", None),
        ("(APIServer pid=9) INFO 09-01 14:28:09 [x.py:1] x", None),
    ] {
        assert_eq!(parse_line(line.as_bytes()).engine_core, core, "{line}");
    }
    assert_eq!(
        start_up("(EngineCore pid=1) INFO 11-22 09:51:16 [x.py:1] CPU KV cache size: 4,194,304 tokens")
            .kv_tokens,
        Some(4_194_304)
    );
}
