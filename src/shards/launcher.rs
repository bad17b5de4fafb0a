//! Finds this process's shard in what a launcher sets in its environment.

use std::num::NonZeroUsize;

use super::variables;
use crate::model::shard::Shard;

/// The variables of the launchers: the index of a process, and the number of processes.
const LAUNCHERS: [(&str, &str, &str); 4] = [
    ("a Kubernetes Indexed Job", "JOB_COMPLETION_INDEX", variables::COUNT),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPICH", "PMI_RANK", "PMI_SIZE"),
];

/// The shard that a launcher gives this process, and the launcher's name; `None` without a launcher.
///
/// # Errors
/// If the variables of a launcher are not those of a shard, in a sentence.
pub(crate) fn launcher_shard(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<(Shard, &'static str)>, String> {
    for (launcher, index_name, count_name) in LAUNCHERS {
        let Some(index) = variable(index_name) else { continue };
        let count = variable(count_name)
            .ok_or_else(|| format!("{index_name} is set, as {launcher} does, but {count_name} is not"))?;
        let number = |name: &str, text: &str| {
            text.trim().parse::<usize>().map_err(|_| format!("{name} is `{text}`, which is not a number"))
        };
        let (index, count) = (number(index_name, &index)?, number(count_name, &count)?);
        // A Slurm allocation without `srun` is one task.
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
            (&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")], "Slurm: 0/8"),
            (&[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")], "Open MPI: 1/2"),
            (&[("PMI_RANK", "1"), ("PMI_SIZE", "2")], "MPICH: 1/2"),
        ];
        for (variables, expected) in cases {
            assert_eq!(shard(variables).unwrap().unwrap(), expected);
        }
    }

    #[test]
    fn an_ordinary_process_has_no_shard_and_a_broken_environment_is_named() {
        assert_eq!(shard(&[]), Ok(None));
        assert_eq!(shard(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")]), Ok(None), "a batch script");
        assert!(shard(&[("JOB_COMPLETION_INDEX", "1")]).unwrap_err().contains("SERVEGAUGE_SHARDS is not"));
        assert!(shard(&[("PMI_RANK", "x"), ("PMI_SIZE", "2")]).unwrap_err().contains("PMI_RANK"));
        assert!(shard(&[("PMI_RANK", "5"), ("PMI_SIZE", "2")]).unwrap_err().contains("2 processes"));
    }
}
