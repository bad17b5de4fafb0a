//! The table of metric names: each signal with its names, the newest first.
//!
//! vLLM's names and versions are from its sources at every release (0.1.7 to August 2026), SGLang's from its source
//! (`srt/metrics/collector.py`), TensorRT-LLM's from `tensorrt_llm/metrics/collector.py`, Dynamo's from
//! `lib/runtime/src/metrics/prometheus_names.rs`; TGI's and llama.cpp's from their documentation and from pages of
//! running servers. [`spelling`](super::spelling) handles the changes that exporters make to a name.

use crate::model::server::ServerSignal;
use crate::server::metrics_text::ScrapedSample;

/// A family of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineFamily {
    /// vLLM, V0 and V1.
    Vllm,
    /// SGLang, with `--enable-metrics`.
    Sglang,
    /// Text Generation Inference, and servers that adopted its names.
    Tgi,
    /// llama.cpp's server, with `--metrics`.
    LlamaCpp,
    /// TensorRT-LLM: behind Triton, or `trtllm-serve`.
    TensorrtLlm,
    /// Dynamo, around any of the others.
    Dynamo,
}

impl EngineFamily {
    /// Returns the name for people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Tgi => "TGI",
            Self::LlamaCpp => "llama.cpp",
            Self::TensorrtLlm => "TensorRT-LLM",
            Self::Dynamo => "Dynamo",
        }
    }
}

/// A name of a signal on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalName {
    /// The engine that uses the name; `None` if any program may.
    pub engine: Option<EngineFamily>,
    /// The name of the sample; for a histogram, without its suffixes.
    pub sample: &'static str,
    /// Restricts the name to samples with this label.
    pub only: Option<(&'static str, &'static str)>,
    /// The label whose values split the signal into parts.
    pub parts: Option<&'static str>,
    /// The first version with this name; empty if unknown.
    pub since: &'static str,
    /// The first version without this name.
    pub until: Option<&'static str>,
}

impl SignalName {
    const fn new(engine: EngineFamily, sample: &'static str) -> Self {
        Self { engine: Some(engine), sample, only: None, parts: None, since: "", until: None }
    }

    const fn with_first_version(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    const fn with_last_version(self, until: &'static str) -> Self {
        Self { until: Some(until), ..self }
    }

    const fn with_label(self, label: &'static str, value: &'static str) -> Self {
        Self { only: Some((label, value)), ..self }
    }

    const fn with_parts(self, label: &'static str) -> Self {
        Self { parts: Some(label), ..self }
    }

    /// Whether the name covers a sample.
    pub(super) fn matches(&self, sample: &ScrapedSample<'_>) -> bool {
        self.only.is_none_or(|(label, value)| sample.label(label) == Some(value))
    }
}

const fn vllm(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::Vllm, sample)
}

const fn sglang(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::Sglang, sample)
}

const fn tgi(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::Tgi, sample)
}

const fn llama(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::LlamaCpp, sample)
}

const fn dynamo(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::Dynamo, sample)
}

const fn trtllm(sample: &'static str) -> SignalName {
    SignalName::new(EngineFamily::TensorrtLlm, sample)
}

