//! `servegauge plan` as a user runs it, and whether its limit is where the simulator begins to preempt.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use servegauge::sim::SimSpec;

use crate::support::{Pages, Program, Simulator, quick};

/// A small pool: 512 blocks that can be used.
fn small() -> Simulator {
    Simulator::start(SimSpec { num_gpu_blocks: 513, prefix_caching: false, max_model_len: 1024, ..quick() })
}

fn planned(words: &str) -> Value {
    let ended = Program::new("plan --json").words(words).end();
    serde_json::from_str(&ended.well().stdout).unwrap()
}

fn preemptions(simulator: &Simulator) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", simulator.port())).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with("vllm:num_preemptions_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Whether a new server with a small KV pool preempts under this load at this concurrency.
fn preempts(load: &str, concurrency: u64) -> bool {
    let simulator = small();
    simulator.run(load).words(&format!("--max-concurrency {concurrency}")).end().well();
    preemptions(&simulator) > 0.0
}

#[test]
fn the_limit_is_where_requests_in_step_begin_to_be_preempted() {
    let simulator = small();
    let plan =
        planned(&format!("--base-url {} --prompt-tokens 64 --output-tokens 192", simulator.base_url()));
    let limit = plan["limit"].as_u64().unwrap();
    assert_eq!(limit, 32, "513 blocks of 16 over 256 tokens");
    let wave = |count: u64| {
        format!(
            "--dataset-name random --rng native --random-input-len 64 --random-output-len 192 --ignore-eos \
             --num-prompts {count}"
        )
    };
    let [below, above] = [85, 115].map(|percent| limit * percent / 100);
    assert!(!preempts(&wave(below), below));
    assert!(preempts(&wave(above), above));
}

#[test]
fn the_drawn_limit_is_where_requests_at_all_stages_begin_to_be_preempted() {
    let simulator = small();
    let load = "--dataset-name random --rng native --random-input-len 32 --random-output-len 64 \
                --random-range-ratio 0.9 --ignore-eos --num-prompts 600";
    let plan = planned(&format!("--base-url {} -- --sim {load}", simulator.base_url()));
    let limit = plan["at_all_stages"]["limit"].as_u64().unwrap();
    assert!(limit > plan["limit"].as_u64().unwrap(), "{plan}");
    assert!(!preempts(load, limit * 85 / 100), "{limit}");
    assert!(preempts(load, limit * 115 / 100), "{limit}");
}

#[test]
fn the_operators_guides_example_is_printed() {
    let ended = Program::new("plan --kv-tokens 110000 --prompt-tokens 500 --output-tokens 300").end().well();
    assert!(ended.stdout.contains("Limit: 137 concurrent requests"), "{}", ended.stdout);
    assert!(ended.stdout.contains("--max-num-seqs 96 (30.0 % headroom)"), "{}", ended.stdout);
}

#[test]
fn a_saved_run_gives_the_mix_and_the_pace_and_is_checked() {
    let simulator = Simulator::start(quick());
    let program = simulator.run(
        "--dataset-name random --random-input-len 32 --random-output-len 16 --ignore-eos --num-prompts 12 \
         --max-concurrency 4 --save-detailed --result-filename run.json",
    );
    let ended = program.end().well();
    let program = Program::new("plan --json --kv-tokens 4800 --result run.json --check run.json");
    let ended = program.file("run.json", ended.read("run.json")).end().well();
    let plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(plan["requests"]["output_tokens"]["mean"], 16.0);
    assert!(plan["service"]["demand"]["requests_per_s"].as_f64().unwrap() > 0.0);
    let findings = plan["check"]["findings"].as_array().unwrap();
    assert!(findings.contains(&"4 in flight stay within the suggestion".into()), "{findings:?}");
}

