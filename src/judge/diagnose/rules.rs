//! What can be wrong with a server, how that is told, and what to do: one table.
//!
//! Rules that make others doubtful come before them: findings that are equally bad are in this order.

use super::case::Judgement;
use super::evidence::Evidence;
use super::levers::Lever;
use super::{client, latency, memory, settings, spikes};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name in reports and in JSON.
    pub name: &'static str,
    /// What is so, in words.
    pub title: &'static str,
    /// When it is so.
    pub when: &'static str,
    /// Why that is.
    pub cause: &'static str,
    /// What to change, in this order.
    pub steps: &'static [Step],
    /// What somebody must give so that it can be judged.
    pub needs: &'static str,
    /// Where rule and bounds are from.
    pub source: &'static str,
    /// Holds it against what is known.
    pub judge: fn(&Evidence<'_>) -> Judgement,
}

/// Something to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub what: &'static str,
    /// With what; `None` where it is not a matter of a flag.
    pub lever: Option<Lever>,
}

const fn step(what: &'static str) -> Step {
    Step { what, lever: None }
}

const fn with(lever: Lever, what: &'static str) -> Step {
    Step { what, lever: Some(lever) }
}

const SYMPTOMS: &str = "operator's chapter, symptoms";
const SYMPTOMS_AND_OURS: &str = "operator's chapter, symptoms; the bounds are ours";

const LEVERS: &str = "operator's chapter, levers";
const OURS: &str = "ours";

const SERVERS_WORDS: &str = "a result of a server with /metrics, --url or --log";
const RESULT: &str = "a result of `servebench run`";
const START: &str = "--log with the server's start";

