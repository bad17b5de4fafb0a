//! Where the clients of a run meet, from the flags, the environment, or the launcher.

use crate::cli::args::{ShardArgs, ShardChoice};
use crate::cli::exit::CliError;
use crate::shards::variables::TOKEN;
use crate::shards::{Launcher, Rendezvous, launcher_rendezvous, launcher_shard};

/// The address at which shard 0 listens and the others join it, and their token.
pub(super) fn rendezvous(flags: &ShardArgs) -> Result<Rendezvous, CliError> {
    let from_launcher = match (&flags.rendezvous, flags.local_shards) {
        (None, None) => Some(launchers(flags.shard)?),
        _ => None,
    };
    let address = match (&flags.rendezvous, &from_launcher) {
        (Some(address), _) => address.host_port.clone(),
        (None, Some(rendezvous)) => rendezvous.address.clone(),
        (None, None) => "127.0.0.1:0".to_owned(),
    };
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
    Ok(Rendezvous { address, token: token.or(from_launcher.and_then(|rendezvous| rendezvous.token)) })
}

/// Where the launcher's processes meet, for `--shard auto`.
fn launchers(shard: Option<ShardChoice>) -> Result<Rendezvous, CliError> {
    const NEEDED: &str =
        "--shard needs --rendezvous HOST:PORT: the address of shard 0, the same for all shards";
    let variable = |name: &str| std::env::var(name).ok();
    let launcher = match shard {
        Some(ShardChoice::Auto) => launcher_shard(variable).map_err(CliError::usage)?,
        _ => None,
    };
    let Some((_, launcher)) = launcher else { return Err(CliError::usage(NEEDED)) };
    launcher_rendezvous(launcher, variable).map_err(CliError::usage)?.ok_or_else(|| {
        CliError::usage(match launcher {
            Launcher::Kubernetes => format!(
                "{NEEDED}; in a Job it is the name of the pod with index 0, which `servegauge launch kubernetes` writes"
            ),
            Launcher::OpenMpi | Launcher::Mpich => {
                format!("{NEEDED}; {launcher} does not name the host of its first process to the others")
            }
            Launcher::Slurm => NEEDED.to_owned(),
        })
    })
}

/// Refuses an address that other hosts can reach, without a token.
pub(super) fn check_token(Rendezvous { address, token }: &Rendezvous) -> Result<(), CliError> {
    let is_local = ["127.", "localhost:", "[::1]:"].iter().any(|local| address.starts_with(local));
    match token.is_some() || is_local {
        true => Ok(()),
        false => Err(CliError::usage(format!(
            "--rendezvous {address} can be reached from other hosts: set {TOKEN} to a secret, the same for all shards"
        ))),
    }
}
