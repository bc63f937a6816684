//! A control plane of a cluster, as its own process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Cluster, Folder, Process, ask, eventually, free_address};

pub struct Plane {
    pub address: SocketAddr,
    pub process: Process,
    admin: SocketAddr,
    folder: Folder,
}

impl Plane {
    /// Starts one, and waits until it has seen the cluster.
    #[track_caller]
    pub fn start(cluster: &Cluster) -> Self {
        let mut plane = Self::spawn(cluster);
        plane.wait_ready();
        plane
    }

    /// Starts one.
    pub fn spawn(cluster: &Cluster) -> Self {
        // Where its Secrets are; it may be there already.
        let home = json!({"metadata": {"name": "outrigger-system"}});
        let _ = cluster.call("POST", "/api/v1/namespaces", &home);
        Self::with(cluster.kubeconfig(), &[])
    }

    /// Starts one that reaches the cluster by this kubeconfig, with more arguments.
    pub fn with(kubeconfig: PathBuf, arguments: &[&str]) -> Self {
        Self::at(kubeconfig, free_address(), arguments)
    }

    /// The same, listening there.
    pub fn at(kubeconfig: PathBuf, address: SocketAddr, arguments: &[&str]) -> Self {
        let folder = Folder::new("plane");
        let admin = free_address();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command
            .env_clear()
            .args(["control-plane", "--kubernetes", "--log-level", "debug", "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
            .arg("--data")
            .arg(folder.path("data"))
            .args(arguments);
        let process = Process::start("control plane", command, folder.path("log"));
        Self { address, process, admin, folder }
    }

    #[track_caller]
    pub fn wait_ready(&mut self) {
        eventually("the control plane is ready", || {
            assert!(!self.process.has_left(), "it left");
            self.page("/ready").is_some_and(|(status, _)| status == 200)
        });
    }

    /// An admin page's status and text.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        ask(self.admin, "GET", path, "", "").map(|answer| (answer.status, answer.body))
    }

    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let (_, text) = self.page(path).expect("the page answers");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// A port of a service, as the page shows it.
    #[track_caller]
    pub fn service(&self, name: &str) -> Option<Value> {
        let page = self.json("/services");
        page["services"].as_array()?.iter().find(|one| one["name"] == name).cloned()
    }

    /// The workloads behind one.
    #[track_caller]
    pub fn endpoints(&self, name: &str) -> Vec<String> {
        let service = self.service(name).unwrap_or_default();
        let all = service["endpoints"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|one| one["workload"].as_str().map(str::to_owned)).collect()
    }

    /// How a kind is watched.
    #[track_caller]
    pub fn watch(&self, kind: &str) -> Value {
        let page = self.json("/watches");
        let all = page["watches"].as_array().expect("a list");
        all.iter().find(|one| one["kind"] == kind).cloned().expect("it is watched")
    }

    /// The roots of its mesh.
    pub fn anchors(&self) -> String {
        self.folder.read("data/ca.pem")
    }

    /// A command of people, as an operator.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// The same, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command
            .env_clear()
            .args(arguments)
            .args(["--control-plane", &self.address.to_string(), "--trust-anchors"])
            .arg(self.folder.path("data/ca.pem"))
            .arg("--token-file")
            .arg(self.folder.path("data/operator.token"));
        command
    }
}
