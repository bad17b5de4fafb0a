//! The `/metrics` page in Prometheus' text format: vLLM's current names, then those of older versions.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{super::histogram::CumulativeHistogram, super::spec::SimSpec, EngineMetrics};

/// The server's settings on the page.
pub(in crate::sim) struct PageSettings {
    /// `engine="0",model_name="..."`.
    labels: String,
    /// Labels of `vllm:cache_config_info`.
    cache_config: String,
    /// The number of LoRA adapters.
    adapters: usize,
}

impl PageSettings {
    pub(in crate::sim) fn new(spec: &SimSpec) -> Self {
        let name = escaped(spec.primary_name());
        let tokens = (spec.num_gpu_blocks - 1) * spec.block_size;
        let caching = if spec.prefix_caching { "True" } else { "False" };
        Self {
            adapters: spec.lora_modules.len(),
            labels: format!("engine=\"0\",model_name=\"{name}\""),
            cache_config: format!(
                "block_size=\"{block}\",cache_dtype=\"auto\",enable_prefix_caching=\"{caching}\",engine=\"0\",\
                 gpu_memory_utilization=\"0.92\",kv_cache_max_concurrency=\"{concurrency:.2}\",kv_cache_size_tokens=\"{tokens}\",\
                 num_cpu_blocks=\"None\",num_gpu_blocks=\"{blocks}\",num_gpu_blocks_override=\"None\",\
                 prefix_caching_hash_algo=\"sha256\",sliding_window=\"None\"",
                block = spec.block_size,
                concurrency = tokens as f64 / spec.max_model_len as f64,
                blocks = spec.num_gpu_blocks,
            ),
        }
    }
}

/// Escapes the text as a label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes a page. Numbers have Python's float format (`1.0`), as from vLLM's client library.
struct MetricsPageWriter<'a> {
    text: String,
    labels: &'a str,
    created: f64,
}

