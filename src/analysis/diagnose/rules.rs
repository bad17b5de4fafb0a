//! The table of rules: what can be wrong with a server, how to detect it, and what to do.
//!
//! Rules whose findings make other rules doubtful come first, because findings of equal severity keep this order.

use super::evidence::DiagnosisEvidence;
use super::levers::Lever;
use crate::analysis::diagnose::rule_evaluation::RuleJudgment;
use crate::analysis::diagnose::{client_rules, feature_rules, latency_rules, memory_rules, spike_rules};

mod flags;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct DiagnosisRule {
    /// The rule's name in reports and in JSON.
    pub name: &'static str,
    /// The problem, in words.
    pub title: &'static str,
    /// The condition of the rule, in words.
    pub when: &'static str,
    /// The cause of the problem.
    pub cause: &'static str,
    /// What to change, in this order.
    pub steps: &'static [RemedyStep],
    /// The evidence that the rule needs.
    pub needs: &'static str,
    /// The source of the rule and of its bounds.
    pub source: &'static str,
    /// Checks the rule against the evidence.
    pub judge: fn(&DiagnosisEvidence<'_>) -> RuleJudgment,
}

/// A change to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemedyStep {
    /// The change, in words.
    pub what: &'static str,
    /// The lever that makes the change; `None` where no flag or variable does.
    pub lever: Option<Lever>,
}

const fn step(what: &'static str) -> RemedyStep {
    RemedyStep { what, lever: None }
}

const fn lever_step(lever: Lever, what: &'static str) -> RemedyStep {
    RemedyStep { what, lever: Some(lever) }
}

const SYMPTOMS: &str = "docs/operators-guide.md, symptoms";
const SYMPTOMS_AND_OURS: &str = "docs/operators-guide.md, symptoms; limits chosen by servegauge";

const LEVERS: &str = "docs/operators-guide.md, levers";
const OURS: &str = "servegauge's choice";

const SERVERS_WORDS: &str = "a result of a server with /metrics, `diagnose.url` or `diagnose.log`";
const RESULT: &str = "a result of `servegauge run`";
const START: &str = "`diagnose.log` with the server's start";

