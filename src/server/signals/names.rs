//! The table of names: each signal with what it has been called, the newest first.
//!
//! vLLM's names and versions are from its sources at every release (0.1.7 to August 2026), SGLang's from its source; TGI's,
//! llama.cpp's and TensorRT-LLM's from their documentation and from pages of running servers.

use crate::core::server::Signal;
use crate::server::page::Sample;

/// A family of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// vLLM, V0 and V1.
    Vllm,
    /// SGLang, with `--enable-metrics`.
    Sglang,
    /// Text Generation Inference, and what took its names over.
    Tgi,
    /// llama.cpp's server, with `--metrics`.
    LlamaCpp,
    /// TensorRT-LLM: behind Triton, or `trtllm-serve`.
    TensorrtLlm,
}

impl Engine {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Tgi => "TGI",
            Self::LlamaCpp => "llama.cpp",
            Self::TensorrtLlm => "TensorRT-LLM",
        }
    }
}

/// What a signal is called on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// By whom; `None` if by any program.
    pub engine: Option<Engine>,
    /// The name of the sample, of a histogram without its suffixes.
    pub sample: &'static str,
    /// Only samples with this label are meant.
    pub only: Option<(&'static str, &'static str)>,
    /// The label whose values the signal has parts by.
    pub parts: Option<&'static str>,
    /// The first version with this name; empty if nobody wrote that down.
    pub since: &'static str,
    /// The first version without.
    pub until: Option<&'static str>,
}

impl Name {
    const fn new(engine: Engine, sample: &'static str) -> Self {
        Self { engine: Some(engine), sample, only: None, parts: None, since: "", until: None }
    }

    const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: &'static str) -> Self {
        Self { until: Some(until), ..self }
    }

    const fn only(self, label: &'static str, value: &'static str) -> Self {
        Self { only: Some((label, value)), ..self }
    }

    const fn by(self, label: &'static str) -> Self {
        Self { parts: Some(label), ..self }
    }

    /// Whether a sample is meant. SGLang tells the same once for each rank of tensor and pipeline parallelism.
    pub(super) fn fits(&self, sample: &Sample<'_>) -> bool {
        let first = |label| sample.label(label).is_none_or(|rank| rank.is_empty() || rank == "0");
        self.only.is_none_or(|(label, value)| sample.label(label) == Some(value))
            && first("tp_rank")
            && first("pp_rank")
    }
}

const fn vllm(sample: &'static str) -> Name {
    Name::new(Engine::Vllm, sample)
}

const fn sglang(sample: &'static str) -> Name {
    Name::new(Engine::Sglang, sample)
}

const fn tgi(sample: &'static str) -> Name {
    Name::new(Engine::Tgi, sample)
}

const fn llama(sample: &'static str) -> Name {
    Name::new(Engine::LlamaCpp, sample)
}

const fn trtllm(sample: &'static str) -> Name {
    Name::new(Engine::TensorrtLlm, sample)
}

