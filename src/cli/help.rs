//! The help texts: an example for every command, and the flags that short helps show.

use clap::{Arg, Command};

/// A command, and lines that show its use. A test parses every line.
type Examples = (&'static [&'static str], &'static [&'static str]);

const EXAMPLES: [Examples; 29] = [
    (
        &[],
        &[
            "servegauge run --sim",
            "servegauge run --base-url http://localhost:8000 --request-rate 20 --duration 60s",
        ],
    ),
    (
        &["run"],
        &[
            "servegauge run --sim",
            "servegauge run --base-url http://localhost:8000 --request-rate 20 --duration 60s",
            "servegauge run --base-url http://localhost:8000 --max-concurrency 1,2,4,8,16 --out c.json",
        ],
    ),
    (
        &["quick"],
        &[
            "servegauge quick",
            "servegauge quick http://localhost:8000 --slo 'ttft.p95<1s'",
            "servegauge quick --sim",
        ],
    ),
    (&["runs"], &["servegauge runs", "servegauge runs --json"]),
    (
        &["report"],
        &["servegauge report last --html report.html", "servegauge report a.json b.json --format csv"],
    ),
    (&["merge"], &["servegauge merge run-shard0.reclog run-shard1.reclog --out all.json"]),
    (
        &["launch"],
        &["servegauge launch slurm --shards 8 --nodes 4 -- run --base-url http://vllm:8000 | sbatch"],
    ),
    (
        &["launch", "kubernetes"],
        &["servegauge launch kubernetes --shards 8 --image IMAGE -- run --base-url http://vllm:8000"],
    ),
    (
        &["launch", "slurm"],
        &["servegauge launch slurm --shards 8 --nodes 4 -- run --base-url http://vllm:8000 --out all.json"],
    ),
    (
        &["launch", "mpi"],
        &["servegauge launch mpi --shards 8 --hosts node0,node1 -- run --base-url http://vllm:8000"],
    ),
    (
        &["audit"],
        &["servegauge audit vllm.json", "servegauge audit benchmarks.json profile_export_aiperf.json --json"],
    ),
    (
        &["compare"],
        &["servegauge compare last-1 last", "servegauge compare before.json after.json --format markdown"],
    ),
    (
        &["ab"],
        &[
            "servegauge ab --a http://localhost:8000 --b http://localhost:8001 -- run --request-rate 20",
            "servegauge ab --a 'vllm serve A --port {port}' --b 'vllm serve B --port {port}' -- run",
        ],
    ),
    (
        &["gate"],
        &[
            "servegauge gate --baseline base.json -- run --base-url http://localhost:8000 --request-rate 20",
            "servegauge gate --baseline base.json --candidate new.json --rule 'ttft.p95 < 500ms'",
        ],
    ),
    (
        &["gate", "init"],
        &["servegauge gate init --out baseline -- run --base-url http://localhost:8000 --request-rate 20"],
    ),
    (
        &["search"],
        &["servegauge search --slo 'ttft.p95<500ms' 'tpot.p95<30ms' -- run --base-url http://localhost:8000"],
    ),
    (&["sweep"], &["servegauge sweep flags.toml --dry-run", "servegauge sweep flags.toml --out results"]),
    (
        &["plan"],
        &[
            "servegauge plan --base-url http://localhost:8000 --result last --wanted-rate 50",
            "servegauge plan --model-config config.json --gpu H100 --prompt-tokens 512 --output-tokens 256",
        ],
    ),
    (
        &["calibrate"],
        &[
            "servegauge calibrate last -o model.json --max-num-seqs 256 --num-gpu-blocks 2300",
            "servegauge calibrate low.json high.json -o model.json --holdout middle.json",
            "servegauge calibrate --probe http://localhost:8000 -o model.json",
        ],
    ),
    (
        &["predict"],
        &[
            "servegauge predict model.json --like run.json --load x0.5,x1,x2",
            "servegauge predict model.json --like run.json --slo 'ttft.p95<500ms' --fleet",
            "servegauge predict model.json --replicas 8 -- --dataset-name azure --dataset-path trace.csv",
            "servegauge predict m.json --like last --prefill-decode 4 --kv-bandwidth inf --model-config cfg",
        ],
    ),
    (&["watch"], &["servegauge watch http://localhost:8000", "servegauge watch --once --json"]),
    (&["logs"], &["servegauge logs server.log", "servegauge logs --follow server.log --threshold kv=95"]),
    (
        &["diagnose"],
        &[
            "servegauge diagnose last --log server.log",
            "servegauge diagnose --url http://localhost:8000 --for 30s",
        ],
    ),
    (&["dashboard"], &["servegauge dashboard --base-url http://localhost:8000 --out monitoring"]),
    (&["dataset"], &["servegauge dataset stats ShareGPT_V3.json"]),
    (
        &["dataset", "stats"],
        &[
            "servegauge dataset stats",
            "servegauge dataset stats trace.csv --dataset-name azure --tokenizer tokenizer.json",
        ],
    ),
    (
        &["sim"],
        &[
            "servegauge sim --port 8000 --served-model-name '*'",
            "servegauge sim --speed h100-70b --max-num-seqs 64 --num-gpu-blocks 4096",
        ],
    ),
    (&["completions"], &["servegauge completions bash", "servegauge completions zsh"]),
    (&["man"], &["servegauge man run", "servegauge man dataset stats", "servegauge man --dir man1"]),
];

