//! The size of the KV pool, from a start-up log.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::{EnginePoolSize, PoolSize};
use crate::server::log::{LogEvent, parse_line};

/// Tokens in a block if the log does not state it: vLLM's default on GPUs.
const DEFAULT_BLOCK_TOKENS: u64 = 16;

/// Returns the size of the pool at the last start in a log, over all engines of that start, or `None` if the log has
/// none. The log may be of any size.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn size_in_log(mut log: impl BufRead) -> io::Result<Option<PoolSize>> {
    let (mut start, mut line) = (StartSizes::default(), Vec::new());
    while log.read_until(b'\n', &mut line)? > 0 {
        start.take_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(start.into_size())
}

/// The sizes that the lines of one start state.
#[derive(Default)]
struct StartSizes {
    engines: BTreeMap<String, EnginePoolSize>,
    /// The number of blocks of each engine.
    blocks: BTreeMap<String, u64>,
    block_tokens: Option<u64>,
    /// The pool of SGLang's layers with a sliding window.
    window_tokens: Option<u64>,
}

impl StartSizes {
    fn take_line(&mut self, text: &str) {
        if text.contains("API server version") {
            // A new start replaces the sizes of the previous one.
            *self = Self::default();
        }
        self.block_tokens = block_size_in_line(text).or(self.block_tokens);
        self.window_tokens = count_after(text, "swa_layer_tokens=").or(self.window_tokens);
        let size = size_in_line(text);
        if size != EnginePoolSize::default() {
            self.engines.entry(engine(text)).or_default().absorb(size);
        }
        if let Some(blocks) = blocks_in_line(text) {
            self.blocks.insert(engine(text), blocks);
        }
    }

    fn into_size(mut self) -> Option<PoolSize> {
        let mut assumed = 0_u64;
        for (engine, blocks) in self.blocks {
            let size = self.engines.entry(engine).or_default();
            match self.block_tokens {
                // An assumed block size says nothing against a size that the engine states.
                None if size.stated.is_some() => continue,
                None => assumed = assumed.saturating_add(blocks),
                Some(_) => {}
            }
            size.tokens_from_blocks = blocks.checked_mul(self.block_tokens.unwrap_or(DEFAULT_BLOCK_TOKENS));
        }
        let mut size = PoolSize::from_engines(self.engines.into_values())?;
        if let Some(window) = self.window_tokens {
            size.notes.push(format!(
                "the layers with a sliding window have a pool of their own, of {window} tokens (swa_layer_tokens), in which \
                 a request keeps at most the window; the plan counts the other layers only"
            ));
        }
        if assumed > 0 {
            size.notes.push(format!(
                "the log does not state the block size: each of the {assumed} blocks is assumed to have \
                 {DEFAULT_BLOCK_TOKENS} tokens, vLLM's default on GPUs"
            ));
        }
        Some(size)
    }
}

/// Tokens in a block, as the operator's arguments, the engine's configuration or its `CacheConfig(…)` state them.
pub(super) fn block_size_in_line(line: &str) -> Option<u64> {
    const KEY: &str = "block_size";
    if !line.contains(KEY) {
        return None;
    }
    let of_cache = || {
        let config = line.split_once("CacheConfig(")?.1;
        let rest = config.split_once(KEY)?.1.trim_start_matches(['\'', '"']);
        number(rest.strip_prefix(['=', ':'])?.trim_start())
    };
    let of_start = || match parse_line(line.trim_ascii_end().as_bytes()).entry {
        LogEvent::StartUp(start) => number(start.settings.get(KEY).or_else(|| start.arguments.get(KEY))?),
        _ => None,
    };
    of_cache().or_else(of_start).filter(|tokens| *tokens > 0)
}

/// The number of blocks: `# GPU blocks: 6875, # CPU blocks: 512`, later `# cuda blocks`.
fn blocks_in_line(line: &str) -> Option<u64> {
    count_after(line, "# GPU blocks: ").or_else(|| count_after(line, "# cuda blocks: "))
}

/// The number behind a mark; `None` for zero.
fn count_after(line: &str, mark: &str) -> Option<u64> {
    number(line.split_once(mark)?.1).filter(|&count| count > 0)
}

