//! An API server with an etcd of its own: keys made for it, one administrator, RBAC.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock, mpsc};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Folder, Process, ask, assets, eventually, free_address, network, running};

/// The administrator's.
const TOKEN: &str = "administrator-of-a-cluster-that-nobody-else-sees";

/// Of its tokens; also whom they are for unless they say.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub struct Cluster {
    folder: Folder,
    binaries: PathBuf,
    etcd_address: SocketAddr,
    address: SocketAddr,
    runtime: Runtime,
    client: OnceLock<Client>,
    etcd: Option<Process>,
    api: Option<Process>,
}

impl Cluster {
    /// The one that scenarios share, each in namespaces of its own; `None` where there are no
    /// binaries. This thread is in its network from now on.
    pub fn shared() -> Option<Arc<Cluster>> {
        static SHARED: OnceLock<Arc<Cluster>> = OnceLock::new();
        let binaries = assets()?;
        network();
        let begin = || {
            let (send, receive) = mpsc::channel();
            // What a thread started ends with it, so this one stays.
            std::thread::spawn(move || {
                network();
                Folder::sweep();
                let _ = send.send(Arc::new(Cluster::start(binaries)));
                loop {
                    std::thread::park();
                }
            });
            receive.recv().expect("the cluster starts")
        };
        Some(Arc::clone(SHARED.get_or_init(begin)))
    }

    /// One that the scenario may stop.
    pub fn own() -> Option<Cluster> {
        let binaries = assets()?;
        network();
        Some(Self::start(binaries))
    }

