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
const SYMPTOMS_AND_OURS: &str = "docs/operators-guide.md, symptoms; the bounds are ours";

const LEVERS: &str = "docs/operators-guide.md, levers";
const OURS: &str = "ours";

const SERVERS_WORDS: &str = "a result of a server with /metrics, `diagnose.url` or `diagnose.log`";
const RESULT: &str = "a result of `servegauge run`";
const START: &str = "`diagnose.log` with the server's start";

/// All rules, in the order of reports.
pub const RULES: [DiagnosisRule; 25] = [
    DiagnosisRule {
        name: "client",
        title: "The client was the bottleneck, not the server",
        when: "the run's verdict objects to lag, reads, CPU, clock or descriptors of the client",
        cause: "the client sent or read late, so that its latencies are partly its own: what else was found may be, too",
        steps: &[
            step("send with more `load.workers`, or from a separate machine, or from several"),
            step("raise the client's `ulimit -n` if descriptors ran out"),
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
        when: "any failed for the server's reasons",
        cause: "each class of failures has its own: see the evidence",
        steps: &[
            step("give `diagnose.log` of the same time: the engine says there what went wrong"),
            step("for refusals and timeouts under load: less load, or more capacity"),
        ],
        needs: RESULT,
        source: "ours; the share is `spec.max_failure_rate`",
        judge: client_rules::failures,
    },
    DiagnosisRule {
        name: "oom",
        title: "The GPU's memory was not enough",
        when: "the log, or a failed request, says out of memory",
        cause: "weights, KV pool and activations together are larger than the memory",
        steps: &[
            lever_step(Lever::Quantization, "quantize the model first: its weights are most of the memory"),
            lever_step(Lever::KvCacheDtype, "then halve the KV cache"),
            lever_step(Lever::MaxModelLen, "lower it to the longest request"),
            lever_step(
                Lever::GpuMemoryUtilization,
                "alone it only moves the limit: lower leaves more for activations and less for the KV pool",
            ),
        ],
        needs: "`diagnose.log`",
        source: SYMPTOMS,
        judge: memory_rules::out_of_memory,
    },
    DiagnosisRule {
        name: "swapping",
        title: "Requests are swapped out to the CPU's memory",
        when: "any are swapped, or the CPU's KV cache is used; 5 min make it an alert",
        cause: "the KV pool is too small for the requests that run, and the V0 engine moves some out",
        steps: &[
            lever_step(Lever::MaxNumSeqs, "lower it, so that those that run fit"),
            lever_step(
                Lever::TensorParallelSize,
                "or spread the model over more GPUs: more is left for the pool",
            ),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(Lever::SwapSpace, "more of it only makes room for more waiting"),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics and the log line",
        judge: memory_rules::swapping,
    },
    DiagnosisRule {
        name: "preemptions",
        title: "Requests are preempted, and computed again",
        when: "the counter grows; more than 0.1/s is an alert",
        cause: "the KV pool is too small for the requests that run: the last ones admitted lose their place and start again",
        steps: &[
            lever_step(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            lever_step(Lever::MaxNumSeqs, "lower it, so that those that run fit"),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(
                Lever::TensorParallelSize,
                "or spread the model over more GPUs: more is left for the pool",
            ),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics (\"fast\" is ours); vLLM's documentation, Optimization and Tuning",
        judge: memory_rules::preemptions,
    },
    DiagnosisRule {
        name: "kv-full",
        title: "The KV pool is nearly full",
        when: "above 90 % for 1 min, or in half of the samples",
        cause: "the requests that run need nearly all of the pool: the next long answer preempts, and newcomers wait",
        steps: &[
            lever_step(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            lever_step(Lever::KvCacheDtype, "twice as many tokens fit"),
            lever_step(Lever::MaxModelLen, "lower it to the longest request"),
            lever_step(Lever::TensorParallelSize, "or spread the model over more GPUs"),
            step("`servegauge plan` says how many requests fit"),
        ],
        needs: SERVERS_WORDS,
        source: "docs/operators-guide.md, metrics; how long is ours",
        judge: memory_rules::kv_full,
    },
    DiagnosisRule {
        name: "queue",
        title: "Requests wait before their first token",
        when: "more than 10 wait; with a TTFT P95 above 500 ms an alert",
        cause: "more requests come than fit into the batch, or long prompts hold up those behind them",
        steps: &[
            lever_step(Lever::ChunkedPrefill, "long prompts are cut, and others go between the pieces"),
            lever_step(Lever::MaxModelLen, "lower it: shorter requests leave sooner, and more fit"),
            lever_step(Lever::MaxNumSeqs, "raise it if the KV pool has room while requests wait"),
            step("then add capacity: another replica"),
        ],
        needs: SERVERS_WORDS,
        source: SYMPTOMS,
        judge: latency_rules::request_queue,
    },
    DiagnosisRule {
        name: "prefill",
        title: "Prompts take long to be computed",
        when: "TTFT P95 above 500 ms, and prefill is half of the mean TTFT and more than the queue",
        cause: "the prompts are long for this GPU, or are computed in small pieces between others' tokens",
        steps: &[
            lever_step(Lever::MaxNumBatchedTokens, "raise it: more of a prompt in a step"),
            lever_step(Lever::PrefixCaching, "beginnings that prompts share are computed once"),
            lever_step(Lever::TensorParallelSize, "more GPUs compute a prompt sooner"),
        ],
        needs: "a result, or `diagnose.url` while requests are answered, of a server that counts prefill times (vLLM from v0.6.4)",
        source: "ours; 500 ms from docs/operators-guide.md, metrics",
        judge: latency_rules::slow_prefill,
    },
    DiagnosisRule {
        name: "between",
        title: "First tokens are late on their way",
        when: "the client's mean TTFT exceeds the server's own by 50 ms and 30 %",
        cause: "the time passes where the server does not count it: network, gateway, connections, or the client",
        steps: &[
            step("run from the server's machine, or past the gateway, and compare"),
            step(
                "`load.preconnect` takes the opening of connections out; a gateway must not buffer event streams",
            ),
        ],
        needs: "a result of a server with /metrics",
        source: OURS,
        judge: latency_rules::client_server_gap,
    },
    DiagnosisRule {
        name: "many-running",
        title: "Tokens come slowly because many requests run",
        when: "mean TPOT above 30 ms, with at least 32 running or 80 % of --max-num-seqs",
        cause: "each step computes a token for every running request: the more there are, the longer it takes",
        steps: &[
            lever_step(Lever::MaxNumSeqs, "lower it: fewer at a time, each faster"),
            lever_step(Lever::KvCacheDtype, "half as much to read for each token"),
        ],
        needs: "a result, or `diagnose.url` while requests are answered",
        source: "docs/operators-guide.md, symptoms (30 ms: 70B in bf16); the count is a rule of thumb",
        judge: latency_rules::large_batch,
    },
    DiagnosisRule {
        name: "slow-steps",
        title: "Tokens come slowly although few requests run",
        when: "mean TPOT above 30 ms, with fewer running than that",
        cause: "a step reads all weights however small the batch is: the model is large for this GPU, or something slows each step",
        steps: &[
            lever_step(Lever::Quantization, "fewer bytes to read in each step"),
            lever_step(Lever::TensorParallelSize, "each GPU reads a part, if NVLink joins them"),
            lever_step(Lever::EnforceEager, "must not be set"),
        ],
        needs: "a result, or `diagnose.url` while requests are answered",
        source: "ours; 30 ms from docs/operators-guide.md, metrics",
        judge: latency_rules::slow_steps,
    },
    DiagnosisRule {
        name: "itl-spikes",
        title: "Tokens stall while prompts are computed",
        when: "ITL P99 above 50 ms and 4 times the median, and most long gaps end with another's first token",
        cause: "a step that computes a long prompt keeps everybody's next token waiting",
        steps: &[
            lever_step(Lever::ChunkedPrefill, "a prompt is cut into pieces that fit between tokens"),
            lever_step(
                Lever::MaxNumBatchedTokens,
                "without chunks, raise it; with chunks, lower means shorter stalls and a later first token",
            ),
        ],
        needs: "a result of streams, with `options.detail` if first tokens come in every second",
        source: SYMPTOMS_AND_OURS,
        judge: spike_rules::itl_spikes,
    },
    DiagnosisRule {
        name: "tensor-parallel",
        title: "The GPUs of tensor parallelism wait for each other",
        when: "several GPUs, and the log says that they have no NVLink or no peer-to-peer; or TPOT above 30 ms with few running",
        cause: "each layer ends with an exchange between all GPUs, over PCIe instead of NVLink",
        steps: &[
            step("`nvidia-smi topo -m` must show NV between all of them"),
            lever_step(
                Lever::TensorParallelSize,
                "without NVLink, 1: quantize, or use pipeline parallelism or replicas",
            ),
            lever_step(Lever::NcclDebug, "its lines must say P2P or NVLS, not SHM or NET"),
            lever_step(Lever::NcclP2pDisable, "must not be 1"),
        ],
        needs: START,
        source: "docs/operators-guide.md, symptoms; vLLM's custom_all_reduce.py for the log's words",
        judge: latency_rules::tensor_parallel,
    },
    DiagnosisRule {
        name: "prefix-cache",
        title: "Conversations are computed again from their beginning",
        when: "several turns, and a hit rate below 40 %",
        cause: "the KV of earlier turns is not found again: caching is off, the pool is too small, or replicas share the turns",
        steps: &[
            lever_step(Lever::PrefixCaching, "finds what a prompt begins with"),
            step("send all turns of a session to one replica: a balancer can go by X-Session-ID"),
            lever_step(Lever::GpuMemoryUtilization, "a larger pool keeps beginnings for longer"),
        ],
        needs: "a result with `dataset.multi_turn`, of a server that reports its prefix cache",
        source: "docs/operators-guide.md, symptoms and metrics",
        judge: latency_rules::prefix_cache,
    },
    DiagnosisRule {
        name: "throughput",
        title: "Generation slows down while as many requests run",
        when: "below 50 % of its best pace for 1 min",
        cause: "small requests or prefills fill the batch",
        steps: &[
            step("check the requests' max_tokens"),
            lever_step(Lever::MaxNumBatchedTokens, "lower leaves more of each step to generation"),
        ],
        needs: "`diagnose.log`",
        source: "docs/operators-guide.md, the log line; half, and a minute, are ours",
        judge: latency_rules::throughput,
    },
    DiagnosisRule {
        name: "buffering",
        title: "Something between client and server buffers the streams",
        when: "most answers begin with several events in one read",
        cause: "a gateway collects events before it sends them on: TTFT is too long and TPOT too short, E2E is right",
        steps: &[
            step("nginx: `proxy_buffering off`, or the server's header `X-Accel-Buffering: no`"),
            step(
                "HAProxy: `option http-no-delay`; others: no compression and no buffering of text/event-stream",
            ),
            step("or measure the server itself, past the gateway"),
        ],
        needs: "a result of streams",
        source: "servegauge's verdict (docs/numbers.md)",
        judge: client_rules::buffering,
    },
    DiagnosisRule {
        name: "pile-up",
        title: "Requests come faster than they are answered",
        when: "arrivals pile up by the run's verdict, or the median TTFT doubles from the first third of the run to the last",
        cause: "the offered load is above what server and gateway take together: every latency depends on the length of the run",
        steps: &[
            step(
                "lower the rate until the requests in flight stay level: `servegauge search` finds that rate",
            ),
            step("where few wait at the server itself, raise the limits of what is in front of it"),
            step("then add capacity: another replica"),
        ],
        needs: "a result with a request rate",
        source: "ours; the verdict's bound is in docs/numbers.md",
        judge: client_rules::pile_up,
    },
    DiagnosisRule {
        name: "log-errors",
        title: "The server's log has errors",
        when: "lines of level ERROR, tracebacks, answers with 5xx, many with 4xx, or a clock that runs backwards",
        cause: "each has its own: the lines say which",
        steps: &[step("read the lines around the times above; `servegauge logs` counts them")],
        needs: "`diagnose.log`",
        source: OURS,
        judge: client_rules::log_errors,
    },
    DiagnosisRule {
        name: "speculation",
        title: "Speculative decoding does not pay",
        when: "below 40 % of the draft tokens are accepted, or a step gives below 1.3 tokens",
        cause: "each draft costs time, and a rejected one gives nothing for it; the more requests run, the more it costs",
        steps: &[
            step("measure once without --speculative-config, with the same load"),
            step(
                "draft fewer tokens a step (num_speculative_tokens): the later positions are accepted least",
            ),
            step(
                "a draft model that was trained for this model; n-grams pay where answers repeat their prompts",
            ),
        ],
        needs: SERVERS_WORDS,
        source: "ours; vLLM's documentation, Speculative Decoding",
        judge: feature_rules::speculative_decoding,
    },
    DiagnosisRule {
        name: "adapters",
        title: "LoRA adapters wait for each other",
        when: "more adapters are used than fit a batch, and requests of some wait while few run",
        cause: "a batch holds requests of --max-loras adapters at most: the others wait until one of these has no request left",
        steps: &[
            step(
                "raise --max-loras to the adapters that are used at a time; it takes memory from the KV pool",
            ),
            step("or send the requests of each adapter to a separate replica"),
        ],
        needs: "a result with several adapters, or a server with LoRA behind `diagnose.url`",
        source: "ours; vLLM's documentation, LoRA Adapters",
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