/// F3 of the newcomer: a TPOT of two in flight promised six times what the server gave with 57.
#[test]
fn a_pace_measured_elsewhere_is_a_bound_and_a_ladder_is_fitted() {
    let simulator = Simulator::start(quick());
    let run = |concurrency: u32| {
        let load = format!(
            "--dataset-name random --random-input-len 32 --random-output-len 16 --ignore-eos --num-prompts 24 \
             --seed {concurrency} --max-concurrency {concurrency} --result-filename run.json"
        );
        simulator.run(&load).end().well().read("run.json")
    };
    let (one, eight) = (run(1), run(8));
    let plan = |words: &str| {
        let program = Program::new("plan --kv-tokens 9600").words(words);
        program.file("runs/1.json", &one).file("runs/8.json", &eight).end().well().stdout
    };
    let alone = plan("--result runs/1.json");
    for part in
        ["Measured: TTFT ", " in flight (1 result)", "CAUTION: TPOT grows with ", "Request rate: at most "]
    {
        assert!(alone.contains(part), "{part}\n{alone}");
    }
    for words in ["--result runs", "--result runs/1.json runs/8.json"] {
        let ladder = plan(words);
        for part in [
            "Fitted: TPOT ",
            " for each request in flight, 2 results with ",
            "is extrapolated: the highest measured concurrency is",
        ] {
            assert!(ladder.contains(part), "{part}\n{ladder}");
        }
    }
    let given = plan("--result runs/1.json --tpot 30ms");
    assert!(!given.contains("CAUTION") && !given.contains("at most"), "{given}");
    let json: Value = serde_json::from_str(&plan("--json --result runs")).unwrap();
    let service = &json["service"];
    assert_eq!(
        (&service["speed"]["from"], &service["reach"]),
        (&"fitted".into(), &"above".into()),
        "{service}"
    );
}