/// The table. Versions are vLLM's, or a month.
pub const NAMES: &[(Signal, &[Name])] = &[
    (
        Signal::Running,
        &[
            vllm("vllm:num_requests_running").since("0.2.3"),
            sglang("sglang:num_running_reqs"),
            tgi("tgi_batch_current_size"),
            llama("llamacpp:requests_processing"),
            trtllm("trtllm_num_requests_running"),
            trtllm("nv_trt_llm_request_metrics").only("request_type", "scheduled"),
        ],
    ),
    (
        Signal::Waiting,
        &[
            vllm("vllm:num_requests_waiting").since("0.2.3"),
            sglang("sglang:num_queue_reqs"),
            tgi("tgi_queue_size"),
            llama("llamacpp:requests_deferred"),
            trtllm("trtllm_num_requests_waiting"),
            trtllm("nv_trt_llm_request_metrics").only("request_type", "waiting"),
        ],
    ),
    (Signal::Swapped, &[vllm("vllm:num_requests_swapped").since("0.2.3").until("0.9.1")]),
    (Signal::Preemptions, &[vllm("vllm:num_preemptions_total").since("0.4.3")]),
    (
        Signal::KvUsage,
        &[
            vllm("vllm:kv_cache_usage_perc").since("0.9.2"),
            vllm("vllm:gpu_cache_usage_perc").since("0.2.3").until("0.12.0"),
            sglang("sglang:token_usage"),
            llama("llamacpp:kv_cache_usage_ratio").until("2025-05"),
            trtllm("trtllm_kv_cache_utilization"),
            trtllm("nv_trt_llm_kv_cache_block_metrics").only("kv_cache_block_type", "fraction"),
        ],
    ),
    (Signal::CpuKvUsage, &[vllm("vllm:cpu_cache_usage_perc").since("0.2.3").until("0.9.1")]),
    (
        Signal::PrefixQueries,
        &[
            vllm("vllm:prefix_cache_queries_total").since("0.9.2"),
            vllm("vllm:gpu_prefix_cache_queries_total").since("0.7.3").until("0.12.0"),
        ],
    ),
    (
        Signal::PrefixHits,
        &[
            vllm("vllm:prefix_cache_hits_total").since("0.9.2"),
            vllm("vllm:gpu_prefix_cache_hits_total").since("0.7.3").until("0.12.0"),
        ],
    ),
    (
        Signal::PrefixHitRate,
        &[
            vllm("vllm:gpu_prefix_cache_hit_rate").since("0.5.5").until("0.9.1"),
            sglang("sglang:cache_hit_rate"),
            trtllm("trtllm_kv_cache_hit_rate"),
        ],
    ),
    (
        Signal::PromptTokens,
        &[
            vllm("vllm:prompt_tokens_total").since("0.3.1"),
            sglang("sglang:prompt_tokens_total"),
            tgi("tgi_request_input_length_sum"),
            llama("llamacpp:prompt_tokens_total"),
        ],
    ),
    (
        Signal::CachedPromptTokens,
        &[
            vllm("vllm:prompt_tokens_cached_total").since("0.16.0"),
            sglang("sglang:cached_tokens_total"),
            llama("llamacpp:prompt_tokens_cached_total"),
        ],
    ),
    (
        Signal::GenerationTokens,
        &[
            vllm("vllm:generation_tokens_total").since("0.3.1"),
            sglang("sglang:generation_tokens_total"),
            tgi("tgi_request_generated_tokens_sum"),
            llama("llamacpp:tokens_predicted_total"),
        ],
    ),
    (
        Signal::PromptThroughput,
        &[
            vllm("vllm:avg_prompt_throughput_toks_per_s").since("0.2.3").until("0.7.0"),
            llama("llamacpp:prompt_tokens_seconds"),
        ],
    ),
    (
        Signal::GenerationThroughput,
        &[
            vllm("vllm:avg_generation_throughput_toks_per_s").since("0.2.3").until("0.7.0"),
            sglang("sglang:gen_throughput"),
            llama("llamacpp:predicted_tokens_seconds"),
        ],
    ),
    (
        Signal::Finished,
        &[
            vllm("vllm:request_success_total").since("0.4.2").by("finished_reason"),
            sglang("sglang:num_requests_total"),
            tgi("tgi_request_success"),
            trtllm("trtllm_request_success_total").by("finished_reason"),
        ],
    ),
    (
        Signal::Ttft,
        &[
            vllm("vllm:time_to_first_token_seconds").since("0.3.1"),
            sglang("sglang:time_to_first_token_seconds"),
            trtllm("trtllm_time_to_first_token_seconds"),
        ],
    ),
    (
        Signal::Itl,
        &[
            vllm("vllm:inter_token_latency_seconds").since("0.10.2"),
            vllm("vllm:time_per_output_token_seconds").since("0.3.1").until("0.15.0"),
            sglang("sglang:inter_token_latency_seconds").since("2025-03"),
            sglang("sglang:time_per_output_token_seconds").since("2024-11").until("2025-03"),
        ],
    ),
    (
        Signal::Tpot,
        &[
            vllm("vllm:request_time_per_output_token_seconds").since("0.11.0"),
            tgi("tgi_request_mean_time_per_token_duration"),
            trtllm("trtllm_time_per_output_token_seconds"),
        ],
    ),
    (
        Signal::E2e,
        &[
            vllm("vllm:e2e_request_latency_seconds").since("0.3.1"),
            sglang("sglang:e2e_request_latency_seconds"),
            tgi("tgi_request_duration"),
            trtllm("trtllm_e2e_request_latency_seconds"),
        ],
    ),
    (
        Signal::QueueTime,
        &[
            vllm("vllm:request_queue_time_seconds").since("0.6.4"),
            sglang("sglang:queue_time_seconds").since("2025-10"),
            tgi("tgi_request_queue_duration"),
            trtllm("trtllm_request_queue_time_seconds"),
        ],
    ),
    (Signal::PrefillTime, &[vllm("vllm:request_prefill_time_seconds").since("0.6.4")]),
    (Signal::DecodeTime, &[vllm("vllm:request_decode_time_seconds").since("0.6.4")]),
    (
        Signal::InferenceTime,
        &[vllm("vllm:request_inference_time_seconds").since("0.6.4"), tgi("tgi_request_inference_duration")],
    ),
    (Signal::SpecDrafts, &[vllm("vllm:spec_decode_num_drafts_total").since("0.8.5")]),
    (Signal::SpecDraftTokens, &[vllm("vllm:spec_decode_num_draft_tokens_total").since("0.5.3")]),
    (Signal::SpecAcceptedTokens, &[vllm("vllm:spec_decode_num_accepted_tokens_total").since("0.5.3")]),
    (
        Signal::SpecAcceptedByPosition,
        &[vllm("vllm:spec_decode_num_accepted_tokens_per_pos_total").since("0.8.5").by("position")],
    ),
    (
        Signal::SpecAcceptanceRate,
        &[
            vllm("vllm:spec_decode_draft_acceptance_rate").since("0.5.3").until("0.10.0"),
            sglang("sglang:spec_accept_rate"),
        ],
    ),
    (Signal::SpecAcceptanceLength, &[sglang("sglang:spec_accept_length")]),
    (Signal::SpecEfficiency, &[vllm("vllm:spec_decode_efficiency").since("0.5.3").until("0.10.0")]),
    (Signal::Lora, &[vllm("vllm:lora_requests_info").since("0.6.4")]),
    (Signal::CacheConfig, &[vllm("vllm:cache_config_info").since("0.3.3")]),
    (Signal::ProcessStart, &[Name { engine: None, ..vllm("process_start_time_seconds") }]),
];
