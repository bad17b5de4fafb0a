//! vLLM's log lines: the size of the KV cache at the start, then statistics every ten seconds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    metrics::{EngineMetrics, Throughput},
    spec::{LogSink, SimSpec},
};

/// Logs the size of the KV cache as vLLM does when it starts.
pub(super) fn log_kv_cache_size(sink: &mut LogSink, spec: &SimSpec) {
    let tokens = (spec.num_gpu_blocks - 1) * spec.block_size;
    let concurrency = tokens as f64 / spec.max_model_len as f64;
    let line = format!(
        "{} GPU KV cache size: {} tokens, Maximum concurrency for {} tokens per request: {concurrency:.2}x",
        prefix("EngineCore", "kv_cache_utils.py:2327"),
        thousands(tokens),
        thousands(spec.max_model_len),
    );
    sink(&line);
}

/// Logs the statistics every `interval`, forever. The first idle interval is logged, further ones are not until
/// something happens, as in vLLM. The rates are written to the metrics even without a sink.
pub(super) async fn log_periodically(
    mut sink: Option<LogSink>,
    metrics: Arc<Mutex<EngineMetrics>>,
    interval: Duration,
) {
    let mut clock = tokio::time::interval(interval);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock.tick().await;
    let (mut before, mut was_idle) = (StatsCounters::default(), true);
    loop {
        clock.tick().await;
        let (line, now, idle) = {
            let mut metrics = metrics.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let now = StatsCounters::from_metrics(&metrics);
            let seconds = interval.as_secs_f64();
            metrics.throughput = Throughput {
                prompt: (now.prompt - before.prompt) as f64 / seconds,
                generation: (now.generation - before.generation) as f64 / seconds,
            };
            let idle = now == before && metrics.load.running + metrics.load.waiting == 0;
            (statistics(&metrics, now.preemptions - before.preemptions), now, idle)
        };
        if let Some(sink) = &mut sink
            && !(idle && was_idle)
        {
            sink(&line);
        }
        (before, was_idle) = (now, idle);
    }
}

/// The counters whose growth a line reports.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct StatsCounters {
    prompt: u64,
    generation: u64,
    preemptions: u64,
}

impl StatsCounters {
    fn from_metrics(metrics: &EngineMetrics) -> Self {
        Self {
            prompt: metrics.prompt_tokens,
            generation: metrics.generation_tokens,
            preemptions: metrics.preemptions,
        }
    }
}

fn statistics(metrics: &EngineMetrics, preemptions: u64) -> String {
    let preempted = match preemptions {
        0 => String::new(),
        count => format!(", Preemptions: {count}"),
    };
    format!(
        "{} Engine 000: Avg prompt throughput: {:.1} tokens/s, Avg generation throughput: {:.1} tokens/s, \
         Running: {} reqs, Waiting: {} reqs{preempted}, GPU KV cache usage: {:.1}%, Prefix cache hit rate: {:.1}%",
        prefix("APIServer", "loggers.py:335"),
        metrics.throughput.prompt,
        metrics.throughput.generation,
        metrics.load.running,
        metrics.load.waiting,
        metrics.load.kv_usage * 100.0,
        metrics.hit_rate().unwrap_or(0.0) * 100.0,
    )
}

fn prefix(process: &str, source: &str) -> String {
    let now = jiff::Zoned::now().strftime("%m-%d %H:%M:%S").to_string();
    format!("({process} pid={}) INFO {now} [{source}]", std::process::id())
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_line_is_worded_as_vllm_words_it() {
        let mut metrics = EngineMetrics::new(2048);
        metrics.throughput = Throughput { prompt: 107.04, generation: 109.9 };
        metrics.load.running = 3;
        metrics.load.kv_usage = 0.62;
        metrics.record_admission(100, 25);
        let line = statistics(&metrics, 0);
        let (head, tail) = line.split_once(" Engine").unwrap();
        assert!(head.starts_with("(APIServer pid=") && head.ends_with(" [loggers.py:335]"), "{head}");
        let expected = " 000: Avg prompt throughput: 107.0 tokens/s, Avg generation throughput: 109.9 tokens/s, \
                        Running: 3 reqs, Waiting: 0 reqs, GPU KV cache usage: 62.0%, Prefix cache hit rate: 25.0%";
        assert_eq!(tail, expected);
        assert!(statistics(&metrics, 7).contains("Waiting: 0 reqs, Preemptions: 7, GPU KV"));
    }

    #[test]
    fn the_start_tells_the_size_of_the_cache() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&lines);
        let mut sink: LogSink = Box::new(move |line| copy.lock().unwrap().push(line.to_owned()));
        log_kv_cache_size(
            &mut sink,
            &SimSpec { num_gpu_blocks: 262_145, max_model_len: 2048, block_size: 16, ..SimSpec::default() },
        );
        let line = lines.lock().unwrap().pop().unwrap();
        let expected =
            "GPU KV cache size: 4,194,304 tokens, Maximum concurrency for 2,048 tokens per request: 2048.00x";
        assert!(line.ends_with(expected), "{line}");
    }
}
