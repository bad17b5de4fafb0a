//! Finds this process's shard in what a launcher sets in its environment.

use std::fmt;
use std::num::NonZeroUsize;

use super::variables;
use crate::model::shard::Shard;

/// What starts the processes of a run on several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launcher {
    /// An Indexed Job of Kubernetes.
    Kubernetes,
    /// Open MPI's mpirun.
    OpenMpi,
    /// Slurm's srun.
    Slurm,
    /// MPICH's mpiexec, and others that speak its process management interface.
    Mpich,
}

/// The launchers with their variables: the index of a process, and the number of processes. Within a Slurm job, mpirun
/// leaves Slurm's variables of its own process to all of its processes, so its own come first.
const VARIABLES: [(Launcher, &str, &str); 4] = [
    (Launcher::Kubernetes, "JOB_COMPLETION_INDEX", variables::COUNT),
    (Launcher::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    (Launcher::Slurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    (Launcher::Mpich, "PMI_RANK", "PMI_SIZE"),
];

/// Set by MPICH's mpiexec, and not by Slurm's srun, which sets the other variables of MPICH too: the number of
/// processes on this host.
pub(super) const MPICH_LOCAL_COUNT: &str = "MPI_LOCALNRANKS";

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubernetes => "a Kubernetes Indexed Job",
            Self::OpenMpi => "Open MPI",
            Self::Slurm => "Slurm",
            Self::Mpich => "MPICH",
        })
    }
}

/// The shard that a launcher gives this process, and the launcher; `None` without a launcher.
///
/// # Errors
/// If the variables of a launcher are not those of a shard, in a sentence.
pub(crate) fn launcher_shard(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<(Shard, Launcher)>, String> {
    for (launcher, index_name, count_name) in VARIABLES {
        let Some(index) = variable(index_name) else { continue };
        let count = match (launcher, variable(count_name)) {
            (_, Some(count)) => count,
            // A batch script is no task of a step.
            (Launcher::Slurm, None) => continue,
            (_, None) => {
                return Err(format!("{index_name} is set, as {launcher} does, but {count_name} is not"));
            }
        };
        if launcher == Launcher::Slurm && variable(MPICH_LOCAL_COUNT).is_some() {
            continue;
        }
        let number = |name: &str, text: &str| {
            text.trim().parse::<usize>().map_err(|_| format!("{name} is `{text}`, which is not a number"))
        };
        let (index, count) = (number(index_name, &index)?, number(count_name, &count)?);
        // A single process is a whole run.
        let Some(count) = NonZeroUsize::new(count).filter(|count| count.get() > 1) else { continue };
        let shard = Shard::new(index, count);
        let wrong = || format!("{index_name} is {index}, but there are {count} processes by {count_name}");
        return shard.map(|shard| Some((shard, launcher))).ok_or_else(wrong);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        launcher_shard(variable).map(|shard| shard.map(|(shard, launcher)| format!("{launcher}: {shard}")))
    }

    #[test]
    fn each_launcher_names_the_shard() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("JOB_COMPLETION_INDEX", "3"), ("SERVEGAUGE_SHARDS", "4")], "a Kubernetes Indexed Job: 3/4"),
            (&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "8"), ("SLURM_NTASKS", "8")], "Slurm: 0/8"),
            (&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")], "Open MPI: 1/2"),
            (&[("PMI_RANK", "1"), ("PMI_SIZE", "2"), ("MPI_LOCALNRANKS", "2")], "MPICH: 1/2"),
        ];
        for (variables, expected) in cases {
            assert_eq!(shard(variables).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn mpirun_within_a_slurm_job_counts_its_own_processes() {
        let slurm = [("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_NTASKS", "2")];
        let with = |more: &[(&'static str, &'static str)]| shard(&[&slurm, more].concat()).unwrap().unwrap();
        assert_eq!(with(&[("OMPI_COMM_WORLD_RANK", "3"), ("OMPI_COMM_WORLD_SIZE", "4")]), "Open MPI: 3/4");
        let mpich = [("PMI_RANK", "3"), ("PMI_SIZE", "4")];
        assert_eq!(with(&[&mpich[..], &[("MPI_LOCALNRANKS", "4")]].concat()), "MPICH: 3/4");
        // `srun --mpi=pmi2` sets MPICH's variables.
        assert_eq!(with(&[("PMI_RANK", "0"), ("PMI_SIZE", "2")]), "Slurm: 0/2");
    }

    #[test]
    fn an_ordinary_process_has_no_shard_and_a_broken_environment_is_named() {
        assert_eq!(shard(&[]), Ok(None));
        let batch_script = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")];
        assert_eq!(shard(&batch_script), Ok(None), "a batch script of a job with eight tasks");
        assert_eq!(shard(&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "1")]), Ok(None), "one task");
        assert!(shard(&[("JOB_COMPLETION_INDEX", "1")]).unwrap_err().contains("SERVEGAUGE_SHARDS is not"));
        assert!(shard(&[("PMI_RANK", "x"), ("PMI_SIZE", "2")]).unwrap_err().contains("PMI_RANK"));
        assert!(shard(&[("PMI_RANK", "5"), ("PMI_SIZE", "2")]).unwrap_err().contains("2 processes"));
    }
}