/// All rules.
pub const RULES: [Rule; 20] = [
    Rule {
        name: "client",
        title: "The client was the bottleneck, not the server",
        when: "the run's verdict objects to lag, reads, CPU, clock or descriptors of the client",
        cause: "the client sent or read late, so that its latencies are partly its own: what else was found may be, too",
        steps: &[
            step("send with more --workers, or from a machine of its own, or from several"),
            step("raise the client's `ulimit -n` if descriptors ran out"),
        ],
        needs: RESULT,
        source: "servebench's verdict (README, \"How to read the numbers\")",
        judge: client::client,
    },
    Rule {
        name: "restart",
        title: "The server started again meanwhile",
        when: "its counters fell, or its start time changed",
        cause: "the engine died and was started again, or a balancer sent the samples to several servers",
        steps: &[step("look for the reason in the log's last lines before the restart")],
        needs: "a result of a server with /metrics, or --url",
        source: OURS,
        judge: client::restart,
    },
    Rule {
        name: "failures",
        title: "Requests failed",
        when: "any failed for the server's reasons",
        cause: "each class of failures has its own: see the evidence",
        steps: &[
            step("give --log of the same time: the engine says there what went wrong"),
            step("for refusals and timeouts under load: less load, or more capacity"),
        ],
        needs: RESULT,
        source: "ours; the share is --max-failure-rate",
        judge: client::failures,
    },
    Rule {
        name: "oom",
        title: "The GPU's memory was not enough",
        when: "the log, or a failed request, says out of memory",
        cause: "weights, KV pool and activations together are larger than the memory",
        steps: &[
            with(Lever::Quantization, "quantise the model first: its weights are most of the memory"),
            with(Lever::KvCacheDtype, "then halve the KV cache"),
            with(Lever::MaxModelLen, "lower it to what is really asked for"),
            with(
                Lever::GpuMemoryUtilization,
                "alone it only moves the limit: lower leaves more for activations and less for the KV pool",
            ),
        ],
        needs: "--log",
        source: SYMPTOMS,
        judge: memory::out_of_memory,
    },
    Rule {
        name: "swapping",
        title: "Requests are swapped out to the CPU's memory",
        when: "any are swapped, or the CPU's KV cache is used; 5 min make it an alert",
        cause: "the KV pool is too small for the requests that run, and the V0 engine moves some out",
        steps: &[
            with(Lever::MaxNumSeqs, "lower it, so that those that run fit"),
            with(Lever::TensorParallelSize, "or spread the model over more GPUs: more is left for the pool"),
            with(Lever::KvCacheDtype, "twice as many tokens fit"),
            with(Lever::SwapSpace, "more of it only makes room for more waiting"),
        ],
        needs: SERVERS_WORDS,
        source: "operator's chapter, metrics and log line",
        judge: memory::swapping,
    },
    Rule {
        name: "preemptions",
        title: "Requests are preempted, and computed again",
        when: "the counter grows; more than 0.1/s is an alert",
        cause: "the KV pool is too small for the requests that run: the last ones admitted lose their place and start again",
        steps: &[
            with(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            with(Lever::MaxNumSeqs, "lower it, so that those that run fit"),
            with(Lever::KvCacheDtype, "twice as many tokens fit"),
            with(Lever::TensorParallelSize, "or spread the model over more GPUs: more is left for the pool"),
        ],
        needs: SERVERS_WORDS,
        source: "operator's chapter, metrics (\"fast\" is ours); vLLM's documentation, Optimization and Tuning",
        judge: memory::preemptions,
    },
    Rule {
        name: "kv-full",
        title: "The KV pool is nearly full",
        when: "above 90 % for 1 min, or in half of the samples",
        cause: "the requests that run need nearly all of the pool: the next long answer preempts, and newcomers wait",
        steps: &[
            with(Lever::GpuMemoryUtilization, "raise it if the GPU has memory left"),
            with(Lever::KvCacheDtype, "twice as many tokens fit"),
            with(Lever::MaxModelLen, "lower it to what is really asked for"),
            with(Lever::TensorParallelSize, "or spread the model over more GPUs"),
            step("`servebench plan` says how many requests fit"),
        ],
        needs: SERVERS_WORDS,
        source: "operator's chapter, metrics; how long is ours",
        judge: memory::kv_full,
    },
    Rule {
        name: "queue",
        title: "Requests wait before their first token",
        when: "more than 10 wait, or arrivals pile up; with a TTFT P95 above 500 ms an alert",
        cause: "more requests come than fit into the batch, or long prompts hold up those behind them",
        steps: &[
            with(Lever::ChunkedPrefill, "long prompts are cut, and others go between the pieces"),
            with(Lever::MaxModelLen, "lower it: shorter requests leave sooner, and more fit"),
            with(Lever::MaxNumSeqs, "raise it if the KV pool has room while requests wait"),
            step("then add capacity: another replica"),
        ],
        needs: SERVERS_WORDS,
        source: SYMPTOMS,
        judge: latency::queue,
    },
    Rule {
        name: "prefill",
        title: "Prompts take long to be computed",
        when: "TTFT P95 above 500 ms, and prefill is half of the mean TTFT and more than the queue",
        cause: "the prompts are long for this GPU, or are computed in small pieces between others' tokens",
        steps: &[
            with(Lever::MaxNumBatchedTokens, "raise it: more of a prompt in a step"),
            with(Lever::PrefixCaching, "beginnings that prompts share are computed once"),
            with(Lever::TensorParallelSize, "more GPUs compute a prompt sooner"),
        ],
        needs: "a result, or --url while requests are answered, of a server that counts prefill times (vLLM from v0.6.4)",
        source: "ours; 500 ms from the operator's chapter, metrics",
        judge: latency::prefill,
    },
    Rule {
        name: "between",
        title: "First tokens are late on their way",
        when: "the client's mean TTFT exceeds the server's own by 50 ms and 30 %",
        cause: "the time passes where the server does not count it: network, gateway, connections, or the client",
        steps: &[
            step("run from the server's machine, or past the gateway, and compare"),
            step(
                "--preconnect takes the opening of connections out; a gateway must not buffer event streams",
            ),
        ],
        needs: "a result of a server with /metrics",
        source: OURS,
        judge: latency::between,
    },
    Rule {
        name: "many-running",
        title: "Tokens come slowly because many requests run",
        when: "mean TPOT above 30 ms, with at least 32 running or 80 % of --max-num-seqs",
        cause: "each step computes a token for every running request: the more there are, the longer it takes",
        steps: &[
            with(Lever::MaxNumSeqs, "lower it: fewer at a time, each faster"),
            with(Lever::KvCacheDtype, "half as much to read for each token"),
        ],
        needs: "a result, or --url while requests are answered",
        source: "operator's chapter, symptoms (30 ms: 70B in bf16); how many is ours",
        judge: latency::many_running,
    },
    Rule {
        name: "slow-steps",
        title: "Tokens come slowly although few requests run",
        when: "mean TPOT above 30 ms, with fewer running than that",
        cause: "a step reads all weights however small the batch is: the model is large for this GPU, or something slows each step",
        steps: &[
            with(Lever::Quantization, "fewer bytes to read in each step"),
            with(Lever::TensorParallelSize, "each GPU reads a part, if NVLink joins them"),
            with(Lever::EnforceEager, "must not be set"),
        ],
        needs: "a result, or --url while requests are answered",
        source: "ours; 30 ms from the operator's chapter, metrics",
        judge: latency::slow_steps,
    },
    Rule {
        name: "itl-spikes",
        title: "Tokens stall while prompts are computed",
        when: "ITL P99 above 50 ms and 4 times the median, and most long gaps end with another's first token",
        cause: "a step that computes a long prompt keeps everybody's next token waiting",
        steps: &[
            with(Lever::ChunkedPrefill, "a prompt is cut into pieces that fit between tokens"),
            with(
                Lever::MaxNumBatchedTokens,
                "without chunks, raise it; with chunks, lower means shorter stalls and a later first token",
            ),
        ],
        needs: "a result of streams, with --save-detailed if first tokens come in every second",
        source: SYMPTOMS_AND_OURS,
        judge: spikes::spikes,
    },
    Rule {
        name: "tensor-parallel",
        title: "The GPUs of tensor parallelism wait for each other",
        when: "several GPUs, and the log says that they have no NVLink or no peer-to-peer; or TPOT above 30 ms with few running",
        cause: "each layer ends with an exchange between all GPUs, over PCIe instead of NVLink",
        steps: &[
            step("`nvidia-smi topo -m` must show NV between all of them"),
            with(
                Lever::TensorParallelSize,
                "without NVLink, 1: quantise, or use pipeline parallelism or replicas",
            ),
            with(Lever::NcclDebug, "its lines must say P2P or NVLS, not SHM or NET"),
            with(Lever::NcclP2pDisable, "must not be 1"),
        ],
        needs: START,
        source: "operator's chapter, symptoms; vLLM's custom_all_reduce.py for the log's words",
        judge: latency::tensor_parallel,
    },
    Rule {
        name: "prefix-cache",
        title: "Conversations are computed again from their beginning",
        when: "several turns, and a hit rate below 40 %",
        cause: "the KV of earlier turns is not found again: caching is off, the pool is too small, or replicas share the turns",
        steps: &[
            with(Lever::PrefixCaching, "finds what a prompt begins with"),
            step("send all turns of a session to one replica: a balancer can go by X-Session-ID"),
            with(Lever::GpuMemoryUtilization, "a larger pool keeps beginnings for longer"),
        ],
        needs: "a result with --multi-turn, of a server that tells of its prefix cache",
        source: "operator's chapter, symptoms and metrics",
        judge: latency::prefix_cache,
    },
    Rule {
        name: "throughput",
        title: "Generation slows down while as many requests run",
        when: "below 50 % of its best pace for 1 min",
        cause: "small requests or prefills fill the batch",
        steps: &[
            step("check the requests' max_tokens"),
            with(Lever::MaxNumBatchedTokens, "lower leaves more of each step to generation"),
        ],
        needs: "--log",
        source: "operator's chapter, log line; half, and a minute, are ours",
        judge: latency::throughput,
    },
    Rule {
        name: "enforce-eager",
        title: "CUDA graphs and compilation are off",
        when: "the server runs with --enforce-eager",
        cause: "each step launches its kernels one by one: slow for small batches above all; it is meant for debugging and for want of memory",
        steps: &[with(Lever::EnforceEager, "leave it out")],
        needs: START,
        source: LEVERS,
        judge: settings::enforce_eager,
    },
    Rule {
        name: "delay-factor",
        title: "The scheduler makes prompts wait",
        when: "--scheduler-delay-factor is above 0",
        cause: "a prompt waits for this multiple of the last prompt's time, for fuller batches: TTFT for throughput",
        steps: &[with(Lever::SchedulerDelayFactor, "leave it at 0 where the first token matters")],
        needs: START,
        source: LEVERS,
        judge: settings::delay_factor,
    },
    Rule {
        name: "swap-space",
        title: "--swap-space has no effect",
        when: "it is set, and the engine is V1",
        cause: "the V1 engine does not swap: it computes preempted requests again",
        steps: &[
            with(Lever::SwapSpace, "leave it out"),
            with(Lever::GpuMemoryUtilization, "a larger KV pool is what helps"),
        ],
        needs: START,
        source: "operator's chapter, levers; vLLM issue 27984",
        judge: settings::swap_space,
    },
    Rule {
        name: "v0-engine",
        title: "The old V0 engine runs",
        when: "the server tells of swapped requests, and not of prefix cache queries, before v0.11.1",
        cause: "the version is older than v0.8.0, VLLM_USE_V1=0 is set, or a flag that V1 lacks made it fall back",
        steps: &[
            with(
                Lever::UseV1,
                "leave it unset, or set it to 1: chunked prefill and prefix caching are on there",
            ),
            step("upgrade if the version is older than v0.8.0"),
        ],
        needs: SERVERS_WORDS,
        source: "operator's chapter, levers; vLLM RFC 18571",
        judge: settings::v0_engine,
    },
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