/// The table. Versions are vLLM's, or a month.
pub(crate) const SIGNAL_NAMES: &[(ServerSignal, &[SignalName])] = &[
    (
        ServerSignal::Running,
        &[
            vllm("vllm:num_requests_running").with_first_version("0.2.3"),
            sglang("sglang:num_running_reqs"),
            tgi("tgi_batch_current_size"),
            llama("llamacpp:requests_processing"),
            trtllm("trtllm_num_requests_running"),
            trtllm("nv_trt_llm_request_metrics").with_label("request_type", "scheduled"),
            // The other endpoints of a worker belong to the control plane.
            dynamo("dynamo_component_inflight_requests").with_label("dynamo_endpoint", "generate"),
            dynamo("dynamo_frontend_inflight_requests"),
        ],
    ),
    (
        ServerSignal::Waiting,
        &[
            vllm("vllm:num_requests_waiting").with_first_version("0.2.3"),
            sglang("sglang:num_queue_reqs"),
            tgi("tgi_queue_size"),
            llama("llamacpp:requests_deferred"),
            trtllm("trtllm_num_requests_waiting"),
            trtllm("nv_trt_llm_request_metrics").with_label("request_type", "waiting"),
        ],
    ),
    (
        ServerSignal::Swapped,
        &[vllm("vllm:num_requests_swapped").with_first_version("0.2.3").with_last_version("0.9.1")],
    ),
    (
        ServerSignal::Preemptions,
        &[
            vllm("vllm:num_preemptions_total").with_first_version("0.4.3"),
            sglang("sglang:num_retracted_requests_total"),
        ],
    ),
    (
        ServerSignal::KvUsage,
        &[
            vllm("vllm:kv_cache_usage_perc").with_first_version("0.9.2"),
            vllm("vllm:gpu_cache_usage_perc").with_first_version("0.2.3").with_last_version("0.12.0"),
            sglang("sglang:token_usage"),
            llama("llamacpp:kv_cache_usage_ratio").with_last_version("2025-05"),
            trtllm("trtllm_kv_cache_utilization"),
            trtllm("nv_trt_llm_kv_cache_block_metrics").with_label("kv_cache_block_type", "fraction"),
            sglang("sglang:full_token_usage"),
            dynamo("dynamo_component_gpu_cache_usage_percent"),
        ],
    ),
    (
        ServerSignal::CpuKvUsage,
        &[vllm("vllm:cpu_cache_usage_perc").with_first_version("0.2.3").with_last_version("0.9.1")],
    ),
    (
        ServerSignal::PrefixQueries,
        &[
            vllm("vllm:prefix_cache_queries_total").with_first_version("0.9.2"),
            vllm("vllm:gpu_prefix_cache_queries_total")
                .with_first_version("0.7.3")
                .with_last_version("0.12.0"),
        ],
    ),
    (
        ServerSignal::PrefixHits,
        &[
            vllm("vllm:prefix_cache_hits_total").with_first_version("0.9.2"),
            vllm("vllm:gpu_prefix_cache_hits_total").with_first_version("0.7.3").with_last_version("0.12.0"),
        ],
    ),
    (
        ServerSignal::PrefixHitRate,
        &[
            vllm("vllm:gpu_prefix_cache_hit_rate").with_first_version("0.5.5").with_last_version("0.9.1"),
            sglang("sglang:cache_hit_rate"),
            trtllm("trtllm_kv_cache_hit_rate"),
            dynamo("dynamo_component_kv_cache_hit_rate"),
        ],
    ),
    (
        ServerSignal::PromptTokens,
        &[
            vllm("vllm:prompt_tokens_total").with_first_version("0.3.1"),
            sglang("sglang:prompt_tokens_total"),
            tgi("tgi_request_input_length_sum"),
            llama("llamacpp:prompt_tokens_total"),
            trtllm("trtllm_prompt_tokens_total"),
            dynamo("dynamo_frontend_input_sequence_tokens_sum"),
        ],
    ),
    (
        ServerSignal::CachedPromptTokens,
        &[
            vllm("vllm:prompt_tokens_cached_total").with_first_version("0.16.0"),
            sglang("sglang:cached_tokens_total"),
            llama("llamacpp:prompt_tokens_cached_total"),
            trtllm("trtllm_prompt_cached_tokens_total"),
            dynamo("dynamo_frontend_cached_tokens_sum"),
        ],
    ),
    (
        ServerSignal::GenerationTokens,
        &[
            vllm("vllm:generation_tokens_total").with_first_version("0.3.1"),
            sglang("sglang:generation_tokens_total"),
            tgi("tgi_request_generated_tokens_sum"),
            llama("llamacpp:tokens_predicted_total"),
            trtllm("trtllm_generation_tokens_total"),
            dynamo("dynamo_frontend_output_tokens_total"),
        ],
    ),
    (
        ServerSignal::PromptThroughput,
        &[
            vllm("vllm:avg_prompt_throughput_toks_per_s")
                .with_first_version("0.2.3")
                .with_last_version("0.7.0"),
            llama("llamacpp:prompt_tokens_seconds"),
        ],
    ),
    (
        ServerSignal::GenerationThroughput,
        &[
            vllm("vllm:avg_generation_throughput_toks_per_s")
                .with_first_version("0.2.3")
                .with_last_version("0.7.0"),
            sglang("sglang:gen_throughput"),
            llama("llamacpp:predicted_tokens_seconds"),
        ],
    ),
    (
        ServerSignal::Finished,
        &[
            vllm("vllm:request_success_total").with_first_version("0.4.2").with_parts("finished_reason"),
            sglang("sglang:num_requests_total"),
            tgi("tgi_request_success"),
            trtllm("trtllm_request_success_total").with_parts("finished_reason"),
            dynamo("dynamo_frontend_requests_total").with_parts("status"),
        ],
    ),
    (
        ServerSignal::Ttft,
        &[
            vllm("vllm:time_to_first_token_seconds").with_first_version("0.3.1"),
            sglang("sglang:time_to_first_token_seconds"),
            trtllm("trtllm_time_to_first_token_seconds"),
            dynamo("dynamo_frontend_time_to_first_token_seconds"),
        ],
    ),
    (
        ServerSignal::Itl,
        &[
            vllm("vllm:inter_token_latency_seconds").with_first_version("0.10.2"),
            vllm("vllm:time_per_output_token_seconds")
                .with_first_version("0.3.1")
                .with_last_version("0.15.0"),
            sglang("sglang:inter_token_latency_seconds").with_first_version("2025-03"),
            sglang("sglang:time_per_output_token_seconds")
                .with_first_version("2024-11")
                .with_last_version("2025-03"),
            dynamo("dynamo_frontend_inter_token_latency_seconds"),
        ],
    ),
    (
        ServerSignal::Tpot,
        &[
            vllm("vllm:request_time_per_output_token_seconds").with_first_version("0.11.0"),
            tgi("tgi_request_mean_time_per_token_duration"),
            trtllm("trtllm_time_per_output_token_seconds"),
        ],
    ),
    (
        ServerSignal::E2e,
        &[
            vllm("vllm:e2e_request_latency_seconds").with_first_version("0.3.1"),
            sglang("sglang:e2e_request_latency_seconds"),
            tgi("tgi_request_duration"),
            trtllm("trtllm_e2e_request_latency_seconds"),
            dynamo("dynamo_frontend_request_duration_seconds"),
        ],
    ),
    (
        ServerSignal::QueueTime,
        &[
            vllm("vllm:request_queue_time_seconds").with_first_version("0.6.4"),
            sglang("sglang:queue_time_seconds").with_first_version("2025-10"),
            tgi("tgi_request_queue_duration"),
            trtllm("trtllm_request_queue_time_seconds"),
        ],
    ),
    (
        ServerSignal::PrefillTime,
        &[
            vllm("vllm:request_prefill_time_seconds").with_first_version("0.6.4"),
            trtllm("trtllm_request_prefill_time_seconds"),
        ],
    ),
    (
        ServerSignal::DecodeTime,
        &[
            vllm("vllm:request_decode_time_seconds").with_first_version("0.6.4"),
            trtllm("trtllm_request_decode_time_seconds"),
        ],
    ),
    (
        ServerSignal::InferenceTime,
        &[
            vllm("vllm:request_inference_time_seconds").with_first_version("0.6.4"),
            tgi("tgi_request_inference_duration"),
            trtllm("trtllm_request_inference_time_seconds"),
        ],
    ),
    (ServerSignal::SpecDrafts, &[vllm("vllm:spec_decode_num_drafts_total").with_first_version("0.8.5")]),
    (
        ServerSignal::SpecDraftTokens,
        &[
            vllm("vllm:spec_decode_num_draft_tokens_total").with_first_version("0.5.3"),
            trtllm("trtllm_spec_decode_num_draft_tokens_total"),
        ],
    ),
    (
        ServerSignal::SpecAcceptedTokens,
        &[
            vllm("vllm:spec_decode_num_accepted_tokens_total").with_first_version("0.5.3"),
            trtllm("trtllm_spec_decode_num_accepted_tokens_total"),
        ],
    ),
    (
        ServerSignal::SpecAcceptedByPosition,
        &[vllm("vllm:spec_decode_num_accepted_tokens_per_pos_total")
            .with_first_version("0.8.5")
            .with_parts("position")],
    ),
    (
        ServerSignal::SpecAcceptanceRate,
        &[
            vllm("vllm:spec_decode_draft_acceptance_rate")
                .with_first_version("0.5.3")
                .with_last_version("0.10.0"),
            sglang("sglang:spec_accept_rate"),
        ],
    ),
    (
        ServerSignal::SpecAcceptanceLength,
        &[sglang("sglang:spec_accept_length"), trtllm("trtllm_spec_decode_acceptance_length")],
    ),
    (
        ServerSignal::SpecEfficiency,
        &[vllm("vllm:spec_decode_efficiency").with_first_version("0.5.3").with_last_version("0.10.0")],
    ),
    (ServerSignal::Lora, &[vllm("vllm:lora_requests_info").with_first_version("0.6.4")]),
    (ServerSignal::CacheConfig, &[vllm("vllm:cache_config_info").with_first_version("0.3.3")]),
    (ServerSignal::ProcessStart, &[SignalName { engine: None, ..vllm("process_start_time_seconds") }]),
];