/// All rules, in the order of reports.
pub const RULES: [DiagnosisRule; 25] = [
    DiagnosisRule {
        name: "client",
        title: "The client was the bottleneck, not the server",
        when: "a validity check of the client's lag, reads, CPU, clock or file descriptors failed or warned",
        cause: "the client sent or read late, so the latencies include client delay; other findings may be affected",
        steps: &[
            step("send with more `load.workers`, from a separate machine, or from several machines"),
            step("raise the client's `ulimit -n` if file descriptors ran out"),
        ],
        needs: RESULT,
        source: "servegauge's verdict (docs/numbers.md)",
        judge: client_rules::client_bottleneck,
    },
    DiagnosisRule {
        name: "restart",
        title: "The server restarted during the measurement",
        when: "its counters fell, or its start time changed",
        cause: "the engine died and was restarted, or a load balancer sent the scrapes to several servers",
        steps: &[step("look for the reason in the log's last lines before the restart")],
        needs: "a result of a server with /metrics, or `diagnose.url`",
        source: OURS,
        judge: client_rules::server_restart,
    },
    DiagnosisRule {
        name: "failures",
        title: "Requests failed",
        when: "a request failed, other than by a limit of the client or a cancellation",
        cause: "the cause depends on the failure class: see the evidence",
        steps: &[
            step("add the server log of the same period (`diagnose.log`): it usually shows the error"),
            step("for rejected requests and timeouts under load: lower the load, or add capacity"),
        ],
        needs: RESULT,
        source: "servegauge's choice; the limit is `spec.max_failure_rate`",
        judge: client_rules::failures,
    },
    DiagnosisRule {
        name: "oom",
        title: "The GPU's memory was not enough",
        when: "the log or a failed request reports out of memory",
        cause: "weights, KV pool and activations together are larger than the memory",
        steps: &[
            lever_step(Lever::Quantization, "quantize the model first: its weights are most of the memory"),
            lever_step(Lever::KvCacheDtype, "then halve the KV cache"),
            lever_step(Lever::MaxModelLen, "lower it to the longest request"),
            lever_step(
                Lever::GpuMemoryUtilization,
                "lowering it leaves more memory for activations but shrinks the KV pool",
            ),
        ],
        needs: "`diagnose.log`",
        source: SYMPTOMS,
        judge: memory_rules::out_of_memory,
    },
    DiagnosisRule {
        name: "swapping",
        title: "Requests are swapped out to CPU memory",
        when: "a request is swapped out, or the CPU KV cache is used; alert after 5 min",
        cause: "the KV pool is too small for the running requests, and the V0 engine swaps some out",
        steps: &[
            lever_step(Lever::MaxNumSeqs, "lower it until the running requests fit"),
            lever_step(
                Lever::TensorParallelSize,
                "or spread the model over more GPUs, which leaves more memory for the pool",
            ),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(Lever::SwapSpace, "a larger swap space only lets more requests wait"),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics and the log line",
        judge: memory_rules::swapping,
    },
    DiagnosisRule {
        name: "preemptions",
        title: "Requests are preempted and recomputed",
        when: "the counter grows; alert above 0.1/s",
        cause: "the KV pool is too small for the running requests: the last admitted requests lose their KV blocks and are recomputed",
        steps: &[
            lever_step(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            lever_step(Lever::MaxNumSeqs, "lower it until the running requests fit"),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(
                Lever::TensorParallelSize,
                "or spread the model over more GPUs, which leaves more memory for the pool",
            ),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics; rate chosen by servegauge; vLLM's documentation, Optimization and Tuning",
        judge: memory_rules::preemptions,
    },
    DiagnosisRule {
        name: "kv-full",
        title: "The KV pool is nearly full",
        when: "above 90 % for 1 min, or in half of the samples",
        cause: "the running requests need nearly all of the pool: the next long answer causes a preemption, and new requests wait",
        steps: &[
            lever_step(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(Lever::MaxModelLen, "lower it to the longest request"),
            lever_step(Lever::TensorParallelSize, "or spread the model over more GPUs"),
            step("`servegauge plan` says how many requests fit"),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics; duration chosen by servegauge",
        judge: memory_rules::kv_full,
    },
    DiagnosisRule {
        name: "queue",
        title: "Requests wait before their first token",
        when: "more than 10 requests wait, or the queue is half of the TTFT of the slowest 1 %; alert if TTFT P95 is also above 500 ms",
        cause: "more requests arrive than fit into the batch, or long prompts delay the requests behind them",
        steps: &[
            lever_step(
                Lever::ChunkedPrefill,
                "long prompts are split, and other requests run between the pieces",
            ),
            lever_step(Lever::MaxModelLen, "lower it: shorter requests finish sooner, and more fit"),
            lever_step(Lever::MaxNumSeqs, "raise it if the KV pool has room while requests wait"),
            step("then add capacity: another replica"),
        ],
        needs: SERVERS_WORDS,
        source: SYMPTOMS,
        judge: latency_rules::request_queue,
    },
    DiagnosisRule {
        name: "prefill",
        title: "Prompts take long to compute",
        when: "TTFT P95 above 500 ms, and prefill is half of the mean TTFT and more than the queue",
        cause: "the prompts are long for this GPU, or are computed in small pieces between the tokens of other requests",
        steps: &[
            lever_step(Lever::MaxNumBatchedTokens, "raise it: each step computes more of a prompt"),
            lever_step(Lever::PrefixCaching, "computes shared prefixes once"),
            lever_step(Lever::TensorParallelSize, "more GPUs compute a prompt faster"),
        ],
        needs: "a result, or `diagnose.url` under load; the server must report prefill times (vLLM from v0.6.4, TensorRT-LLM)",
        source: "servegauge's choice; 500 ms from docs/operators-guide.md, metrics",
        judge: latency_rules::slow_prefill,
    },
    DiagnosisRule {
        name: "between",
        title: "TTFT is longer at the client than at the server",
        when: "the mean TTFT at the client exceeds that at the server by more than 50 ms and 30 %",
        cause: "the extra time is outside the server's own measurement: network, gateway, connection set-up, or the client",
        steps: &[
            step("run from the server's machine, or without the gateway, and compare"),
            step(
                "`load.preconnect` opens connections before the run; a gateway must not buffer event streams",
            ),
        ],
        needs: "a result of a server with /metrics, or whose answers have its own times",
        source: OURS,
        judge: latency_rules::client_server_gap,
    },
    DiagnosisRule {
        name: "many-running",
        title: "Tokens are slow because many requests run",
        when: "mean TPOT above 30 ms, with at least 80 % of --max-num-seqs running (32 if it is unknown)",
        cause: "each step computes a token for every running request, so more requests make it longer",
        steps: &[
            lever_step(Lever::MaxNumSeqs, "lower it: fewer requests run at a time, each faster"),
            lever_step(Lever::KvCacheDtype, "halves what each token reads from the KV cache"),
        ],
        needs: "a result, or `diagnose.url` under load",
        source: "docs/operators-guide.md, symptoms (30 ms: 70B in bf16); the count is a rule of thumb",
        judge: latency_rules::large_batch,
    },
    DiagnosisRule {
        name: "slow-steps",
        title: "Tokens are slow although few requests run",
        when: "mean TPOT above 30 ms, with fewer requests running than for `many-running`",
        cause: "a step reads all weights however small the batch is; the model is large for this GPU, or something slows each step",
        steps: &[
            lever_step(Lever::Quantization, "each step reads fewer bytes"),
            lever_step(
                Lever::TensorParallelSize,
                "each GPU reads a part of the weights, if NVLink connects the GPUs",
            ),
            lever_step(Lever::EnforceEager, "must not be set"),
        ],
        needs: "a result, or `diagnose.url` under load",
        source: "servegauge's choice; 30 ms from docs/operators-guide.md, metrics",
        judge: latency_rules::slow_steps,
    },
    DiagnosisRule {
        name: "itl-spikes",
        title: "Tokens stall while prompts are computed",
        when: "ITL P99 above 50 ms and 4 times the median, and most long gaps end with another request's first token",
        cause: "a step that computes a long prompt delays the next token of all other requests",
        steps: &[
            lever_step(Lever::ChunkedPrefill, "splits a prompt into pieces that run between tokens"),
            lever_step(
                Lever::MaxNumBatchedTokens,
                "with chunked prefill, a lower value shortens stalls but delays the first token; without it, raise the value",
            ),
        ],
        needs: "a result of streams, with `options.detail` if every 1 s interval has a first token",
        source: SYMPTOMS_AND_OURS,
        judge: spike_rules::itl_spikes,
    },
    DiagnosisRule {
        name: "tensor-parallel",
        title: "The GPUs of tensor parallelism wait for each other",
        when: "several GPUs, and the log reports no NVLink or no peer-to-peer access; or TPOT above 30 ms with few requests running",
        cause: "each layer ends with an exchange between all GPUs, over PCIe instead of NVLink",
        steps: &[
            step("`nvidia-smi topo -m` must show NV between all GPUs"),
            lever_step(
                Lever::TensorParallelSize,
                "without NVLink, 1: quantize, or use pipeline parallelism or replicas",
            ),
            lever_step(Lever::NcclDebug, "the log must then show P2P or NVLS, not SHM or NET"),
            lever_step(Lever::NcclP2pDisable, "must not be 1"),
        ],
        needs: START,
        source: "docs/operators-guide.md, symptoms; vLLM's custom_all_reduce.py for the log lines",
        judge: latency_rules::tensor_parallel,
    },
    DiagnosisRule {
        name: "prefix-cache",
        title: "Conversation prefixes are recomputed",
        when: "sessions of several turns, and a prefix cache hit rate below 40 %",
        cause: "the KV cache of earlier turns is not found: caching is off, the pool is too small, or the turns go to several replicas",
        steps: &[
            lever_step(Lever::PrefixCaching, "reuses shared prefixes"),
            step(
                "send all turns of a session to one replica: a load balancer can use the header X-Session-ID",
            ),
            lever_step(Lever::GpuMemoryUtilization, "a larger pool keeps prefixes longer"),
        ],
        needs: "a result with `dataset.multi_turn`, of a server that reports its prefix cache",
        source: "docs/operators-guide.md, symptoms and metrics",
        judge: latency_rules::prefix_cache,
    },
    DiagnosisRule {
        name: "throughput",
        title: "Generation slows down although about as many requests run",
        when: "below 50 % of its earlier best for 1 min",
        cause: "small requests or prefills fill the batch",
        steps: &[
            step("check the requests' max_tokens"),
            lever_step(Lever::MaxNumBatchedTokens, "a lower value leaves more of each step to generation"),
        ],
        needs: "`diagnose.log`",
        source: "docs/operators-guide.md, the log line; 50 % and 1 min chosen by servegauge",
        judge: latency_rules::throughput,
    },
    DiagnosisRule {
        name: "buffering",
        title: "Something between client and server buffers the streams",
        when: "most answers begin with several events in one read",
        cause: "a gateway collects events before it forwards them, so TTFT is too long and TPOT too short; E2E is right",
        steps: &[
            step("nginx: `proxy_buffering off`, or the server's header `X-Accel-Buffering: no`"),
            step(
                "HAProxy: `option http-no-delay`; others: no compression and no buffering of text/event-stream",
            ),
            step("or measure the server itself, without the gateway"),
        ],
        needs: "a result of streams",
        source: "servegauge's verdict (docs/numbers.md)",
        judge: client_rules::buffering,
    },
    DiagnosisRule {
        name: "pile-up",
        title: "Requests arrive faster than they are answered",
        when: "arrivals pile up (the validity check for drift failed), or the median TTFT doubles from the first third of the run to the last",
        cause: "the offered load exceeds the capacity of server and gateway, so every latency depends on the length of the run",
        steps: &[
            step(
                "lower the rate until the number of requests in flight is constant: `servegauge search` finds that rate",
            ),
            step("if few requests wait at the server itself, raise the limits of the gateway in front of it"),
            step("then add capacity: another replica"),
        ],
        needs: "a result with a request rate",
        source: "servegauge's choice; the limit of the check is in docs/numbers.md",
        judge: client_rules::pile_up,
    },
    DiagnosisRule {
        name: "log-errors",
        title: "The server's log has errors",
        when: "lines of level ERROR, tracebacks, responses with 5xx, many with 4xx, or timestamps that go backwards",
        cause: "the cause is in the log lines themselves",
        steps: &[step("read the lines around the times above; `servegauge logs` counts them")],
        needs: "`diagnose.log`",
        source: OURS,
        judge: client_rules::log_errors,
    },
    DiagnosisRule {
        name: "speculation",
        title: "Speculative decoding does not pay",
        when: "less than 40 % of the draft tokens are accepted, or a step yields less than 1.3 tokens",
        cause: "each draft costs time, and a rejected one gains nothing; the cost grows with the number of running requests",
        steps: &[
            step("measure once without --speculative-config, with the same load"),
            step(
                "draft fewer tokens per step (num_speculative_tokens): the later positions are accepted least",
            ),
            step(
                "use a draft model that was trained for this model; n-grams help if answers repeat their prompts",
            ),
        ],
        needs: SERVERS_WORDS,
        source: "servegauge's choice; vLLM's documentation, Speculative Decoding",
        judge: feature_rules::speculative_decoding,
    },
    DiagnosisRule {
        name: "adapters",
        title: "LoRA adapters wait for each other",
        when: "more adapters are used than fit into a batch, and requests wait while few run",
        cause: "a batch holds requests of at most --max-loras adapters; the others wait until one of these has no requests left",
        steps: &[
            step(
                "raise --max-loras to the number of adapters in use at a time; it takes memory from the KV pool",
            ),
            step("or send the requests of each adapter to a separate replica"),
        ],
        needs: "a result with several adapters, or a server with LoRA behind `diagnose.url`",
        source: "servegauge's choice; vLLM's documentation, LoRA Adapters",
        judge: feature_rules::lora_adapters,
    },
    flags::ENFORCE_EAGER,
    flags::DELAY_FACTOR,
    flags::SWAP_SPACE,
    flags::V0_ENGINE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_a_source_and_something_to_do() {
        for rule in RULES {
            assert_eq!(RULES.iter().filter(|other| other.name == rule.name).count(), 1, "{}", rule.name);
            for text in [rule.title, rule.when, rule.cause, rule.needs, rule.source] {
                assert!(!text.is_empty(), "{}", rule.name);
            }
            assert!(!rule.steps.is_empty(), "{}", rule.name);
        }
    }
}
