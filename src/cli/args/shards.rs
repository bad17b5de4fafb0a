//! Flags of a run that several clients send.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::args::values;
use crate::model::shard::Shard;

/// The shard of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardChoice {
    /// The shard with this index.
    Given(Shard),
    /// The shard that the launcher of the process sets in its environment.
    Auto,
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Given) }
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Several clients")]
pub(crate) struct ShardArgs {
    /// Send one share of a run that several clients send: INDEX/COUNT, or auto
    ///
    /// All clients get the same flags. 0/4 is the first of four: it listens at --rendezvous and reports the whole run.
    /// `auto` takes the index and the count from Slurm, a Kubernetes Indexed Job, or MPI. The clients share a secret in
    /// SERVEGAUGE_SHARD_TOKEN, which is required unless they are all on this machine.
    #[arg(long, value_name = "INDEX/COUNT")]
    pub shard: Option<ShardChoice>,
    /// Send the run from N processes on this machine
    #[arg(long, value_name = "N", value_parser = values::threads)]
    pub local_shards: Option<NonZeroUsize>,
    /// Address at which shard 0 listens and the others join it
    ///
    /// If HOST is a name, shard 0 listens at all of its addresses. With `--shard auto`, Slurm's step gives the address:
    /// its first node, and a port from 20000 to 29999 by its number.
    #[arg(long, value_name = "HOST:PORT")]
    pub rendezvous: Option<String>,
    /// Write each client's record log to this folder or bucket too, while the run goes on
    ///
    /// file:///DIR, or s3://, gs:// and az:// with a bucket and a prefix; a program that you compile has these with
    /// `cargo install servegauge --features object-store`. A client that is killed loses at most five seconds.
    /// `servegauge merge URL` makes the result.
    #[arg(long, value_name = "URL")]
    pub records_to: Option<String>,
    /// How long a shard waits for the others to be ready
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = values::seconds)]
    pub shard_timeout: Duration,
}