#[test]
fn a_check_holds_preemptions_and_the_pool_against_the_servers_own_metrics() {
    let simulator = small();
    let load = "--dataset-name random --rng native --random-input-len 64 --random-output-len 192 --ignore-eos \
                --num-prompts 96 --max-concurrency 48 --metrics-interval 20ms --result-filename run.json";
    let ended = simulator.run(load).end().well();
    let run = ended.read("run.json");
    let plan = |words: &str| {
        let words =
            format!("plan --base-url {} --result run.json --check run.json {words}", simulator.base_url());
        Program::new(&words).file("run.json", &run).end().well().stdout
    };
    let text = plan("");
    for part in [
        "running when preemptions began",
        "KV usage peak at the run's concurrency",
        "the plan expects the first",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json: Value = serde_json::from_str(&plan("--json")).unwrap();
    let rows = json["check"]["rows"].as_array().unwrap();
    let of = |what: &str| rows.iter().find(|row| row["what"].as_str().unwrap().starts_with(what)).unwrap();
    let shown = |what: &str| of(what)["shown"].as_f64().unwrap();
    assert!(shown("preemptions at") > 0.0 && shown("KV usage peak") > 85.0, "{rows:?}");
    assert!((27.0..=48.0).contains(&shown("running when preemptions began")), "{rows:?}");
}

#[test]
fn the_pool_is_read_from_a_log_and_the_mix_from_a_dataset() {
    let log = "INFO 05-01 10:00:00 [kv_cache_utils.py:634] GPU KV cache size: 110,000 tokens\n";
    let program =
        Program::new("plan --json --log server.log -- --sim --num-prompts 50").file("server.log", log);
    let plan: Value = serde_json::from_str(&program.end().well().stdout).unwrap();
    assert_eq!(
        (&plan["pool"]["capacity"], &plan["requests"]["total_tokens"]["n"]),
        (&110_000.into(), &50.into())
    );
}

const LLAMA_8B: &str = include_str!("../fixtures/models/llama-3-8b.json");

#[test]
fn a_models_pool_is_worked_out_line_by_line() {
    let requests = "plan --prompt-tokens 500 --output-tokens 300 --model-config model/config.json";
    let plan = |words: &str| {
        let program = Program::new(requests).words(words).file("model/config.json", LLAMA_8B);
        program.end().well().stdout
    };
    let text = plan("--gpu A100 --vllm-version 0.31.0");
    for part in [
        "79.25 GiB memory of each GPU (A100-80, as CUDA reports it)",
        "72.91 GiB taken by vLLM (0.92, the default of vLLM v0.31.0)",
        "14.96 GiB weights (16.1 GB in files by the config's shape and types)",
        "1.22 GiB activations (the sampler's warm-up with --max-num-seqs 256: 40 bytes x 256 x 128256 entries)",
        "GiB CUDA context and NCCL (",
        "GiB CUDA graphs (51 batch sizes",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let pool = |words: &str| {
        serde_json::from_str::<Value>(&plan(&format!("--json {words}"))).unwrap()["pool"].clone()
    };
    // A published start: 460,496 tokens in 56.21 GiB.
    let pool_31 = pool("--gpu A100 --vllm-version 0.31.0");
    let tokens = pool_31["printed_tokens"].as_f64().unwrap();
    assert!((tokens / 460_496.0 - 1.0).abs() < 0.01, "{pool_31}");
    let capacity = |words: &str| pool(words)["capacity"].as_f64().unwrap();
    let bare =
        capacity("--gpu-memory 80GB --reserved-memory 0 --gpu-memory-utilization 0.9 --weights-bytes 16GB");
    assert_eq!(bare, 56e9);
    assert!(capacity("--gpu H100 --max-num-seqs 32") > capacity("--gpu H100") + 4e9);
    assert!(capacity("--gpu H100 --vllm-version 0.20.2") > capacity("--gpu H100 --vllm-version 0.21.0"));
    assert!(capacity("--gpu H100 --max-num-batched-tokens 200000") < capacity("--gpu H100"));
}

#[test]
fn what_lies_beside_a_config_is_read() {
    let index = r#"{"metadata": {"total_size": 20000000000}, "weight_map": {}}"#;
    let quantization = r#"{"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}"#;
    let requests =
        "plan --json --prompt-tokens 500 --output-tokens 300 --gpu H100 --model-config model/config.json";
    let plan = |words: &str, beside: &[(&str, &str)]| {
        let program =
            Program::new(requests).words(words).file("model/config.json", LLAMA_8B).file("other.json", index);
        let program = beside.iter().fold(program, |program, (name, text)| program.file(name, text));
        serde_json::from_str::<Value>(&program.end().well().stdout).unwrap()["pool"].clone()
    };
    let weights = |pool: &Value| {
        let lines = pool["memory"].as_array().unwrap();
        lines.iter().find(|line| line["what"] == "weights").unwrap()["bytes"].as_f64().unwrap()
    };
    for (words, beside) in
        [("", &[("model/model.safetensors.index.json", index)][..]), ("--weights-index other.json", &[])]
    {
        assert_eq!(weights(&plan(words, beside)), 20e9);
    }
    let eight = plan("", &[("model/hf_quant_config.json", quantization)]);
    assert_eq!(eight["cost"]["full"], 65_536.0);
    // 6.98 billion of the layers at one byte, 1.05 billion of both ends at two.
    assert!((9.0e9..9.2e9).contains(&weights(&eight)), "{eight}");
}

/// A published start (Llama 3.1 8B on an A100): 460,496 tokens in 56.21 GiB.
#[test]
fn a_log_a_config_and_a_page_are_compared_and_the_server_is_right() {
    let log = |weights: &str, tokens: &str, settings: &str| {
        format!(
            "INFO vLLM API server version 0.31.0\n\
             INFO Initializing a V1 LLM engine (v0.31.0) with config: model='m', dtype=torch.bfloat16, {settings}\n\
             INFO Model loading took {weights} GiB memory and 3.2 seconds\n\
             INFO Available KV cache memory: 56.21 GiB\n\
             INFO GPU KV cache size: {tokens} tokens\n"
        )
    };
    let plan = |log: &str, words: &str| {
        let program = Program::new("plan --json --prompt-tokens 500 --output-tokens 300 --log the.log")
            .words(words)
            .file("the.log", log)
            .file("config.json", LLAMA_8B);
        serde_json::from_str::<Value>(&program.end().well().stdout).unwrap()["pool"].clone()
    };
    let config = "--model-config config.json --gpu A100";
    let agreeing = plan(&log("14.99", "460,496", "tensor_parallel_size=1"), config);
    assert_eq!((&agreeing["capacity"], &agreeing["unit"]), (&460_496.into(), &"tokens".into()));
    assert_eq!(agreeing["notes"], serde_json::json!([]));

    let pool = plan(&log("8.49", "920,992", "tensor_parallel_size=1, kv_cache_dtype=auto"), config);
    let notes: Vec<&str> = pool["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(pool["capacity"], 920_992);
    for expected in [
        "weights per GPU: the.log has 9.12 GB, config.json 16.06 GB (+76 %); the.log is used",
        "KV bytes per token per GPU: the.log has 65533 bytes, config.json 131072 bytes (+100 %); the.log is used",
        "KV pool: the.log has 920992 tokens, config.json ",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(expected)), "{expected}\n{notes:#?}");
    }
    // Settings of the log are taken for what is worked out; flags that say otherwise are named.
    let words = format!("{config} --tp 1 --kv-dtype bf16");
    let pool = plan(&log("7.5", "1,841,984", "tensor_parallel_size=2, kv_cache_dtype=fp8"), &words);
    let notes = pool["notes"].to_string();
    assert!(notes.contains("tensor parallel size: the.log has 2, the command 1; the.log is used"), "{notes}");
    assert!(notes.contains("KV cache dtype: the.log has fp8, the command bf16"), "{notes}");
    assert!(!notes.contains("weights per GPU") && !notes.contains("per token per GPU"), "{notes}");

    let page = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"20000\"} 1\n";
    let pages = Pages::start(vec![page.into()]);
    let pool = plan(&log("14.99", "460,496", "max_seq_len=8192"), &format!("--base-url {}", pages.url()));
    assert_eq!(pool["capacity"], 320_000);
    let note = pool["notes"][0].as_str().unwrap();
    assert!(note.contains("/metrics has 320000 tokens, the.log 460496 tokens (+44 %); http"), "{note}");

    // A config that is not understood costs nothing where a server says how much there is.
    let pool = plan(&log("14.99", "460,496", "a=b"), "--model-config the.log --gpu A100");
    assert!(pool["notes"].to_string().contains("the.log"), "{pool}");
    let both =
        Program::new("plan --prompt-tokens 5 --output-tokens 3 --kv-tokens 9 --log a").end().with_code(2);
    assert!(both.stderr.contains("--kv-tokens"), "{}", both.stderr);
}

/// A page of vLLM before v0.9.0 has no blocks, and one of another engine has no pool.
#[test]
fn a_page_without_the_pool_costs_nothing_beside_a_log_or_a_model() {
    let log = "INFO GPU KV cache size: 290,864 tokens\n";
    for page in [
        "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1\n",
        "vllm:num_requests_running 0\n",
        "",
    ] {
        let pages = Pages::start(vec![page.into()]);
        let plan = |words: &str| {
            let program = Program::new("plan --json --prompt-tokens 500 --output-tokens 300 --base-url");
            let program = program.arg(pages.url()).words(words);
            program.file("the.log", log).file("config.json", LLAMA_8B).end()
        };
        let error = plan("").with_code(2).stderr;
        assert!(
            error.contains("does not report the size of the KV pool") && error.contains("--log"),
            "{error}"
        );
        let pool = |words: &str| -> Value {
            serde_json::from_str::<Value>(&plan(words).well().stdout).unwrap()["pool"].clone()
        };
        let from_log = pool("--log the.log");
        assert_eq!(from_log["capacity"], 290_864);
        let from_model = pool("--model-config config.json --gpu H100");
        assert!(from_model["capacity"].as_f64().unwrap() > 4e10, "{from_model}");
        for pool in [from_log, from_model] {
            let note = pool["notes"].to_string();
            assert!(note.contains("/metrics does not report the size of the KV pool"), "{note}");
        }
    }
}

/// B04: a log of a hybrid model.
#[test]
fn a_log_that_contradicts_itself_is_said_with_both_figures() {
    let log = "INFO [kv_cache_utils.py:1319] GPU KV cache size: 290,864 tokens\n\
               INFO [kv_cache_utils.py:1324] Maximum concurrency for 32,768 tokens per request: 33.04x\n";
    let program = Program::new("plan --log server.log --prompt-tokens 1000 --output-tokens 200")
        .file("server.log", log);
    let text = program.end().well().stdout;
    assert!(
        text.contains("a size of 290864 tokens, and 33.04 requests of 32768 tokens, which are 1082655"),
        "{text}"
    );
    assert!(text.contains("they differ by a factor of 3.7"), "{text}");
}

/// B27: what helps when only the weights cannot be worked out.
#[test]
fn the_cure_for_unknown_weights_is_to_give_them() {
    let config = LLAMA_8B.replace("\"llama\"", "\"opt\"");
    let words = "plan --prompt-tokens 500 --output-tokens 300 --gpu H100 --model-config config.json";
    let program = |more: &str| Program::new(words).words(more).file("config.json", &config);
    let error = program("").end().stderr;
    assert!(error.contains("give --weights-bytes") && !error.contains("--kv-tokens"), "{error}");
    program("--weights-bytes 16GB").end().well();
}

#[test]
fn mistakes_are_one_line_with_the_cure() {
    let config = r#"{"num_attention_heads": 32, "hidden_size": 4096}"#;
    let cases = [
        (
            "--model-config config.json --gpu-memory 80GB",
            "config.json: `num_hidden_layers` is missing; add it",
        ),
        ("--model-config gone.json --gpu-memory 80GB", "cannot read --model-config gone.json"),
        ("--log config.json", "no line has `GPU KV cache size"),
        ("--base-url http://127.0.0.1:1", "http://127.0.0.1:1/metrics does not answer"),
        ("--kv-tokens 100", "so none fits"),
        ("--kv-tokens 110000 --wanted-rate 10", "give --tpot"),
        ("--kv-tokens 110000 --ttft 1s", "--ttft alone gives no rate"),
    ];
    for (words, expected) in cases {
        let program = Program::new("plan --prompt-tokens 500 --output-tokens 300").words(words);
        let ended = program.file("config.json", config).end();
        assert!(ended.code == Some(2) && ended.stdout.is_empty(), "{words}: {:?}", ended.code);
        assert!(ended.stderr.contains(expected), "{words}\n{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_plan_that_knows_a_model_ends_with_the_command_that_predicts_its_load() {
    let model = include_str!("../fixtures/predict/model.json");
    let words = "plan --kv-tokens 8192 --prompt-tokens 64 --output-tokens 192 --tpot 20ms --wanted-rate 5 --model m.json";
    let planned = Program::new(words).file("m.json", model).end().well().stdout;
    let line = planned.lines().find(|line| line.contains("servegauge predict")).expect("the command");
    let command = line.trim().strip_prefix("servegauge ").unwrap();
    assert!(command.starts_with("predict m.json --request-rate 5 -- --dataset-name random"), "{planned}");
    assert!(command.ends_with("--random-input-len 64 --random-output-len 192"), "{planned}");
    let refused = Program::new(words).file("m.json", "{}").end().with_code(2);
    assert!(refused.stderr.contains("m.json is not a model of a server"), "{}", refused.stderr);
}
