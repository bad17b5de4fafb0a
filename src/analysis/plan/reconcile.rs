//! Compares what several sources state about one server: a model's config, a start-up log, a metrics page.
//!
//! Each contradiction is reported with both sources. A value that a server measured has precedence over one calculated
//! from a config.

use super::model::ModelArchitecture;
use super::pool::KvPool;
use crate::server::kv_pool::ServerFacts;

/// A source, and the facts that it states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// The source's file or URL.
    pub name: String,
    /// Whether the server itself reports the facts, rather than a calculation.
    pub is_measured: bool,
    /// The stated facts.
    pub facts: ServerFacts,
}

/// Returns the facts that a server should report, according to a model's config and its pool on some GPUs.
pub(crate) fn expected(model: &ModelArchitecture, pool: &KvPool) -> ServerFacts {
    let weights = pool.memory.iter().find(|line| line.what == "weights");
    // For sequences with states, the server's token count depends on the length of the sequences.
    let tokens = pool.printed_tokens.or_else(|| pool.tokens()).filter(|_| pool.cost.state == 0.0);
    ServerFacts {
        weights: weights.map(|line| line.bytes),
        pool_bytes: Some(pool.capacity),
        pool_tokens: tokens,
        max_model_len: model.max_model_len(),
        dtype: model.dtype().map(str::to_owned),
        ..ServerFacts::default()
    }
}

/// The tolerance for weights: a config gives them within 1 %, but loaded weights also contain buffers.
const WEIGHTS: f64 = 0.05;

/// The tolerance for rounding: logs round sizes to a hundredth of a GiB, and tokens to blocks.
const ROUNDING: f64 = 0.02;

/// The tolerance for a calculated pool, which is within 10 % in four of five published starts (docs/capacity.md).
const ESTIMATE: f64 = 0.15;

/// A number that a source may state, and its tolerance.
struct Quantity {
    what: &'static str,
    value: fn(&ServerFacts) -> Option<f64>,
    unit: Unit,
    /// The tolerance, as a share of the first source's value, where one of the two values is not measured.
    tolerance: f64,
}

/// How a number is formatted.
#[derive(Clone, Copy)]
enum Unit {
    Gigabytes,
    Bytes,
    Tokens,
    Plain,
}

const QUANTITIES: [Quantity; 6] = [
    Quantity {
        what: "weights per GPU",
        value: |facts| facts.weights.map(|bytes| bytes as f64),
        unit: Unit::Gigabytes,
        tolerance: WEIGHTS,
    },
    Quantity {
        what: "KV bytes per token per GPU",
        value: ServerFacts::token_bytes,
        unit: Unit::Bytes,
        tolerance: ROUNDING,
    },
    Quantity {
        what: "KV pool",
        value: |facts| facts.pool_tokens.map(|tokens| tokens as f64),
        unit: Unit::Tokens,
        tolerance: ESTIMATE,
    },
    Quantity {
        what: "block size",
        value: |facts| facts.block_size.map(|tokens| tokens as f64),
        unit: Unit::Tokens,
        tolerance: 0.0,
    },
    Quantity {
        what: "tensor parallel size",
        value: |facts| facts.tp.map(|gpus| gpus as f64),
        unit: Unit::Plain,
        tolerance: 0.0,
    },
    Quantity {
        what: "GPU memory utilization",
        value: |facts| facts.utilization,
        unit: Unit::Plain,
        tolerance: 1e-6,
    },
];

/// Returns one line for each contradiction. `sources` are in order of precedence: of two contradictory values, the
/// first one is used.
pub(crate) fn contradictions(sources: &[Source]) -> Vec<String> {
    let numbers = QUANTITIES.iter().flat_map(|quantity| {
        pairs(sources, quantity.value).filter_map(|(first, value, other, another)| {
            let apart = another / value - 1.0;
            let tolerance = match first.is_measured && other.is_measured {
                true => quantity.tolerance.min(ROUNDING),
                false => quantity.tolerance,
            };
            let shown = (quantity.unit.shown(value), quantity.unit.shown(another));
            let is_size = quantity.tolerance > 1e-3;
            let apart_by = if is_size { format!(" ({:+.0} %)", apart * 100.0) } else { String::new() };
            (apart.abs() > tolerance)
                .then(|| line(quantity.what, (first, &shown.0), (other, &shown.1), &apart_by))
        })
    });
    let longest = pairs(sources, |facts| facts.max_model_len);
    // A server may be configured for shorter requests than its model supports.
    let longest = longest.filter(|(first, value, other, another)| {
        if first.is_measured && !other.is_measured { value > another } else { value != another }
    });
    let longest = longest.map(|(first, value, other, another)| {
        let shown = (format!("{value} tokens"), format!("{another} tokens"));
        line("max model length", (first, &shown.0), (other, &shown.1), "")
    });
    let types = [
        types(sources, "model dtype", |facts| facts.dtype.as_deref()),
        types(sources, "KV cache dtype", |facts| facts.kv_dtype.as_deref()),
    ];
    numbers.chain(longest).chain(types.into_iter().flatten()).collect()
}

fn types(sources: &[Source], what: &str, kind: fn(&ServerFacts) -> Option<&str>) -> Vec<String> {
    let pairs = pairs(sources, kind).filter(|(_, kind, _, other)| canonical(kind) != canonical(other));
    pairs.map(|(first, kind, other, another)| line(what, (first, kind), (other, another), "")).collect()
}