impl MetricsPageWriter<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, "gauge", help);
        let labels = self.labels;
        self.line(format_args!("{name}{{{labels}}} {value:?}"));
    }

    /// Writes a counter; `stem` is its name without `_total`.
    fn counter(&mut self, stem: &str, help: &str, value: u64) {
        self.counters(stem, help, &[("", value)]);
    }

    /// Writes a counter with several series. The first part of each is a label such as `,source="x"`.
    fn counters(&mut self, stem: &str, help: &str, series: &[(&str, u64)]) {
        let (labels, created) = (self.labels, self.created);
        self.head(&format!("{stem}_total"), "counter", help);
        for (label, value) in series {
            self.line(format_args!("{stem}_total{{{labels}{label}}} {:?}", *value as f64));
        }
        self.head(&format!("{stem}_created"), "gauge", help);
        for (label, _) in series {
            self.line(format_args!("{stem}_created{{{labels}{label}}} {created:?}"));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &CumulativeHistogram) {
        let (labels, created) = (self.labels, self.created);
        self.head(name, "histogram", help);
        for (bound, below) in histogram.cumulative() {
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            self.line(format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {:?}", below as f64));
        }
        self.line(format_args!("{name}_count{{{labels}}} {:?}", histogram.count() as f64));
        self.line(format_args!("{name}_sum{{{labels}}} {:?}", histogram.sum()));
        self.head(&format!("{name}_created"), "gauge", help);
        self.line(format_args!("{name}_created{{{labels}}} {created:?}"));
    }
}

impl EngineMetrics {
    /// Writes the complete page.
    pub(in crate::sim) fn page(&self, facts: &PageSettings) -> String {
        let created = self.created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut page =
            MetricsPageWriter { text: String::with_capacity(48 * 1024), labels: &facts.labels, created };
        self.write_load(&mut page);
        self.write_counters(&mut page);
        self.write_token_histograms(&mut page);
        self.write_time_histograms(&mut page);
        self.write_unused(&mut page);
        self.write_older_names(&mut page);
        if facts.adapters > 0 {
            self.write_adapters(&mut page, facts.adapters);
        }
        // Without labels, as in the process metrics of Python's client library.
        page.head("process_start_time_seconds", "gauge", "Start time of the process, in seconds since 1970.");
        page.line(format_args!("process_start_time_seconds {created:?}"));
        page.head("vllm:cache_config_info", "gauge", "Settings of the KV cache");
        page.line(format_args!("vllm:cache_config_info{{{}}} 1.0", facts.cache_config));
        page.text
    }

    fn write_load(&self, page: &mut MetricsPageWriter) {
        let waiting = self.load.waiting as f64;
        page.gauge("vllm:num_requests_running", "Requests in the running batch.", self.load.running as f64);
        page.gauge("vllm:num_requests_waiting", "Requests waiting to run.", waiting);
        let by_reason = "vllm:num_requests_waiting_by_reason";
        page.head(by_reason, "gauge", "Waiting requests by reason; the sum is vllm:num_requests_waiting.");
        let labels = page.labels;
        page.line(format_args!("{by_reason}{{{labels},reason=\"capacity\"}} {waiting:?}"));
        page.line(format_args!("{by_reason}{{{labels},reason=\"deferred\"}} 0.0"));
        let state = "vllm:engine_sleep_state";
        page.head(state, "gauge", "Whether the engine is awake, or how deep it sleeps.");
        for (name, value) in [("awake", "1.0"), ("weights_offloaded", "0.0"), ("discard_all", "0.0")] {
            page.line(format_args!("{state}{{{labels},sleep_state=\"{name}\"}} {value}"));
        }
        page.gauge("vllm:kv_cache_usage_perc", "Used share of the KV cache, 1 is all.", self.load.kv_usage);
    }

    /// Written only with adapters, and without the usual labels, as in vLLM; the value is the time.
    fn write_adapters(&self, page: &mut MetricsPageWriter, most: usize) {
        let name = "vllm:lora_requests_info";
        page.head(name, "gauge", "Which LoRA adapters have requests; the value is the time.");
        let [running, waiting] = self.adapters.labels().map(|names| escaped(&names));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        page.line(format_args!(
            "{name}{{max_lora=\"{most}\",running_lora_adapters=\"{running}\",waiting_lora_adapters=\"{waiting}\"}} {now:?}"
        ));
    }

    fn write_counters(&self, page: &mut MetricsPageWriter) {
        let computed = self.prompt_tokens - self.cached_tokens;
        page.counter(
            "vllm:prefix_cache_queries",
            "Tokens looked up in the prefix cache.",
            self.prefix_queries,
        );
        page.counter("vllm:prefix_cache_hits", "Tokens found in the prefix cache.", self.prefix_hits);
        page.counter("vllm:num_preemptions", "Preemptions.", self.preemptions);
        page.counter("vllm:prompt_tokens", "Prompt tokens processed.", self.prompt_tokens);
        let by_source = [
            (",source=\"local_compute\"", computed),
            (",source=\"local_cache_hit\"", self.cached_tokens),
            (",source=\"external_kv_transfer\"", 0),
        ];
        page.counters("vllm:prompt_tokens_by_source", "Prompt tokens by source.", &by_source);
        page.counter("vllm:prompt_tokens_cached", "Prompt tokens found in a cache.", self.cached_tokens);
        page.counter("vllm:generation_tokens", "Tokens generated.", self.generation_tokens);
        let finished = [
            (",finished_reason=\"stop\"", self.finished.stop),
            (",finished_reason=\"length\"", self.finished.length),
            (",finished_reason=\"abort\"", self.finished.abort),
            (",finished_reason=\"error\"", 0),
            (",finished_reason=\"repetition\"", 0),
        ];
        page.counters("vllm:request_success", "Finished requests by reason.", &finished);
    }

    fn write_token_histograms(&self, page: &mut MetricsPageWriter) {
        for (name, help, histogram) in [
            ("vllm:request_prompt_tokens", "Prompt tokens of a request.", &self.request_prompt),
            ("vllm:request_generation_tokens", "Tokens generated for a request.", &self.request_generation),
            ("vllm:iteration_tokens_total", "Tokens computed in a step.", &self.step_tokens),
            (
                "vllm:request_max_num_generation_tokens",
                "Most tokens a request could have.",
                &self.request_max_tokens,
            ),
            ("vllm:request_params_n", "The parameter n of a request.", &self.answers),
            (
                "vllm:request_params_max_tokens",
                "The parameter max_tokens of a request.",
                &self.request_max_tokens,
            ),
            ("vllm:request_num_preemptions", "Preemptions of a request.", &self.request_preemptions),
            (
                "vllm:request_prefill_kv_computed_tokens",
                "Prompt tokens that no cache had.",
                &self.request_computed,
            ),
        ] {
            page.histogram(name, help, histogram);
        }
    }

    fn write_time_histograms(&self, page: &mut MetricsPageWriter) {
        for (name, help, histogram) in [
            ("vllm:time_to_first_token_seconds", "Arrival to first token.", &self.ttft),
            ("vllm:inter_token_latency_seconds", "Token to token.", &self.itl),
            ("vllm:request_time_per_output_token_seconds", "Mean of a request's token gaps.", &self.tpot),
            ("vllm:e2e_request_latency_seconds", "Arrival to last token.", &self.e2e),
            ("vllm:request_queue_time_seconds", "Queued to first scheduled.", &self.queue),
            ("vllm:request_inference_time_seconds", "First scheduled to last token.", &self.inference),
            ("vllm:request_prefill_time_seconds", "First scheduled to first token.", &self.prefill),
            ("vllm:request_decode_time_seconds", "First token to last.", &self.decode),
        ] {
            page.histogram(name, help, histogram);
        }
    }

    /// Writes the metrics of features that are not simulated, which a current page has: always zero.
    fn write_unused(&self, page: &mut MetricsPageWriter) {
        for (stem, help) in [
            ("vllm:estimated_flops_per_gpu", "Floating point operations (not estimated)."),
            ("vllm:estimated_read_bytes_per_gpu", "Bytes read from memory (not estimated)."),
            ("vllm:estimated_write_bytes_per_gpu", "Bytes written to memory (not estimated)."),
            ("vllm:external_prefix_cache_queries", "Tokens looked up in another instance's cache."),
            ("vllm:external_prefix_cache_hits", "Tokens found in another instance's cache."),
            ("vllm:mm_cache_queries", "Items looked up in the multi-modal cache."),
            ("vllm:mm_cache_hits", "Items found in the multi-modal cache."),
        ] {
            page.counter(stem, help, 0);
        }
        let by_tier = [
            (",source=\"device\"", self.cached_tokens),
            (",source=\"host\"", 0),
            (",source=\"p2p\"", 0),
            (",source=\"disk\"", 0),
            (",source=\"external_unspecified\"", 0),
        ];
        page.counters("vllm:prompt_tokens_cached_by_source", "Cached prompt tokens by cache tier.", &by_tier);
        let rejected = [(",reason=\"max_num_queued_reqs\"", 0), (",reason=\"max_num_queued_tokens\"", 0)];
        page.counters("vllm:admission_rejections", "Requests rejected by a queue limit.", &rejected);
    }

    /// Writes names that newer versions dropped, as the versions with them did.
    fn write_older_names(&self, page: &mut MetricsPageWriter) {
        let hit_rate = self.hit_rate().unwrap_or(-1.0);
        page.gauge("vllm:num_requests_swapped", "Requests swapped to the CPU (never any).", 0.0);
        page.gauge(
            "vllm:gpu_cache_usage_perc",
            "Former name of vllm:kv_cache_usage_perc.",
            self.load.kv_usage,
        );
        page.gauge("vllm:cpu_cache_usage_perc", "Used share of the CPU's KV cache (there is none).", 0.0);
        page.gauge(
            "vllm:gpu_prefix_cache_hit_rate",
            "Hits of the prefix cache over queries; -1 is unknown.",
            hit_rate,
        );
        page.gauge("vllm:cpu_prefix_cache_hit_rate", "The same of the CPU's cache (there is none).", -1.0);
        page.gauge(
            "vllm:avg_prompt_throughput_toks_per_s",
            "Prompt tokens per second.",
            self.throughput.prompt,
        );
        page.gauge(
            "vllm:avg_generation_throughput_toks_per_s",
            "Generated tokens per second.",
            self.throughput.generation,
        );
        let former = "Former name of the same without gpu_.";
        page.counter("vllm:gpu_prefix_cache_queries", former, self.prefix_queries);
        page.counter("vllm:gpu_prefix_cache_hits", former, self.prefix_hits);
        let former = "Former name of vllm:inter_token_latency_seconds.";
        page.histogram("vllm:time_per_output_token_seconds", former, &self.itl);
    }
}