/// The flags that the short help of a command shows, where it does not show all: those that most uses need.
const SHORT_HELPS: [(&str, &[&str]); 4] = [
    (
        "run",
        &[
            "sim",
            "base_url",
            "model",
            "dataset_name",
            "dataset_path",
            "num_prompts",
            "unique_prompts",
            "input_len",
            "output_len",
            "request_rate",
            "max_concurrency",
            "duration",
            "warmup",
            "goodput",
            "repeats",
            "report",
            "json",
            "save_detailed",
            "result_filename",
            "config",
        ],
    ),
    (
        "predict",
        &[
            "model",
            "like",
            "load",
            "request_rate",
            "max_concurrency",
            "run",
            "max_num_seqs",
            "max_num_batched_tokens",
            "num_gpu_blocks",
            "enable_prefix_caching",
            "replicas",
            "router",
            "slo",
            "fleet",
            "prefill_decode",
            "kv_bandwidth",
            "check",
            "strict",
            "out",
            "json",
        ],
    ),
    (
        "plan",
        &[
            "kv_tokens",
            "base_url",
            "log",
            "model_config",
            "gpu",
            "gpu_memory",
            "tp",
            "prompt_tokens",
            "output_tokens",
            "result",
            "dataset",
            "tpot",
            "wanted_rate",
            "headroom",
            "check",
            "json",
        ],
    ),
    (
        "sim",
        &[
            "port",
            "model",
            "served_model_name",
            "seed",
            "truth_log",
            "max_model_len",
            "max_num_seqs",
            "num_gpu_blocks",
            "no_prefix_caching",
            "speed",
            "step_time",
            "ttft",
            "gap",
            "eos_mean",
            "fault_rate",
            "fault",
        ],
    ),
];

/// Adds the examples to the help of every command, before what it has already.
pub(super) fn with_examples(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, lines)| add(command, path, lines))
}

fn add(command: Command, path: &[&'static str], lines: &[&str]) -> Command {
    if let Some((name, rest)) = path.split_first() {
        return command.mut_subcommand(name, |command| add(command, rest, lines));
    }
    let title = if lines.len() == 1 { "Example" } else { "Examples" };
    let examples = format!("{title}:\n  {}", lines.join("\n  "));
    let before = |help: Option<&clap::builder::StyledStr>| {
        help.map_or_else(|| examples.clone(), |help| format!("{examples}\n\n{help}"))
    };
    let (short, long) = (command.get_after_help().cloned(), command.get_after_long_help().cloned());
    let long = long.map(|long| before(Some(&long)));
    let command = command.after_help(before(short.as_ref()));
    match long {
        Some(long) => command.after_long_help(long),
        None => command,
    }
}

/// Leaves rarely needed flags out of the short helps.
pub(super) fn with_short_helps(command: Command) -> Command {
    SHORT_HELPS.iter().fold(command, |command, (name, shown)| {
        command.mut_subcommand(name, |command| {
            command.mut_args(|arg: Arg| {
                let is_shown = shown.contains(&arg.get_id().as_str());
                arg.hide_short_help(!is_shown)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_command_line_that_is_accepted() {
        let command = crate::cli::command();
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let words = shlex::split(line).unwrap();
            assert!(line.len() <= 96, "it wraps in a terminal of 100 columns: {line}");
            if let Err(error) = command.clone().try_get_matches_from(words) {
                panic!("{line}\n{error}");
            }
        }
    }

    #[test]
    fn flags_of_short_helps_exist() {
        let command = crate::cli::command();
        for (name, shown) in SHORT_HELPS {
            let command = command.find_subcommand(name).unwrap();
            for id in shown {
                assert!(command.get_arguments().any(|arg| arg.get_id() == id), "{name}: {id}");
            }
        }
    }
}
