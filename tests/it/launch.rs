//! What `servegauge launch` prints.

use std::io::Write as _;
use std::process::{Command, Stdio};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service};
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::support::Program;

const RUN: &str = "-- run --base-url http://vllm:8000 --request-rate 100";

fn kubernetes(words: &str) -> Program {
    Program::new(&format!("launch kubernetes --shards 8 --image registry/servegauge:1 {words}"))
}

/// The JSON of a YAML value whose texts are quoted.
fn to_json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::Boolean(is_so)) => (*is_so).into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(map) => {
            map.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), to_json(value))).collect()
        }
        other => panic!("{other:?} is in no manifest"),
    }
}

/// Reads an object, and fails on a field that Kubernetes does not know.
fn strict<T: DeserializeOwned + Serialize>(json: &Value) -> T {
    let object: T = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), *json, "a field that Kubernetes does not know");
    object
}

fn objects(text: &str) -> (Option<Secret>, Service, Job) {
    let documents: Vec<Value> = Yaml::load_from_str(text).unwrap().iter().map(to_json).collect();
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == kind);
    assert!(documents.len() <= 3);
    let (service, job) = (of_kind("Service").unwrap(), of_kind("Job").unwrap());
    (of_kind("Secret").map(strict), strict(service), strict(job))
}

#[test]
fn the_manifests_are_objects_of_kubernetes() {
    let words = format!("--namespace load --results-claim results {RUN} --label");
    let ended = kubernetes(&words).arg("a=$(HOME): y").env("OPENAI_API_KEY", "key-4711-sesame").end().well();
    let (secret, service, job) = objects(&ended.stdout);
    let data = secret.unwrap().data.unwrap();
    assert_eq!(data["OPENAI_API_KEY"].0, b"key-4711-sesame");
    assert_eq!(data["SERVEGAUGE_SHARD_TOKEN"].0.len(), 64);
    assert!(!ended.stdout.contains("sesame") && !ended.stderr.contains("sesame"));
    let service = service.spec.unwrap();
    assert_eq!(
        (service.cluster_ip.as_deref(), service.publish_not_ready_addresses),
        (Some("None"), Some(true))
    );
    assert_eq!(job.metadata.namespace.as_deref(), Some("load"));
    let spec = job.spec.unwrap();
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!((spec.completions, spec.parallelism, spec.backoff_limit), (Some(8), Some(8), Some(0)));
    let labels = spec.template.metadata.unwrap().labels;
    assert_eq!(service.selector, labels, "the service has the pods of the Job");
    let pod = spec.template.spec.unwrap();
    assert_eq!(
        (pod.restart_policy.as_deref(), pod.subdomain.as_deref()),
        (Some("Never"), Some("servegauge"))
    );
    assert_eq!(pod.security_context.unwrap().run_as_user, Some(65532));
    let container = &pod.containers[0];
    let args = container.args.as_ref().unwrap().join(" ");
    let expected = "run --base-url http://vllm:8000 --request-rate 100 --label a=$$(HOME): y --shard auto --rendezvous \
                    servegauge-0.servegauge:7707";
    assert_eq!(args, expected);
    assert_eq!(container.env.as_ref().unwrap()[0].value.as_deref(), Some("8"));
    assert_eq!(container.security_context.as_ref().unwrap().read_only_root_filesystem, Some(true));
}

#[test]
fn the_credentials_of_an_object_store_go_to_runs_that_write_there() {
    for (words, is_passed) in [
        ("--records-to s3://bucket/logs", true),
        ("--save-records s3://bucket/requests/", true),
        ("--save-records requests/", false),
    ] {
        let program = kubernetes(&format!("{RUN} {words}")).env("AWS_SECRET_ACCESS_KEY", "aws-sesame");
        let ended = program.end().well();
        let data = objects(&ended.stdout).0.unwrap().data.unwrap();
        assert_eq!(data.contains_key("AWS_SECRET_ACCESS_KEY"), is_passed, "{words}");
        assert!(!ended.stdout.contains("sesame"), "{words}");
    }
}

#[test]
fn a_secret_with_a_certificate_is_mounted_and_used() {
    let ended = kubernetes(&format!("--name load --tls-secret load-tls {RUN} --rendezvous-ca /data/ca.pem"))
        .end()
        .well();
    let before = "# Before: kubectl create secret generic load-tls --from-file=tls.crt --from-file=tls.key --from-file=ca.crt\n\
                  # tls.crt must be valid for load-0.load.\n";
    assert!(ended.stdout.starts_with(before), "{}", ended.stdout);
    let (_, _, job) = objects(&ended.stdout);
    let pod = job.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let secret = volumes.iter().find(|volume| volume.name == "tls").unwrap().secret.as_ref().unwrap();
    assert_eq!((secret.secret_name.as_deref(), secret.default_mode), (Some("load-tls"), Some(0o440)));
    let container = &pod.containers[0];
    let mount = container.volume_mounts.as_ref().unwrap().iter().find(|mount| mount.name == "tls").unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), ("/tls", Some(true)));
    let expected = "run --rendezvous-cert /tls/tls.crt --rendezvous-key /tls/tls.key --rendezvous-ca /tls/ca.crt --base-url \
                    http://vllm:8000 --request-rate 100 --rendezvous-ca /data/ca.pem --shard auto --rendezvous \
                    https://load-0.load:7707";
    assert_eq!(container.args.as_ref().unwrap().join(" "), expected, "the run's own flags come last");
    for wrong in ["a b", "A", "", "a\nb"] {
        Program::new("launch kubernetes --shards 2 --image i --tls-secret")
            .arg(wrong)
            .words(RUN)
            .end()
            .with_code(2);
    }
}

