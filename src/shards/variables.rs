//! The environment variables of a run from several processes. Each flag has a variable too; these are no flags.

/// The secret that the clients share.
pub(crate) const TOKEN: &str = "SERVEGAUGE_SHARD_TOKEN";

/// The number of processes of a Kubernetes Indexed Job.
pub(crate) const COUNT: &str = "SERVEGAUGE_SHARDS";