/// The engine of a data-parallel server that wrote a line: `(EngineCore_DP1 pid=86)`, in SGLang's log `[… DP1 TP0]`.
/// Empty if the line names none.
fn engine(line: &str) -> String {
    let word = |from: usize| {
        line[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    if let Some(at) = line.find("EngineCore_") {
        return word(at);
    }
    let rank = line.match_indices("DP").map(|(at, _)| word(at));
    let is_rank = |word: &String| word.len() > 2 && word[2..].bytes().all(|byte| byte.is_ascii_digit());
    rank.into_iter().find(is_rank).unwrap_or_default()
}

/// `GPU KV cache size: 110,000 tokens` with `Maximum concurrency for 4,096 tokens per request: 26.86x` in the same line or
/// the next; SGLang's `max_total_num_tokens=110000`.
fn size_in_line(line: &str) -> EnginePoolSize {
    let after = |mark: &str| count_after(line, mark);
    EnginePoolSize {
        stated: after("GPU KV cache size: ")
            .or_else(|| after("max_total_num_tokens="))
            .or_else(|| after("full_layer_tokens="))
            .or_else(|| after("CPU KV cache size: ")),
        tokens_from_blocks: None,
        concurrency: concurrency(line),
    }
}

/// Tokens of a request, and how many such requests fit.
fn concurrency(line: &str) -> Option<(u64, f64)> {
    let (tokens, rest) =
        line.split_once("Maximum concurrency for ")?.1.split_once(" tokens per request: ")?;
    let requests = rest.split_once('x')?.0.trim().parse().ok()?;
    Some((number(tokens).filter(|&tokens| tokens > 0)?, requests))
}

/// Parses the number at the start of a text, with or without commas in it.
pub(super) fn number(text: &str) -> Option<u64> {
    let grouped = |c: &char| c.is_ascii_digit() || *c == ',';
    let digits: String = text.chars().take_while(grouped).filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(log: &str) -> PoolSize {
        size_in_log(log.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_log_tells_in_its_old_and_its_new_way_and_the_last_start_counts() {
        let new = "INFO 05-01 [kv_cache_utils.py:634] GPU KV cache size: 110,000 tokens\n";
        let old = "INFO 01-01 executor.py: # GPU blocks: 6875, # CPU blocks: 512\n";
        let between = "INFO [executor_base.py] # cuda blocks: 2300, # CPU blocks: 512\n";
        // The CPU backend (real-trial F5), and SGLang's scheduler.
        let cpu = "INFO [kv_cache_utils.py] CPU KV cache size: 4,194,304 tokens\n";
        let sglang = "[2025-09-01 10:00:00 TP0] max_total_num_tokens=424000, chunked_prefill_size=8192\n";
        let cases = [(new, 110_000), (old, 110_000), (between, 36_800), (cpu, 4_194_304), (sglang, 424_000)];
        for (log, tokens) in cases {
            assert_eq!(size(log).tokens, tokens);
            let assumed = usize::from(log.contains("blocks: "));
            assert_eq!(size(log).notes.len(), assumed, "{log}");
        }
        assert_eq!(size(&format!("{old}noise\n{between}")).tokens, 36_800);
        assert_eq!(
            size_in_log(&b"\xff\xfe nothing here\nGPU KV cache size: many tokens\n"[..]).unwrap(),
            None
        );
    }

    #[test]
    fn blocks_have_the_size_that_the_same_start_states() {
        let blocks = "INFO 07-01 10:00:10 gpu_executor.py:102] # GPU blocks: 2000, # CPU blocks: 512\n";
        let starts = [
            "INFO api_server.py:213] args: Namespace(host=None, port=8000, model='m', block_size=32, max_num_seqs=256)",
            "INFO [utils.py:233] non-default args: {'model': 'm', 'block_size': 32}",
            "INFO llm_engine.py:174] Initializing an LLM engine (v0.5.4) with config: model='m', block_size=32, seed=0)",
            "INFO [x.py:1] vllm_config: VllmConfig(model_config=ModelConfig(a=1), cache_config=CacheConfig(cache_dtype='auto', block_size=32), x=1)",
        ];
        for start in starts {
            for log in [format!("{start}\n{blocks}"), format!("{blocks}{start}\n")] {
                assert_eq!((size(&log).tokens, size(&log).notes), (64_000, Vec::new()), "{log}");
            }
        }
        let unset = format!("INFO args: Namespace(model='m', block_size=None)\n{blocks}");
        for log in
            [blocks.to_owned(), unset, format!("{}\nINFO vLLM API server version 0.5.4\n{blocks}", starts[0])]
        {
            let size = size(&log);
            assert_eq!(size.tokens, 32_000, "{log}");
            assert!(
                size.notes[0].contains("each of the 2000 blocks is assumed to have 16 tokens"),
                "{:?}",
                size.notes
            );
        }
        // An engine that states its size needs no block size.
        let stated = size(&format!("{blocks}INFO GPU KV cache size: 64,000 tokens\n"));
        assert_eq!((stated.tokens, stated.notes), (64_000, Vec::new()));
    }

    #[test]
    fn the_pool_of_a_sliding_window_is_noted() {
        let pools = "[2025-09-01 10:00:00 TP0] Use Sliding window memory pool. full_layer_tokens=100000, swa_layer_tokens=20000\n";
        let total = "[2025-09-01 10:00:01 TP0] max_total_num_tokens=100000, chunked_prefill_size=8192\n";
        for log in [pools.to_owned(), format!("{pools}{total}")] {
            let size = size(&log);
            assert_eq!(size.tokens, 100_000);
            assert!(size.notes[0].contains("of 20000 tokens (swa_layer_tokens)"), "{:?}", size.notes);
        }
    }

    #[test]
    fn engines_of_one_server_add_up_and_restarts_replace() {
        let engine = |name: &str, tokens: &str| {
            format!("({name} pid=7) INFO [kv_cache_utils.py:1087] GPU KV cache size: {tokens} tokens\n")
        };
        // Tags of vLLM 0.10 (`EngineCore_0`) and later (`EngineCore_DP0`); of SGLang (`DP0 TP0`), whose ranks repeat
        // it.
        let two = engine("EngineCore_DP0", "100,000") + &engine("EngineCore_DP1", "90,000");
        let older = engine("EngineCore_0", "110,000") + &engine("EngineCore_1", "110,000");
        let again =
            format!("{two}INFO vLLM API server version 0.11.0\n{}", engine("EngineCore_DP0", "50,000"));
        let sglang: String = ["DP0 TP0", "DP0 TP1", "DP1 TP2", "DP1 TP3"]
            .map(|rank| format!("[2025-09-01 10:00:00 {rank}] max_total_num_tokens=424000, x=1\n"))
            .concat();
        let replaced = engine("EngineCore", "70,000") + &engine("EngineCore", "60,000");
        let cases =
            [(two, 190_000), (older, 220_000), (again, 50_000), (sglang, 848_000), (replaced, 60_000)];
        for (log, tokens) in cases {
            assert_eq!(size(&log).tokens, tokens, "{log}");
        }
    }

    #[test]
    fn a_concurrency_that_contradicts_the_size_is_told_with_both_figures() {
        let log = |tokens: &str, length: &str, times: &str| {
            format!(
                "INFO GPU KV cache size: {tokens} tokens\nINFO Maximum concurrency for {length} tokens per request: {times}x\n"
            )
        };
        // B04; 60,000 tokens beside 2.71 requests of 131,072; and published starts of hybrid models, where the log
        // of the time counted each group of layers (kv-pools.md: Qwen3.5-9B, Kimi-Linear, a Nemotron-H).
        let cases = [
            ("290,864", "32,768", "33.04", 290_864, "1082655", "3.7"),
            ("60,000", "131,072", "2.71", 60_000, "355205", "5.9"),
            ("165,792", "262,144", "2.52", 165_792, "660603", "4.0"),
            ("75,840", "120,000", "2.48", 75_840, "297600", "3.9"),
            ("208,320", "8,192", "98.20", 208_320, "804454", "3.9"),
        ];
        for (tokens, length, times, least, other, factor) in cases {
            let size = size(&log(tokens, length, times));
            assert_eq!(size.tokens, least);
            let note = &size.notes[0];
            assert!(
                note.contains(other) && note.contains(&format!("they differ by a factor of {factor}")),
                "{note}"
            );
        }
        for (tokens, length, times) in
            [("460,496", "131,072", "3.51"), ("62,608", "1,024", "61.14"), ("130,960", "98,304", "1.33")]
        {
            assert_eq!(size(&log(tokens, length, times)).notes, Vec::<String>::new());
        }
        // Since v0.21 in one line.
        let merged = "INFO GPU KV cache size: 60,000 tokens, Maximum concurrency for 131,072 tokens per request: 2.71x\n";
        assert_eq!(size(merged).notes.len(), 1);
    }
}
