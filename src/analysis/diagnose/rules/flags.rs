//! Rules about flags that are left on, or that no longer have an effect.

use super::super::levers::Lever;
use super::{DiagnosisRule, LEVERS, SERVERS_WORDS, START, lever_step, step};
use crate::analysis::diagnose::setting_rules;

pub(super) const ENFORCE_EAGER: DiagnosisRule = DiagnosisRule {
    name: "enforce-eager",
    title: "CUDA graphs and compilation are off",
    when: "the server runs with --enforce-eager",
    cause: "each step launches its kernels one by one, which is slowest for small batches; the flag is for debugging, or for a GPU with too little memory",
    steps: &[lever_step(Lever::EnforceEager, "omit it")],
    needs: START,
    source: LEVERS,
    judge: setting_rules::enforce_eager,
};

pub(super) const DELAY_FACTOR: DiagnosisRule = DiagnosisRule {
    name: "delay-factor",
    title: "The scheduler makes prompts wait",
    when: "--scheduler-delay-factor is above 0",
    cause: "a prompt waits for this multiple of the last prompt's time, so that batches are fuller: it trades TTFT for throughput",
    steps: &[lever_step(Lever::SchedulerDelayFactor, "leave it at 0 if the first token matters")],
    needs: START,
    source: LEVERS,
    judge: setting_rules::delay_factor,
};

pub(super) const SWAP_SPACE: DiagnosisRule = DiagnosisRule {
    name: "swap-space",
    title: "--swap-space has no effect",
    when: "it is set, and the engine is V1",
    cause: "the V1 engine does not swap; preempted requests are recomputed",
    steps: &[
        lever_step(Lever::SwapSpace, "omit it"),
        lever_step(Lever::GpuMemoryUtilization, "raise it: a larger KV pool reduces preemptions"),
    ],
    needs: START,
    source: "docs/operators-guide.md, levers; vLLM issue 27984",
    judge: setting_rules::swap_space,
};

pub(super) const V0_ENGINE: DiagnosisRule = DiagnosisRule {
    name: "v0-engine",
    title: "The old V0 engine runs",
    when: "the server reports swapped requests and no prefix cache queries, before v0.11.1",
    cause: "the version is older than v0.8.0, VLLM_USE_V1=0 is set, or a flag that V1 lacks made it fall back",
    steps: &[
        lever_step(
            Lever::UseV1,
            "leave it unset, or set it to 1: chunked prefill and prefix caching are on there",
        ),
        step("upgrade if the version is older than v0.8.0"),
    ],
    needs: SERVERS_WORDS,
    source: "docs/operators-guide.md, levers; vLLM RFC 18571",
    judge: setting_rules::v0_engine,
};
