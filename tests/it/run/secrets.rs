//! Secrets are planted wherever a user can give one, and looked for in everything that leaves the program.

use crate::support::scripted::answer;
use crate::support::{Ended, Port, Program, Scripted, Simulator, quick};

/// The prefix of every planted secret.
const MARK: &str = "planted";

/// A run of four small requests.
const SMALL: &str = "--dataset-name random --rng native --random-input-len 8 --random-output-len 6 --ignore-eos \
                     --num-prompts 4 --allow-invalid --skip-tokenizer-init --disable-tqdm --model m";

/// Keys in the environment.
fn with_keys(program: Program) -> Program {
    program
        .env("OPENAI_API_KEY", "planted-openai-key")
        .env("HF_TOKEN", "planted-hub-token")
        .env("HTTP_PROXY", "http://planted-proxy-user:planted-proxy-password@127.0.0.1:9")
}

#[track_caller]
fn has_no_leak(ended: &Ended) {
    for (place, text) in ended.everything() {
        if let Some(at) = text.find(MARK) {
            let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let line = text[from..].lines().next().unwrap_or_default();
            panic!("a secret in {place}: {}", line.chars().take(600).collect::<String>());
        }
    }
}

/// Flags of `run` that hold secrets.
fn secret_flags(simulator: &Simulator) -> Vec<String> {
    let place = simulator.base_url().replace("http://", "");
    [
        "--header",
        "X-Team=planted-header",
        "Authorization=Bearer planted-bearer",
        "--endpoint",
        "/v1/completions?api_key=planted-endpoint",
        "--metrics-url",
        &format!("http://planted-user:planted-metrics-password@{place}/metrics?token=planted-metrics-token"),
        "--push-metrics",
        "http://planted-user:planted-push-password@127.0.0.1:9/p?tok=planted-push-token",
        "--extra-body",
        r#"{"api_key":"planted-body","user":{"password":"planted-nested"},"url":"https://h/i?sig=planted-sig"}"#,
        "--metadata",
        "token=planted-metadata",
    ]
    .map(ToOwned::to_owned)
    .into()
}

fn with(program: Program, words: &[String]) -> Program {
    words.iter().fold(program, Program::arg)
}

fn run(simulator: &Simulator, words: &str) -> Program {
    let program = Program::new("run --base-url").arg(simulator.base_url()).words(SMALL).words(words);
    with_keys(with(program, &secret_flags(simulator)))
}

#[test]
fn a_run_leaks_none() {
    let simulator = Simulator::start(quick());
    for words in [
        "--save-detailed --record-log log.reclog --plot-timeline",
        "--append-result --result-filename all.jsonl",
        "--dry-run",
        "--dump-config",
        "--result-filename -",
        "--report vllm --save-result --repeats 2",
    ] {
        let ended = run(&simulator, words).end().well();
        has_no_leak(&ended);
    }
}

#[test]
fn a_log_of_everything_leaks_none() {
    let simulator = Simulator::start(quick());
    let ended = run(&simulator, "-vv").env("RUST_LOG", "trace").end().well();
    assert!(ended.stderr.contains(" DEBUG servegauge::"), "{}", ended.stderr);
    has_no_leak(&ended);
    let ended = run(&simulator, "").env("RUST_LOG", "trace").end().well();
    assert!(ended.stderr.contains(" TRACE "), "{}", ended.stderr);
    has_no_leak(&ended);
}

#[test]
fn what_is_stored_is_enough_to_run_again_with_the_secrets_given_anew() {
    let simulator = Simulator::start(quick());
    let saved = run(&simulator, "--result-filename r.json").end().well().read("r.json");
    let again =
        || with_keys(Program::new("run --like r.json --result-filename again.json").file("r.json", &saved));
    let refused = again().end().with_code(2);
    assert!(
        refused.stderr.contains("has *** in place of a secret, which is stored nowhere"),
        "{}",
        refused.stderr
    );
    let ended = with(again(), &secret_flags(&simulator)).end().well();
    has_no_leak(&ended);
    // Masked and unmasked runs are comparable: masking does not change the saved settings that are compared.
    let gate = Program::new("gate --baseline r.json --same-start --rule")
        .arg("e2el.mean < 60s")
        .file("r.json", &saved);
    let gate = gate
        .words("--save saved --json gate.json --allow-invalid -- run --base-url")
        .arg(simulator.base_url());
    let gate = with_keys(with(gate.words(SMALL), &secret_flags(&simulator))).end().well();
    has_no_leak(&gate);
}

