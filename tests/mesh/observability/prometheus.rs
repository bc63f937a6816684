//! A real Prometheus scrapes sidecars and the control plane, reads the alert rules, answers every
//! question of the dashboard, and finds a trace behind a latency.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::dashboard::expressions;
use super::scene::{Scene, TRACE};
use super::{has, read};
use crate::harness::{Folder, Wire, free_address, within};

/// It begins within seconds, and scrapes each second; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

struct Prometheus {
    address: SocketAddr,
    folder: Folder,
    child: Child,
}

impl Prometheus {
    fn watching(jobs: &[(&str, &[SocketAddr])]) -> Self {
        let (folder, address) = (Folder::new("prometheus"), free_address());
        folder.write("alerts.yaml", &read("deploy/observability/alerts.yaml"));
        let mut config =
            "global: {scrape_interval: 1s}\nrule_files: [alerts.yaml]\nscrape_configs:\n"
                .to_owned();
        for (job, targets) in jobs {
            let targets: Vec<String> = targets.iter().map(|at| format!("{at:?}")).collect();
            config += &format!(
                "- job_name: {job}\n  static_configs: [{{targets: [{}]}}]\n",
                targets.iter().map(|at| format!("\"{at}\"")).collect::<Vec<_>>().join(", ")
            );
        }
        folder.write("prometheus.yml", &config);
        let log = std::fs::File::create(folder.path("log")).expect("the folder is writable");
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Self { address, folder, child: command.spawn().expect("it was there just now") }
    }

    fn try_ask(&self, path: &str, question: &str) -> Option<Value> {
        let mut query = String::new();
        for byte in question.bytes() {
            query += &format!("%{byte:02X}");
        }
        let stream = std::net::TcpStream::connect(self.address).ok()?;
        let mut wire = Wire::of(stream);
        wire.try_send(format!(
            "GET /api/v1/{path}{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
        .ok()?;
        serde_json::from_slice(&wire.message(false).ok()?.body).ok()
    }

    #[track_caller]
    fn ask(&self, path: &str, question: &str) -> Value {
        let answer = self.try_ask(path, question).expect("Prometheus answers");
        assert_eq!(answer["status"], "success", "{question}: {answer}");
        answer["data"].clone()
    }

    fn value(&self, question: &str) -> Option<f64> {
        let data = self.try_ask("query?query=", question)?["data"].take();
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- prometheus\n{}", self.folder.read("log"));
        }
    }
}

#[test]
fn a_real_prometheus_reads_all_of_it() {
    if !has("prometheus") {
        return;
    }
    let scene = Scene::played();
    let sidecars = [scene.caller.sidecar.admin, scene.web.sidecar.admin];
    let prometheus =
        Prometheus::watching(&[("sidecars", &sidecars), ("control-plane", &[scene.plane.admin])]);
    within(PATIENCE, "three targets are well", || {
        prometheus.value("count(up == 1) == 3").is_some()
    });
    let targets = prometheus.ask("targets", "");
    for target in targets["activeTargets"].as_array().expect("a list") {
        assert_eq!(target["lastError"], "", "{target}");
    }
    for (question, least) in [
        ("sum(outrigger_requests_total{direction=\"outbound\",code=\"200\"})", 5.0),
        ("sum(outrigger_requests_total{direction=\"inbound\",reason=\"mtls-required\"})", 1.0),
        ("sum(outrigger_request_duration_seconds_count)", 5.0),
        ("outrigger_control_sessions", 2.0),
        ("count(outrigger_build_info)", 3.0),
    ] {
        within(PATIENCE, question, || prometheus.value(question).is_some_and(|is| is >= least));
    }
    let rules = prometheus.ask("rules", "");
    let rules: Vec<&Value> = rules["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect();
    assert!(rules.len() > 15 && rules.iter().all(|rule| rule["lastError"].is_null()), "{rules:?}");
    let all = expressions();
    assert!(all.len() > 20, "{}", all.len());
    for (_, expression) in &all {
        prometheus.ask("query?query=", expression);
    }
    let asked = "outrigger_request_duration_seconds_bucket&start=0&end=9999999999";
    let (name, rest) = asked.split_once('&').expect("a range");
    within(PATIENCE, "an exemplar", || {
        let found = prometheus.try_ask(&format!("query_exemplars?{rest}&query="), name);
        found.is_some_and(|found| found.to_string().contains(TRACE))
    });
}