    fn start(binaries: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut cluster = Self {
            folder: Folder::new("cluster"),
            binaries,
            etcd_address: free_address(),
            address: free_address(),
            runtime: runtime.expect("a runtime"),
            client: OnceLock::new(),
            etcd: None,
            api: None,
        };
        cluster.make_keys();
        cluster.etcd = Some(cluster.start_etcd());
        cluster.start_api();
        let client = cluster.runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).expect("just written");
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            Client::try_from(config.expect("sound")).expect("a client")
        });
        let _ = cluster.client.set(client);
        cluster
    }

    fn make_keys(&self) {
        let key = || KeyPair::generate().expect("a key");
        let mut root = CertificateParams::new([]).expect("no names");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(root, key()).expect("a root");
        let names = ["127.0.0.1", "kubernetes.default.svc"].map(str::to_owned);
        let (own_key, accounts) = (key(), key());
        let own = CertificateParams::new(names).expect("names");
        let own = own.signed_by(&own_key, &root).expect("signed");
        self.folder.write("root.pem", root.pem());
        self.folder.write("api.pem", own.pem());
        self.folder.write("api.key", own_key.serialize_pem());
        self.folder.write("accounts.key", accounts.serialize_pem());
        self.folder.write("accounts.pub", accounts.public_key_pem());
        self.folder.write("tokens.csv", format!("{TOKEN},admin,admin,\"system:masters\"\n"));
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "own",
            "clusters": [{"name": "own", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": self.folder.path("root.pem"),
            }}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "admin"}}],
        });
        self.folder.write("kubeconfig", kubeconfig.to_string());
    }

    fn start_etcd(&self) -> Process {
        let mut command = Command::new(self.binaries.join("etcd"));
        let url = format!("http://{}", self.etcd_address);
        command
            .arg("--data-dir")
            .arg(self.folder.path("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .args(["--unsafe-no-fsync", "--log-level", "warn"]);
        let process = Process::start("etcd", command, self.folder.path("etcd.log"));
        let is_well = || ask(self.etcd_address, "GET", "/health", "", "").is_some();
        eventually("etcd is well", is_well);
        process
    }

    /// Starts the API server, after its end if it runs.
    pub fn start_api(&mut self) {
        self.stop_api();
        let mut command = Command::new(self.binaries.join("kube-apiserver"));
        let file = |name: &str| self.folder.path(name).display().to_string();
        let port = self.address.port();
        command.args([
            format!("--etcd-servers=http://{}", self.etcd_address),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            "--endpoint-reconciler-type=none".into(),
            format!("--tls-cert-file={}", file("api.pem")),
            format!("--tls-private-key-file={}", file("api.key")),
            format!("--client-ca-file={}", file("root.pem")),
            format!("--cert-dir={}", file("certificates")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            format!("--service-account-issuer={ISSUER}"),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112".into(),
            "--allow-privileged=true".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ]);
        let log = self.folder.path("kube-apiserver.log");
        self.api = Some(Process::start("kube-apiserver", command, log));
        let kubeconfig = self.kubeconfig();
        let is_ready = || {
            self.runtime.block_on(async {
                let kubeconfig = Kubeconfig::read_from(&kubeconfig).expect("just written");
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                let client = Client::try_from(config.expect("sound")).expect("a client");
                let asked = http::Request::get("/readyz").body(Vec::new()).expect("a request");
                client.request_text(asked).await.is_ok()
            })
        };
        eventually("the API server is ready", is_ready);
    }

    pub fn stop_api(&mut self) {
        self.api = None;
    }

    /// Takes the history from etcd: who wants to go on from before starts over.
    pub fn compact(&self) {
        let range = r#"{"key": "AA==", "limit": 1}"#;
        let found =
            ask(self.etcd_address, "POST", "/v3/kv/range", "", range).expect("etcd answers");
        let found: Value = serde_json::from_str(&found.body).expect("JSON");
        let revision = found["header"]["revision"].as_str().expect("a revision");
        let body = json!({"revision": revision, "physical": true}).to_string();
        let done = ask(self.etcd_address, "POST", "/v3/kv/compaction", "", &body);
        assert_eq!(done.map(|answer| answer.status), Some(200));
    }

    /// For programs that want to reach it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path("kubeconfig")
    }

    /// The same for a service account, with its rights alone.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.token(namespace, account, ISSUER, None);
        let text = std::fs::read_to_string(self.kubeconfig()).expect("it was written");
        let mut kubeconfig: Value = serde_json::from_str(&text).expect("JSON");
        kubeconfig["users"][0]["user"] = json!({"token": token});
        self.folder.write("kubeconfig.account", kubeconfig.to_string());
        self.folder.path("kubeconfig.account")
    }

    /// One call of its API, with a body of JSON; `APPLY` is an apply on the server's side.
    ///
    /// # Errors
    /// As the client says it.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let (method, kind) = match method {
            "PATCH" => (method, "application/merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            _ => (method, "application/json"),
        };
        let request = http::Request::builder().method(method).uri(path);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.header("content-type", kind).body(body).expect("a request");
        let client = self.client.get().expect("made at the start").clone();
        self.runtime.block_on(client.request(request))
    }

    /// Makes an object, and says what its writer is warned of.
    #[track_caller]
    pub fn warnings(&self, path: &str, object: &Value) -> Vec<String> {
        let request = http::Request::post(path).header("content-type", "application/json");
        let body = kube::client::Body::from(object.to_string().into_bytes());
        let client = self.client.get().expect("made at the start").clone();
        let answer = self.runtime.block_on(client.send(request.body(body).expect("a request")));
        let answer = answer.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        assert_eq!(answer.status(), 201, "POST {path}");
        let all = answer.headers().get_all("warning").iter();
        all.map(|one| String::from_utf8_lossy(one.as_bytes()).into_owned()).collect()
    }

    /// A call that must succeed.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Makes an object.
    #[track_caller]
    pub fn create(&self, path: &str, object: &Value) -> Value {
        self.done("POST", path, object)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) {
        // At once: there is no kubelet to let a pod end.
        self.done("DELETE", path, &json!({"gracePeriodSeconds": 0}));
    }

    /// A namespace with these service accounts.
    #[track_caller]
    pub fn namespace(&self, name: &str, accounts: &[&str]) {
        self.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        for account in accounts {
            let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
            self.create(&path, &json!({"metadata": {"name": account}}));
        }
    }

    /// A pod of [`super::pod`], running at these addresses.
    #[track_caller]
    pub fn run_pod(&self, namespace: &str, pod: &Value, ips: &[&str]) -> Value {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let made = self.create(&path, pod);
        let name = made["metadata"]["name"].as_str().expect("a name");
        self.done("PATCH", &format!("{path}/{name}/status"), &running(ips))
    }

    /// A token of a service account for an audience, bound to a pod where one is given.
    #[track_caller]
    pub fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: &str,
        pod: Option<&Value>,
    ) -> String {
        let bound = pod.map(|pod| {
            json!({"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"]})
        });
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let made = self.done("POST", &path, &request);
        made["status"]["token"].as_str().expect("a token").to_owned()
    }
}
