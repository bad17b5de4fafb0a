//! The flags of settings that messages of the library name.

use crate::model::setting_names::{self, SettingNames};

/// Settings by path, each with its flag.
pub(super) const FLAGS: &SettingNames = &[
    ("ab.allow_invalid", "--allow-invalid"),
    ("ab.pairs", "--blocks"),
    ("conversations.path", "--input-file"),
    ("custom.output_len", "--custom-output-len"),
    ("custom_image.inline", "--custom-ensure-client-side-data"),
    ("dataset.multi_turn", "--multi-turn"),
    ("dataset.name", "--dataset-name"),
    ("dataset.path", "--dataset-path"),
    ("dataset.token_ids", "--prompt-token-ids"),
    ("diagnose.log", "--log"),
    ("diagnose.url", "--url"),
    ("gate.extend", "--extend"),
    ("gate.same_start", "--same-start"),
    ("hf.split", "--hf-split"),
    ("hf.subset", "--hf-subset"),
    ("hf.text_column", "--hf-text-column"),
    ("load.max_concurrency", "--max-concurrency"),
    ("load.num_warmups", "--num-warmups"),
    ("load.preconnect", "--preconnect"),
    ("load.request_rate", "--request-rate"),
    ("load.workers", "--workers"),
    ("options.detail", "--save-detailed"),
    ("options.reset_prefix_cache", "--reset-prefix-cache"),
    ("options.server_metrics.interval", "--metrics-interval"),
    ("output.json", "--json"),
    ("plan.gpu", "--gpu"),
    ("plan.gpu_memory", "--gpu-memory"),
    ("plan.kv_tokens", "--kv-tokens"),
    ("plan.kv_type", "--kv-dtype"),
    ("plan.output_tokens", "--output-tokens"),
    ("plan.prompt_tokens", "--prompt-tokens"),
    ("plan.reserved", "--reserved-memory"),
    ("plan.result", "--result"),
    ("plan.tp", "--tp"),
    ("plan.tpot", "--tpot"),
    ("plan.ttft", "--ttft"),
    ("plan.utilization", "--gpu-memory-utilization"),
    ("plan.wanted", "--wanted-rate"),
    ("plan.weights", "--weights-bytes"),
    ("plan.weights_index", "--weights-index"),
    ("publish.metrics_listen", "--metrics-listen"),
    ("random-mm.buckets", "--random-mm-bucket-config"),
    ("random-mm.image_limit", "--random-mm-limit-mm-per-prompt"),
    ("random-mm.items_range_ratio", "--random-mm-num-mm-items-range-ratio"),
    ("random-rerank.batch_size", "--random-batch-size"),
    ("random-rerank.is_reranker = false", "--no-reranker"),
    ("sampling.extra_body", "--extra-body"),
    ("search.max", "--max"),
    ("search.time", "--time"),
    ("search.trial", "--trial"),
    ("sonnet.input_len", "--sonnet-input-len"),
    ("spec.max_failure_rate", "--max-failure-rate"),
    ("spec.seed", "--seed"),
    ("spec.steadiness = none", "--no-steady-state"),
    ("speed_bench.max_input_len", "--speed-bench-max-input-len"),
    ("speed_bench.subset", "--speed-bench-dataset-subset"),
    ("sweep.allow_invalid", "--allow-invalid"),
    ("sweep.repeats", "--repeats"),
    ("target.backend", "--backend"),
    ("target.connection.client_cert", "--client-cert"),
    ("target.connection.client_key", "--client-key"),
    ("target.connection.keepalive = false", "--no-keepalive"),
    ("target.model", "--model"),
    ("target.timeout", "--timeout"),
    ("timed_trace.label_timestamp", "--timed-trace-label-timestamp"),
    ("timed_trace.sec_multiplier", "--timed-trace-sec-multiplier"),
    ("trace.columns", "--trace-columns"),
    ("trace.lengths", "--trace-lengths"),
    ("trace.speed", "--trace-speed"),
    ("trace.window", "--trace-window"),
    ("workload.form = text", "--skip-chat-template"),
    ("workload.max_model_len", "--max-model-len"),
    ("workload.rng", "--rng"),
    ("workload.tokenizer", "--tokenizer"),
    ("workload.unique", "--unique-prompts"),
];

/// Replaces the paths of settings in a text by their flags.
pub fn with_flags(text: &str) -> String {
    setting_names::with_names(text, FLAGS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_of_a_setting_exists() {
        let program = Cli::command();
        let flags = || program.get_subcommands().flat_map(clap::Command::get_arguments);
        for (_, flag) in FLAGS {
            assert!(flags().any(|argument| argument.get_long() == Some(&flag[2..])), "{flag}");
        }
    }
}
