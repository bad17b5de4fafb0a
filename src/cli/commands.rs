//! One module per subcommand: parse, call the library, render, choose the exit code.

pub(super) mod ab;
pub(super) mod audit;
pub(super) mod calibrate;
pub(super) mod compare;
pub(super) mod completions;
pub(super) mod dashboard;
pub(super) mod dataset;
pub(super) mod diagnose;
pub(super) mod gate;
pub(super) mod launch;
pub(super) mod logs;
pub(super) mod man;
pub(super) mod merge;
pub(super) mod plan;
pub(super) mod predict;
pub(super) mod quick;
pub(super) mod report;
pub(super) mod run;
pub(super) mod runs;
pub(super) mod search;
pub(super) mod sim;
pub(super) mod sweep;
pub(super) mod watch;
