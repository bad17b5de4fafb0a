//! Where the processes of a launcher meet, as far as the launcher's environment says.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::launcher::{Launcher, MPICH_LOCAL_COUNT};

/// The port of shard 0 where nothing else names one.
pub(crate) const PORT: u16 = 7707;

/// The ports of shard 0 in a job: from this one on, by the numbers of job and step. They are below those that systems
/// give to outgoing connections.
const FIRST_JOB_PORT: u16 = 20_000;

/// The number of ports for jobs.
const JOB_PORTS: u64 = 10_000;

/// Where the clients of a run meet, and the token that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendezvous {
    /// Host and port of shard 0.
    pub address: String,
    /// A token that all processes of the job can compute. It keeps other runs from joining by mistake, and is no
    /// secret.
    pub token: Option<String>,
}

/// Where the processes of a launcher meet; `None` if its environment does not say so.
///
/// # Errors
/// If a variable of the launcher cannot be understood, in a sentence.
pub(crate) fn launcher_rendezvous(
    launcher: Launcher,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Rendezvous>, String> {
    let on_this_host = |port: u16| Rendezvous { address: format!("127.0.0.1:{port}"), token: None };
    let are_equal = |one, other| variable(one).is_some_and(|one| Some(one) == variable(other));
    match launcher {
        // The name of the Job's service is not in the environment.
        Launcher::Kubernetes => Ok(None),
        Launcher::Slurm => slurm(variable),
        Launcher::OpenMpi => {
            let job = variable("PMIX_NAMESPACE").unwrap_or_default();
            let is_one_host = are_equal("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_SIZE");
            Ok(is_one_host.then(|| on_this_host(job_port(&[&job]))))
        }
        Launcher::Mpich => Ok(are_equal(MPICH_LOCAL_COUNT, "PMI_SIZE").then(|| on_this_host(PORT))),
    }
}

/// The first node of a step, where its first task runs, at a port of the step.
fn slurm(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Rendezvous>, String> {
    let nodes = ["SLURM_STEP_NODELIST", "SLURM_NODELIST"];
    let Some((name, nodes)) = nodes.iter().find_map(|name| Some((name, variable(name)?))) else {
        return Ok(None);
    };
    let host =
        first_host(&nodes).ok_or_else(|| format!("{name} is `{nodes}`, which is not a list of nodes"))?;
    let value = |name: &str| variable(name).unwrap_or_default();
    let step = [value("SLURM_JOB_ID"), value("SLURM_STEP_ID")];
    let step: Vec<&str> = step.iter().map(String::as_str).collect();
    // The port at which srun listens for its tasks differs between two jobs of one number in two clusters.
    let known_to_the_step = [value("SLURM_JOB_UID"), value("SLURM_SRUN_COMM_PORT")];
    let known_to_the_step: Vec<&str> = known_to_the_step.iter().map(String::as_str).collect();
    let token =
        digest(&[&step[..], &known_to_the_step].concat()).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    Ok(Some(Rendezvous { address: format!("{host}:{}", job_port(&step)), token: Some(token) }))
}

/// The port of shard 0 in a job, or a step of one, with these numbers.
fn job_port(numbers: &[&str]) -> u16 {
    let digest = digest(numbers);
    let number = u64::from_be_bytes(std::array::from_fn(|at| digest[at]));
    FIRST_JOB_PORT + u16::try_from(number % JOB_PORTS).unwrap_or_default()
}

fn digest(words: &[&str]) -> [u8; 32] {
    Sha256::digest(words.join("\n")).into()
}

/// The first host of a list in Slurm's form, such as `node[01-03,7]-x[1-2],login`; `None` for anything else.
fn first_host(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list.trim();
    loop {
        let end = rest.find([',', '[', ']']).unwrap_or(rest.len());
        host.push_str(&rest[..end]);
        match rest[end..].chars().next() {
            None | Some(',') => break,
            Some('[') => {
                let (numbers, after) = rest[end + 1..].split_once(']')?;
                let first = numbers.split([',', '-']).next()?;
                let is_number =
                    |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
                if !numbers.split([',', '-']).all(is_number) {
                    return None;
                }
                host.push_str(first);
                rest = after;
            }
            Some(_) => return None,
        }
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    Some(host).filter(|host| !host.is_empty() && host.chars().all(is_name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meet(launcher: Launcher, variables: &[(&str, &str)]) -> Result<Option<Rendezvous>, String> {
        launcher_rendezvous(launcher, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_first_node_of_a_list_is_read_as_slurm_writes_it() {
        let cases = [
            ("n1", "n1"),
            ("n1,n2", "n1"),
            ("n[1-4]", "n1"),
            ("node[1-3,7]-x[01-02]", "node1-x01"),
            ("gpu[007,009-012],login", "gpu007"),
            ("rack2-[10-12].example.org", "rack2-10.example.org"),
            ("login,n[1-4]", "login"),
        ];
        for (list, first) in cases {
            assert_eq!(first_host(list).as_deref(), Some(first), "{list}");
        }
        for wrong in ["", ",", "[", "n[", "n[]", "n[1", "n]1", "n[a-b]", "n[1-]", "n[[1]]", "a b", "$(x)"] {
            assert_eq!(first_host(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_first_of_numbered_nodes_keeps_its_zeros(
            name in "[a-z]{1,6}-?", first in 0..900_u32, more in 1..99_u32, width in 1..6_usize, tail in "(,[a-z]{1,4})?",
        ) {
            let number = |number: u32| format!("{number:0width$}");
            let list = format!("{name}[{}-{}]{tail}", number(first), number(first + more));
            prop_assert_eq!(first_host(&list), Some(format!("{name}{}", number(first))));
            let list = format!("{name}[{},{}-{}]{tail}", number(first), number(first + 2), number(first + 2 + more));
            prop_assert_eq!(first_host(&list), Some(format!("{name}{}", number(first))));
        }

        #[test]
        fn any_text_is_a_list_or_none(list in "[a-z0-9,\\[\\]\\- ]{0,24}") {
            if let Some(host) = first_host(&list) {
                prop_assert!(!host.contains([',', '[', ']', ' ']) && !host.is_empty(), "{}", host);
            }
        }
    }

    #[test]
    fn tasks_of_a_slurm_step_compute_one_address_and_one_token() {
        let step = [
            ("SLURM_STEP_NODELIST", "n[2-4]"),
            ("SLURM_NODELIST", "n[1-4]"),
            ("SLURM_JOB_ID", "17"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_SRUN_COMM_PORT", "33917"),
        ];
        let first = meet(Launcher::Slurm, &[&step[..], &[("SLURM_PROCID", "0")]].concat()).unwrap().unwrap();
        let other = meet(Launcher::Slurm, &[&step[..], &[("SLURM_PROCID", "5")]].concat()).unwrap().unwrap();
        assert_eq!(first, other);
        let (host, port) = first.address.split_once(':').unwrap();
        assert_eq!(host, "n2", "the step's first node, not the job's");
        assert!((20_000..30_000).contains(&port.parse::<u32>().unwrap()), "{port}");
        assert_eq!(first.token.as_ref().unwrap().len(), 64);
        let next_step = [&[("SLURM_STEP_ID", "1")], &step[..]].concat();
        let next = meet(Launcher::Slurm, &next_step).unwrap().unwrap();
        assert!(next.token != first.token && next.address != first.address);
        assert!(
            meet(Launcher::Slurm, &[("SLURM_NODELIST", "n[")])
                .unwrap_err()
                .contains("SLURM_NODELIST is `n[`")
        );
        assert_eq!(meet(Launcher::Slurm, &[]), Ok(None));
    }

    #[test]
    fn mpi_processes_on_one_host_meet_there() {
        let here = |launcher, variables: &[_]| meet(launcher, variables).unwrap().map(|meet| meet.address);
        let open = |local| [("OMPI_COMM_WORLD_LOCAL_SIZE", local), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert!(here(Launcher::OpenMpi, &open("4")).unwrap().starts_with("127.0.0.1:2"));
        assert_eq!(here(Launcher::OpenMpi, &open("2")), None, "several hosts");
        let mpich = |local| [("MPI_LOCALNRANKS", local), ("PMI_SIZE", "4")];
        assert_eq!(here(Launcher::Mpich, &mpich("4")).unwrap(), "127.0.0.1:7707");
        assert_eq!(here(Launcher::Mpich, &mpich("2")), None, "several hosts");
        assert_eq!(here(Launcher::Kubernetes, &[]), None);
    }
}