#[test]
fn mistakes_do_not_repeat_them() {
    let nowhere = Port::take().base_url().replace("http://", "");
    let wrong = [
        vec!["run", "--base-url", "http://u:planted-password@h"],
        vec!["run", "--base-url", "http://u:planted password@h:x"],
        vec!["run", "--base-url", "u:planted-password@h:80"],
        vec!["run", "--base-url", "http://h:port/v1?api_key=planted-query"],
        vec!["run", "--sim", "--metrics-url", "htp://u:planted-password@h"],
        vec!["run", "--sim", "--metrics-url", "http://u:planted-password@h:port"],
        vec!["run", "--sim", "--push-metrics", "htp://h/?token=planted-query"],
        vec!["run", "--sim", "--header", "planted-without-a-name"],
        vec!["run", "--sim", "--header", "a b=planted-value"],
        vec!["run", "--sim", "--endpoint", "v1?api_key=planted-query"],
        vec!["run", "--sim", "--extra-body", r#"{"api_key":"planted-body"} and more"#],
        vec!["dashboard", "--out", "d", "--base-url", "u:planted-password@h"],
        vec!["ab", "--a", "http://u:planted-password@", "--b", "http://h"],
        vec!["ab", "--a", "http://u:planted-password@h", "--b", "http://h", "--", "--model", "m"],
        vec!["watch", "htp://u:planted-password@h"],
        vec!["diagnose", "--url", "u:planted-password@h"],
    ];
    for words in wrong {
        let words: Vec<String> = words.into_iter().map(ToOwned::to_owned).collect();
        let ended = with_keys(with(Program::new(""), &words)).end();
        assert_ne!(ended.code, Some(0), "{words:?}");
        has_no_leak(&ended);
    }
    // A server that is not there, and one that repeats what it was sent.
    let url = format!("http://planted-user:planted-password@{nowhere}/metrics?token=planted-query");
    for words in [
        "watch --once",
        "watch --for 1s --json",
        "plan --prompt-tokens 9 --output-tokens 9 --base-url",
        "diagnose --url",
    ] {
        let ended = with_keys(Program::new(words).arg(&url)).end();
        assert_ne!(ended.code, Some(0), "{words}: {}", ended.stdout);
        has_no_leak(&ended);
    }
    let run = Program::new("run --base-url").arg(format!("http://{nowhere}")).words(SMALL);
    let run = run.words("--endpoint /v1/completions?api_key=planted-endpoint --ready-check-timeout-sec 0");
    has_no_leak(&with_keys(run).end().with_code(1));
}

#[test]
fn other_commands_leak_none() {
    let simulator = Simulator::start(quick());
    let place = simulator.base_url().replace("http://", "");
    let url = format!("http://planted-user:planted-password@{place}/metrics");
    let asking = [
        "watch --once --interval 200ms",
        "watch --once --interval 200ms --json",
        "watch --for 1s --interval 300ms",
        "watch --for 1s --interval 300ms --json",
        "plan --prompt-tokens 9 --output-tokens 9 --base-url",
        "plan --json --prompt-tokens 9 --output-tokens 9 --base-url",
        "diagnose --for 1s --url",
        "diagnose --for 1s --json --url",
    ];
    for words in asking {
        let ended = with_keys(Program::new(words).arg(&url)).end();
        has_no_leak(&ended);
        assert!(!ended.stderr.contains("error"), "{words}: {}", ended.stderr);
    }
    let search = Program::new("search --slo e2el.p95<60s --max 8 --start 4 --trial 500ms --time 3s --json");
    let search =
        search.words("--result-filename s.json --save-trials trials -- --base-url").arg(simulator.base_url());
    let flags = SMALL.replace("--num-prompts 4", "");
    has_no_leak(&with_keys(with(search.words(&flags), &secret_flags(&simulator))).end());
}

#[test]
fn commands_of_servers_leak_none() {
    let program = env!("CARGO_BIN_EXE_servegauge");
    let serve = format!(
        "env SOME_API_KEY=planted-in-command {program} sim --port {{port}} --served-model-name m --eos-mean 0"
    );
    let quoted = format!("sh -c 'exec {serve}'");
    let toml = format!(
        "repeats = 1\n[base]\nflags = '''{SMALL} --header x-team=planted-header'''\n\
         [[set]]\nname = 'a'\ncommand = '''{serve}'''\nenv = {{ OTHER_TOKEN = 'planted-in-env' }}\n\
         [[set]]\nname = 'b'\ncommand = '''{quoted}'''\n[[load]]\nname = 'l'\nflags = '--seed 3'\n"
    );
    let sweep =
        |words: &str| with_keys(Program::new("sweep s.toml --out out").words(words).file("s.toml", &toml));
    for words in ["--dry-run", ""] {
        let ended = sweep(words).end().well();
        for (place, text) in ended.everything().into_iter().filter(|(place, _)| !place.ends_with("s.toml")) {
            assert!(!text.contains(MARK), "a secret in {place}: {text}");
        }
    }
    let ab = Program::new("ab --blocks 2 --block 500ms --save saved --a").arg(&serve).arg("--b").arg(&quoted);
    let ab = ab
        .arg("--")
        .words(&SMALL.replace("--num-prompts 4", "--request-rate 20"))
        .words("--header x-team=planted-header");
    has_no_leak(&with_keys(ab).end().well());
}

#[test]
fn a_server_that_repeats_the_key_does_not_make_us_keep_it() {
    let echo = Scripted::start(|head, socket| {
        let said: String = head.lines().filter(|line| line.contains(MARK)).collect::<Vec<_>>().join("; ");
        answer(socket, "401 Unauthorized", &format!("{{\"error\":{{\"message\":\"no access: {said}\"}}}}"));
    });
    let words = "--save-detailed --keep-going --header Authorization=planted-bearer x-api-key=planted-key";
    for words in [words, &words.replace("--keep-going", "")] {
        let run = Program::new("run --base-url").arg(echo.base_url()).words(SMALL).words(words);
        let ended = with_keys(run).end();
        assert_ne!(ended.code, Some(0), "{}", ended.stdout);
        has_no_leak(&ended);
    }
    let url = format!("{}/metrics?token=planted-query", echo.base_url());
    for words in ["watch --once", "plan --prompt-tokens 9 --output-tokens 9 --base-url", "diagnose --url"] {
        has_no_leak(&with_keys(Program::new(words).arg(&url)).end());
    }
}

#[test]
fn an_ab_of_two_addresses_stores_none_of_their_keys() {
    let simulator = Simulator::start(quick());
    let address = |key: &str| format!("{}?key=planted-{key}", simulator.base_url());
    let ab = Program::new("ab --blocks 2 --block 500ms --save saved --a").arg(address("a"));
    let ab = ab.arg("--b").arg(address("b")).arg("--");
    let ended = ab.words(&SMALL.replace("--num-prompts 4", "--request-rate 20")).end();
    assert!(!ended.files("saved/a").is_empty(), "{}", ended.stderr);
    has_no_leak(&ended);
}
