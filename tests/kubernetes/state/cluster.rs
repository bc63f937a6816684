//! One API server for all scenarios, and what they ask it for.

use std::future::Future;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

/// How long a condition may take that should hold soon.
const SOON: Duration = Duration::from_secs(30);

/// A namespace of one's own.
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
}

/// `None`, said on standard error: there is no API server to be had.
pub async fn cluster() -> Option<Cluster> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start).as_ref());
    let Some(server) = server.await.expect("no panic") else {
        eprintln!("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd");
        return None;
    };
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let client = server.client().await;
    eventually("the API server answers", || async {
        Api::<Namespace>::all(client.clone()).get_opt("default").await.is_ok_and(|n| n.is_some())
    })
    .await;
    let namespace = format!("state-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let cluster = Cluster { client, namespace };
    cluster.make_namespace(&cluster.namespace).await;
    Some(cluster)
}

impl Cluster {
    pub async fn make_namespace(&self, name: &str) {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &namespace).await.expect("made");
    }

    /// A kind with a status, with what the schema of the Gateway API demands of one.
    pub async fn define(&self, group: &str, version: &str, kind: &str, plural: &str) {
        let condition = json!({
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "minimum": 0},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
            },
        });
        let conditions = json!({
            "type": "array", "maxItems": 8, "items": condition,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        });
        let parent = json!({
            "type": "object",
            "required": ["name"],
            "properties": {
                "group": {"type": "string", "default": "gateway.networking.k8s.io"},
                "kind": {"type": "string", "default": "Gateway"},
                "namespace": {"type": "string"},
                "name": {"type": "string"},
                "sectionName": {"type": "string"},
                "port": {"type": "integer"},
            },
        });
        let parents = json!({
            "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "object",
                "required": ["conditions", "controllerName", "parentRef"],
                "properties": {
                    "controllerName": {"type": "string", "pattern": "^[a-z0-9.-]+/[A-Za-z0-9/.-]+$"},
                    "parentRef": parent,
                    "conditions": conditions,
                },
            },
        });
        let schema = json!({
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"parentRefs": {"type": "array", "items": parent}},
                },
                "status": {
                    "type": "object",
                    "properties": {"parents": parents, "conditions": conditions},
                },
            },
        });
        let (name, approved) = (format!("{plural}.{group}"), "https://example.com/approved");
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": name,
                "annotations": {"api-approved.kubernetes.io": approved},
            },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }],
            },
        });
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let by = PatchParams::apply("test").force();
        api.patch(&name, &by, &Patch::Apply(definition)).await.expect("defined");
        eventually("the kind is served", || async {
            let found = api.get_status(&name).await.expect("there");
            let status = serde_json::to_value(found.status).expect("JSON");
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c: &Value| c["type"] == "Established" && c["status"] == "True")
        })
        .await;
    }
}

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let until = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < until, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Server {
    kubeconfig: String,
}

impl Server {
    fn start() -> Option<Server> {
        let assets = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
        if !assets.join("kube-apiserver").exists() || !assets.join("etcd").exists() {
            return None;
        }
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-state");
        let folder = all.join(std::process::id().to_string());
        forget(&all);
        let (made, ready) = std::sync::mpsc::channel();
        // Children end with the thread that started them, so that thread stays.
        std::thread::spawn(move || {
            let _children = processes(&assets, &folder, &made);
            loop {
                std::thread::park();
            }
        });
        Some(Server { kubeconfig: ready.recv().expect("the API server was started") })
    }

    async fn client(&self) -> Client {
        let config = Kubeconfig::from_yaml(&self.kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a configuration")).expect("a client")
    }
}

/// What processes left that are gone: nothing runs when one ends that could take it away.
fn forget(all: &Path) {
    for folder in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(folder.file_name()).exists() {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

fn processes(assets: &Path, folder: &Path, made: &std::sync::mpsc::Sender<String>) -> [Child; 2] {
    std::fs::create_dir_all(folder).expect("a folder");
    let (etcd, peers, port) = (free_port(), free_port(), free_port());
    let etcd_url = format!("http://127.0.0.1:{etcd}");
    let peers = format!("http://127.0.0.1:{peers}");
    let pair = rcgen::KeyPair::generate().expect("a key");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let key = file("accounts.key", &pair.serialize_pem());
    let public = file("accounts.pub", &pair.public_key_pem());
    let tokens = file("tokens.csv", "test-token,admin,admin,\"system:masters\"\n");
    let data = folder.join("etcd").display().to_string();
    let etcd = start(
        &assets.join("etcd"),
        folder,
        &[
            format!("--data-dir={data}"),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--unsafe-no-fsync".into(),
        ],
    );
    let server = start(
        &assets.join("kube-apiserver"),
        folder,
        &[
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", folder.join("certs").display()),
            format!("--token-auth-file={tokens}"),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={public}"),
            format!("--service-account-signing-key-file={key}"),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ],
    );
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true,
        }}],
        "users": [{"name": "test", "user": {"token": "test-token"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    made.send(kubeconfig.to_string()).expect("somebody waits");
    [etcd, server]
}

fn start(program: &Path, folder: &Path, flags: &[String]) -> Child {
    let name = program.file_name().expect("a name").to_string_lossy();
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
    let mut command = Command::new(program);
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // SAFETY: only an async-signal-safe call is made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn().expect("started")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
