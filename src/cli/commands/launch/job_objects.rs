//! The objects of a Kubernetes Job that sends one run from several pods.

use std::num::NonZeroUsize;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::model::units::Secret;
use crate::shards::{PORT, variables};

/// The user of the container image, who has no rights.
const USER: u32 = 65532;

/// How long a pod may take to report after it was asked to end.
const GRACE_SECONDS: u32 = 60;

/// Where the Secret with the certificate is mounted.
const TLS_FOLDER: &str = "/tls";

/// The mode of its files: readable by the pod's group.
const TLS_FILE_MODE: u32 = 0o440;

/// The flags of a run whose pods have the Secret with the certificate.
pub(super) fn tls_flags() -> impl Iterator<Item = String> {
    let files = [("cert", "tls.crt"), ("key", "tls.key"), ("ca", "ca.crt")];
    files
        .into_iter()
        .flat_map(|(flag, file)| [format!("--rendezvous-{flag}"), format!("{TLS_FOLDER}/{file}")])
}

/// Whether two pods may run on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// Each pod has a node without another one.
    Required,
    /// Pods share a node if there are too few.
    Preferred,
}

/// What the objects are made of.
pub(super) struct JobObjects {
    /// The name of the Job, its Service and its Secret.
    pub name: String,
    pub namespace: Option<String>,
    pub image: String,
    pub shards: NonZeroUsize,
    /// The arguments of the container.
    pub args: Vec<String>,
    /// Environment variables for the Secret.
    pub secrets: Vec<(String, Secret)>,
    /// The Secret that has them already.
    pub existing_secret: Option<String>,
    pub cpus: String,
    pub memory: String,
    pub spread: Spread,
    /// The claim that is mounted where the results go.
    pub results_claim: Option<String>,
    /// The Secret with the certificate of shard 0, its key and its CA.
    pub tls_secret: Option<String>,
    /// How long the finished Job stays.
    pub keep: Duration,
}

impl JobObjects {
    /// The Secret unless it exists already, the Service and the Job.
    pub(super) fn documents(&self) -> Vec<Value> {
        let secret = self.existing_secret.is_none().then(|| self.secret());
        secret.into_iter().chain([self.service(), self.job()]).collect()
    }

    fn labels(&self) -> Value {
        json!({"app.kubernetes.io/name": "servegauge", "app.kubernetes.io/instance": self.name})
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({"name": self.name, "labels": self.labels()});
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        metadata
    }

    fn secret(&self) -> Value {
        let encoded =
            |(name, value): &(String, Secret)| (name.clone(), STANDARD.encode(value.reveal()).into());
        let data: Map<String, Value> = self.secrets.iter().map(encoded).collect();
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": self.metadata(), "type": "Opaque", "data": data})
    }

    /// Gives each pod a name. The pods meet before any of them is ready.
    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(),
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": self.labels(),
                "ports": [{"name": "rendezvous", "port": PORT, "targetPort": "rendezvous"}],
            },
        })
    }

    fn job(&self) -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(),
            "spec": {
                "completionMode": "Indexed",
                "completions": self.shards,
                "parallelism": self.shards,
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": self.keep.as_secs(),
                "template": {"metadata": {"labels": self.labels()}, "spec": self.pod()},
            },
        })
    }

    fn pod(&self) -> Value {
        let results = match &self.results_claim {
            Some(claim) => json!({"name": "data", "persistentVolumeClaim": {"claimName": claim}}),
            None => json!({"name": "data", "emptyDir": {}}),
        };
        let certificate = self
            .tls_secret
            .as_ref()
            .map(|name| json!({"name": "tls", "secret": {"secretName": name, "defaultMode": TLS_FILE_MODE}}));
        let tmp = json!({"name": "tmp", "emptyDir": {}});
        let volumes: Vec<Value> = [tmp, results].into_iter().chain(certificate).collect();
        json!({
            "restartPolicy": "Never",
            "subdomain": self.name,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "automountServiceAccountToken": false,
            // A service called `servegauge` would set variables such as SERVEGAUGE_PORT, which are flags here.
            "enableServiceLinks": false,
            "affinity": {"podAntiAffinity": self.anti_affinity()},
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container()],
            "volumes": volumes,
        })
    }

    fn container(&self) -> Value {
        let resources = json!({"cpu": self.cpus, "memory": self.memory});
        let secret = self.existing_secret.as_ref().unwrap_or(&self.name);
        // `$(NAME)` in an argument would be a variable.
        let args: Vec<String> = self.args.iter().map(|arg| arg.replace('$', "$$")).collect();
        let certificate = self.tls_secret.as_ref();
        let certificate =
            certificate.map(|_| json!({"name": "tls", "mountPath": TLS_FOLDER, "readOnly": true}));
        let mounts = [("tmp", "/tmp"), ("data", "/data")];
        let mounts = mounts.into_iter().map(|(name, path)| json!({"name": name, "mountPath": path}));
        let mounts: Vec<Value> = mounts.chain(certificate).collect();
        json!({
            "name": "servegauge",
            "image": self.image,
            "args": args,
            "env": [{"name": variables::COUNT, "value": self.shards.to_string()}],
            "envFrom": [{"secretRef": {"name": secret}}],
            "ports": [{"name": "rendezvous", "containerPort": PORT}],
            "resources": {"requests": resources, "limits": resources},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        })
    }

    fn anti_affinity(&self) -> Value {
        let term =
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": self.labels()}});
        match self.spread {
            Spread::Required => json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]}),
            Spread::Preferred => {
                let weighted = json!({"weight": 100, "podAffinityTerm": term});
                json!({"preferredDuringSchedulingIgnoredDuringExecution": [weighted]})
            }
        }
    }
}
