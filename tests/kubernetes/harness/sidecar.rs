//! The sidecar of a pod, with the pod's token. There is no interception: it listens at the pod's own
//! address for the app.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::{Answer, App, Folder, Plane, Process, ask, eventually, free_address};

pub struct Sidecar {
    pub process: Process,
    admin: SocketAddr,
    by_host: SocketAddr,
    _folder: Folder,
}

impl Sidecar {
    /// Starts that of a running pod with its app, and waits until it is ready.
    #[track_caller]
    pub fn start(plane: &Plane, pod: &Value, token: &str, app: Option<&App>) -> Self {
        let mut sidecar = Self::spawn(plane, pod, token, app);
        eventually("the sidecar is ready", || {
            assert!(!sidecar.process.has_left(), "it left");
            ask(sidecar.admin, "GET", "/ready", "", "").is_some_and(|answer| answer.status == 200)
        });
        sidecar
    }

    pub fn spawn(plane: &Plane, pod: &Value, token: &str, app: Option<&App>) -> Self {
        let folder = Folder::new("sidecar");
        let (admin, by_host) = (free_address(), free_address());
        let meta = &pod["metadata"];
        let port = |app: &App| {
            let ip = pod["status"]["podIP"].as_str().expect("it runs");
            json!({"name": "http", "listen": format!("{ip}:8080"), "app": app.address.to_string()})
        };
        let config = json!({
            "workload": {"namespace": meta["namespace"], "name": meta["name"],
                "serviceAccount": pod["spec"]["serviceAccountName"]},
            "controlPlane": {"address": plane.address.to_string(), "trustAnchors": "ca.pem",
                "tokenFile": "token"},
            "inbound": {"ports": app.map(port).into_iter().collect::<Vec<_>>()},
            "outbound": {"listen": by_host.to_string()},
            "admin": {"listen": admin.to_string()},
            "drain": {"minimum": "500ms", "deadline": "5s"},
            "workers": 1,
            "telemetry": {"traces": {"sampleRatio": 1.0}},
            "log": {"level": "debug"},
        });
        folder.write("ca.pem", plane.anchors());
        folder.write("token", token);
        let path = folder.write("config.yaml", config.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-proxy"));
        command.env_clear().args(["run", "--config"]).arg(path);
        let process = Process::start("sidecar", command, folder.path("log"));
        Self { process, admin, by_host, _folder: folder }
    }

    /// A request by Host.
    pub fn ask(&self, host: &str) -> Option<Answer> {
        ask(self.by_host, "GET", "/", host, "")
    }

    /// The JSON of an admin page.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let answer = ask(self.admin, "GET", path, "", "").expect("the page answers");
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[track_caller]
    pub fn await_log(&self, words: &str) {
        eventually(words, || self.process.log().contains(words));
    }
}
