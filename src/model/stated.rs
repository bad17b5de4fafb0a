//! What a result file of a benchmark tool states: one neutral value for all tools, and a reader for each format.
//!
//! Figures are kept as stated, also where they are impossible: an audit must see them. What a file does not state is
//! absent. Units are converted to milliseconds and seconds, and names to ours: `inter_token_latency` of aiperf and
//! guidellm is TPOT.

mod aiperf;
mod bench_serve;
mod guidellm;
mod inference_perf;
mod json_object;
mod read;
mod result;
#[cfg(test)]
mod tests;

pub(crate) use read::{StatedError, read, recognize};
pub(crate) use result::{
    StatedLatency, StatedLoad, StatedPercentile, StatedRequest, StatedResult, StatedTokens, Tool,
};