/// The usual name of a type.
fn canonical(kind: &str) -> &str {
    match kind {
        "half" | "fp16" => "float16",
        "bf16" => "bfloat16",
        "float" | "fp32" => "float32",
        "fp8_e4m3" | "float8_e4m3fn" => "fp8",
        other => other,
    }
}

/// Pairs the first source that states a value with each later source that does.
fn pairs<'s, T: Copy + 's>(
    sources: &'s [Source],
    value: impl Fn(&'s ServerFacts) -> Option<T>,
) -> impl Iterator<Item = (&'s Source, T, &'s Source, T)> {
    let mut given = sources.iter().filter_map(move |source| Some((source, value(&source.facts)?)));
    let first = given.next();
    given.filter_map(move |(other, another)| first.map(|(source, value)| (source, value, other, another)))
}

fn line(
    what: &str,
    (first, value): (&Source, &str),
    (other, another): (&Source, &str),
    apart: &str,
) -> String {
    format!("{what}: {} has {value}, {} {another}{apart}; {} is used", first.name, other.name, first.name)
}

impl Unit {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Gigabytes => format!("{:.2} GB", value / 1e9),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Tokens => format!("{value:.0} tokens"),
            Self::Plain => format!("{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            weights: Some(16_000_000_000),
            pool_bytes: Some(60_000_000_000),
            pool_tokens: Some(460_000),
            block_size: Some(16),
            max_model_len: Some(131_072),
            dtype: Some("bfloat16".into()),
            kv_dtype: Some("fp8".into()),
            tp: Some(1),
            utilization: Some(0.9),
            ..ServerFacts::default()
        }
    }

    fn told(log: ServerFacts, config: ServerFacts) -> Vec<String> {
        let source = |name: &str, is_measured, facts| Source { name: name.into(), is_measured, facts };
        contradictions(&[source("the.log", true, log), source("config.json", false, config)])
    }

    /// Changes one fact.
    type Change = fn(&mut ServerFacts);

    #[test]
    fn each_contradiction_names_both_sources_and_the_one_that_is_used() {
        let cases: [(Change, &str); 9] = [
            (
                |facts| facts.weights = Some(9_000_000_000),
                "weights per GPU: the.log has 16.00 GB, config.json 9.00 GB (-44 %)",
            ),
            (
                |facts| facts.pool_bytes = Some(30_000_000_000),
                "KV bytes per token per GPU: the.log has 130435 bytes, config.json 65217 bytes (-50 %)",
            ),
            (
                |facts| (facts.pool_tokens, facts.pool_bytes) = (Some(300_000), None),
                "KV pool: the.log has 460000 tokens, config.json 300000 tokens (-35 %)",
            ),
            (|facts| facts.block_size = Some(32), "block size: the.log has 16 tokens, config.json 32 tokens"),
            (
                |facts| facts.max_model_len = Some(8192),
                "max model length: the.log has 131072 tokens, config.json 8192 tokens",
            ),
            (
                |facts| facts.dtype = Some("float16".into()),
                "model dtype: the.log has bfloat16, config.json float16",
            ),
            (
                |facts| facts.kv_dtype = Some("fp8_e5m2".into()),
                "KV cache dtype: the.log has fp8, config.json fp8_e5m2",
            ),
            (|facts| facts.tp = Some(2), "tensor parallel size: the.log has 1, config.json 2"),
            (
                |facts| facts.utilization = Some(0.95),
                "GPU memory utilization: the.log has 0.9, config.json 0.95",
            ),
        ];
        for (change, expected) in cases {
            let mut config = facts();
            change(&mut config);
            let lines = told(facts(), config);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].starts_with(expected) && lines[0].ends_with("; the.log is used"), "{lines:?}");
        }
    }

    #[test]
    fn what_agrees_within_rounding_and_estimates_is_no_contradiction() {
        assert_eq!(told(facts(), facts()), Vec::<String>::new());
        let config = ServerFacts {
            weights: Some(16_500_000_000),
            pool_bytes: Some(66_000_000_000),
            pool_tokens: Some(506_000),
            kv_dtype: Some("fp8_e4m3".into()),
            ..facts()
        };
        assert_eq!(told(facts(), config), Vec::<String>::new());
        let shorter = ServerFacts { max_model_len: Some(32_768), ..facts() };
        assert_eq!(told(shorter, facts()), Vec::<String>::new(), "--max-model-len of the operator");
        assert_eq!(told(ServerFacts::default(), facts()), Vec::<String>::new());
    }

    /// The reports of two servers are compared without an estimate's tolerance.
    #[test]
    fn a_page_and_a_log_that_differ_are_of_different_starts() {
        let source = |name: &str, tokens| Source {
            name: name.into(),
            is_measured: true,
            facts: ServerFacts { pool_tokens: Some(tokens), ..ServerFacts::default() },
        };
        let lines = contradictions(&[source("http://s/metrics", 400_000), source("the.log", 440_000)]);
        assert_eq!(
            lines,
            [
                "KV pool: http://s/metrics has 400000 tokens, the.log 440000 tokens (+10 %); http://s/metrics is used"
            ]
        );
    }
}
