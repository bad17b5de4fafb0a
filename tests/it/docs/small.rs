//! A command of the documentation, made small: fewer requests, sooner, against the test's server.

/// Flags for runs of a few requests, which on a busy machine may be INVALID.
const LENIENT: [&str; 3] = ["--sharegpt-output-len", "16", "--allow-invalid"];

/// Datasets that are sent at their own times.
const TRACES: [&str; 4] = ["timed_trace", "azure", "burstgpt", "trace"];

/// Arguments of the program that say the same in a few seconds.
pub(super) fn command(arguments: &[String], base_url: &str) -> Vec<String> {
    let here = |word: &String| {
        ["8000", "8001"]
            .iter()
            .fold(word.clone(), |word, port| word.replace(&format!("http://localhost:{port}"), base_url))
    };
    let mut own: Vec<String> = arguments.iter().map(here).collect();
    let run_flags = own.iter().position(|word| word == "--").map(|at| own.split_off(at));
    let name = own[0].clone();
    match name.as_str() {
        "run" => own = run(own, base_url),
        "compare" => own.push("--anyway".to_owned()),
        "quick" => {
            if !own.iter().any(|word| word == "--sim" || word.starts_with("http")) {
                own.insert(1, base_url.to_owned());
            }
            set(&mut own, "--time", "4s");
        }
        "gate" if own.get(1).is_some_and(|word| word == "init") => replace(&mut own, "--repeats", "2"),
        "gate" => {
            replace(&mut own, "--extend", "1s");
            own.push("--allow-invalid".to_owned());
        }
        "ab" => {
            set(&mut own, "--blocks", "2");
            set(&mut own, "--block", "300ms");
        }
        "search" => {
            set(&mut own, "--trial", "1s");
            set(&mut own, "--time", "5s");
        }
        "predict" => replace(&mut own, "--members", "2"),
        // Its servers are nowhere: what it would do must be right.
        "sweep" if !own.iter().any(|word| word == "--dry-run") => own.push("--dry-run".to_owned()),
        "watch" | "diagnose" => replace(&mut own, "--for", "3s"),
        _ => {}
    }
    let Some(run_flags) = run_flags else {
        // On a busy machine its measurements may be INVALID.
        own.extend(["--", "--allow-invalid"].iter().filter(|_| name == "quick").map(ToString::to_string));
        return own;
    };
    own.push("--".to_owned());
    let run_flags = run_flags[1..].to_vec();
    own.extend(match name.as_str() {
        "gate" | "plan" => run(run_flags, base_url),
        "ab" => shorter(run_flags).into_iter().chain(LENIENT.map(ToOwned::to_owned)).collect(),
        "search" | "quick" => [run_flags, vec!["--allow-invalid".to_owned()]].concat(),
        _ => run_flags,
    });
    own
}

/// The flags of a simulator, which takes whatever port is free.
pub(super) fn on_a_free_port(arguments: &[String]) -> Vec<&str> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.iter().position(|word| *word == "--port") {
        Some(at) => arguments[at + 1] = "0",
        None => arguments.extend(["--port", "0"]),
    }
    arguments
}

/// The same run, small.
fn run(flags: Vec<String>, base_url: &str) -> Vec<String> {
    if flags.iter().any(|flag| flag == "--recover") {
        return [flags, vec!["--allow-invalid".to_owned()]].concat();
    }
    let has = |wanted: &[&str]| flags.iter().any(|flag| wanted.contains(&flag.as_str()));
    let mut more: Vec<&str> = Vec::new();
    // A step of a ladder would warm up for seconds.
    if flags.iter().any(|flag| is_list_of_loads(flag)) && !has(&["--num-warmups", "--warmup"]) {
        more.extend(["--num-warmups", "2"]);
    }
    if !has(&["--num-prompts", "--num_prompts", "--duration"]) {
        more.extend(["--num-prompts", "8"]);
    }
    if !has(&["--sim"]) && !flags.iter().any(|flag| flag.starts_with(base_url)) {
        more.extend(["--base-url", base_url]);
    }
    if has(&TRACES) && !has(&["--trace-speed"]) {
        more.extend(["--trace-speed", "1000x"]);
    }
    more.extend(LENIENT);
    let more = more.into_iter().map(ToOwned::to_owned);
    shorter(flags.clone()).into_iter().chain(more).collect()
}

/// Whether a word is a list of numbers, such as the loads of a ladder.
fn is_list_of_loads(word: &str) -> bool {
    word.contains(',') && word.split(',').all(|part| part.parse::<f64>().is_ok())
}

/// With smaller numbers in place of those that cost time.
fn shorter(mut flags: Vec<String>) -> Vec<String> {
    let rates_of_a_ladder =
        position(&flags, "--request-rate").is_some_and(|at| is_list_of_loads(&flags[at + 1]));
    for (flag, value) in [
        ("--num-prompts", "8"),
        ("--num-prompts-factor", "1"),
        ("--num-warmups", "8"),
        ("--request-rate", "100"),
        ("--duration", "1s"),
        ("--warmup", "1s"),
        ("--repeats", "2"),
        ("--think-time", "10ms"),
        ("--trace-speed", "1000x"),
        // The port may be somebody else's.
        ("--metrics-listen", "127.0.0.1:0"),
    ] {
        replace(&mut flags, flag, value);
    }
    if rates_of_a_ladder {
        replace(&mut flags, "--request-rate", "100,200");
    }
    flags
}

/// Where a flag is, which may be written with underscores.
fn position(words: &[String], flag: &str) -> Option<usize> {
    words.iter().position(|word| word.replace('_', "-") == flag)
}

/// Gives a flag another value, if it is there.
fn replace(words: &mut [String], flag: &str, value: &str) {
    if let Some(at) = position(words, flag) {
        value.clone_into(&mut words[at + 1]);
    }
}

/// Gives a flag another value, and adds the flag if it is not there.
fn set(words: &mut Vec<String>, flag: &str, value: &str) {
    match position(words, flag) {
        Some(at) => value.clone_into(&mut words[at + 1]),
        None => words.extend([flag.to_owned(), value.to_owned()]),
    }
}
