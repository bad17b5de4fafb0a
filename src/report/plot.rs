//! Plots of a run, each written to its own file beside the result.

pub(crate) mod lengths;
pub(crate) mod timeline;