#[test]
fn a_secret_that_exists_is_named_and_none_is_printed() {
    let ended = kubernetes(&format!("--secret load-keys --share-nodes {RUN}")).end().well();
    let (secret, _, job) = objects(&ended.stdout);
    assert!(secret.is_none());
    let pod = job.spec.unwrap().template.spec.unwrap();
    let from = &pod.containers[0].env_from.as_ref().unwrap()[0];
    assert_eq!(from.secret_ref.as_ref().unwrap().name, "load-keys");
    let anti = pod.affinity.unwrap().pod_anti_affinity.unwrap();
    assert!(anti.preferred_during_scheduling_ignored_during_execution.is_some());
}

#[test]
fn what_a_pod_lacks_is_said() {
    let ended = kubernetes("-- run --base-url http://localhost:8000 --dataset-path mine.jsonl")
        .file("mine.jsonl", "{}")
        .end()
        .well();
    assert!(ended.stderr.contains("http://localhost:8000 is each pod itself"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--dataset-path mine.jsonl is a file here"), "{}", ended.stderr);
}

/// Whether a shell can parse a script; where there is no such shell, nobody knows.
fn is_script(shell: &str, script: &str) -> bool {
    let parser = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn();
    let Ok(mut parser) = parser else { return true };
    parser.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    parser.wait().unwrap().success()
}

#[test]
fn the_batch_script_quotes_the_words_of_the_run() {
    let words = "launch slurm --shards 8 --nodes 4 --cpus 2 --name load-1";
    let ended = Program::new(&format!("{words} {RUN} --label")).arg("a<b c").end().well();
    let script = &ended.stdout;
    assert!(is_script("bash", script), "{script}");
    for line in
        ["#SBATCH --nodes=4", "#SBATCH --ntasks=8", "#SBATCH --cpus-per-task=2", "#SBATCH --job-name=load-1"]
    {
        assert!(script.lines().any(|own| own == line), "{line}: {script}");
    }
    let command =
        "servegauge run --base-url http://vllm:8000 --request-rate 100 --label 'a<b c' --shard auto";
    assert!(script.lines().any(|line| line.starts_with("exec srun") && line.ends_with(command)), "{script}");
}

#[test]
fn mpirun_and_mpiexec_get_their_own_options() {
    let with_hosts = |flavor: &str| {
        let words = format!("launch mpi --shards 8 --hosts node0,node1 --flavor {flavor} {RUN}");
        let script = Program::new(&words).env("HF_TOKEN", "hf-sesame").end().well().stdout;
        assert!(is_script("sh", &script) && !script.contains("sesame"), "{script}");
        assert!(script.trim_end().ends_with("--shard auto --rendezvous node0:7707"), "{script}");
        script
    };
    let open = "exec mpirun -n 8 --oversubscribe --bind-to none --host 'node0,node1' --map-by node -x \
                SERVEGAUGE_SHARD_TOKEN -x HF_TOKEN servegauge run";
    assert!(with_hosts("openmpi").contains(open));
    let mpich =
        "exec mpiexec -n 8 -hosts 'node0,node1' -genvlist 'SERVEGAUGE_SHARD_TOKEN,HF_TOKEN' servegauge run";
    assert!(with_hosts("mpich").contains(mpich));
    let tls = "--rendezvous-cert /etc/tls.crt --rendezvous-key /etc/tls.key";
    let secured =
        Program::new(&format!("launch mpi --shards 2 --hosts node0,node1 {RUN} {tls}")).end().well().stdout;
    assert!(
        secured.trim_end().ends_with(&format!("{tls} --shard auto --rendezvous https://node0:7707")),
        "{secured}"
    );
    let here = Program::new(&format!("launch mpi --shards 2 {RUN}")).end().well().stdout;
    assert!(here.trim_end().ends_with("--shard auto"), "{here}");
}

#[test]
fn the_processes_of_a_launcher_meet_without_an_address() {
    let simulator = crate::support::Simulator::start(crate::support::quick());
    let words = "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --num-prompts 8 \
                 --request-rate 50 --json --shard auto";
    let process = |index: &str| {
        let program =
            simulator.run(words).env("OMPI_COMM_WORLD_RANK", index).env("OMPI_COMM_WORLD_SIZE", "2");
        let namespace = std::process::id().to_string();
        program.env("OMPI_COMM_WORLD_LOCAL_SIZE", "2").env("PMIX_NAMESPACE", &namespace)
    };
    let first = process("0").start();
    process("1").end().with_code(0);
    let first = first.end().with_code(0);
    assert!(first.stderr.contains("warning: shards 0, 1 are all on"), "{}", first.stderr);
    let result: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(result["completed"], 8);
}

#[test]
fn a_launcher_that_names_no_address_is_said() {
    let simulator = crate::support::Simulator::start(crate::support::quick());
    let process = |variables: &[(&str, &str)]| {
        let program = simulator.run("--shard auto");
        variables
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
            .end()
            .with_code(2)
            .stderr
    };
    let job = process(&[("JOB_COMPLETION_INDEX", "0"), ("SERVEGAUGE_SHARDS", "2")]);
    assert!(job.contains("--shard needs --rendezvous") && job.contains("launch kubernetes"), "{job}");
    let mpi = process(&[("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("MPI_LOCALNRANKS", "1")]);
    assert!(mpi.contains("MPICH does not name the host"), "{mpi}");
}
