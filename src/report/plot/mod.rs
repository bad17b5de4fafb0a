//! Pictures of a run that are files of their own, written beside the result.

pub mod lengths;
pub mod timeline;
