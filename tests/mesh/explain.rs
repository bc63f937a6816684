//! What a sidecar says it would do, held against what it does.
//!
//! One sidecar has many services, each with random rules. Each random request is first explained
//! and then sent; status, backend, path and headers must be as it was said.

mod random;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;

use random::{Dice, fault, route};

use crate::harness::{
    App, Folder, Message, Sidecar, Wire, eventually, free_address, refused_address,
};

const SERVICES: usize = 64;
const REQUESTS: usize = 8;

/// A sidecar without an identity, with a listener for each of these services.
fn start(resources: &str, services: &[String]) -> (Sidecar, Vec<SocketAddr>) {
    let folder = Folder::new("explain");
    let admin = free_address();
    std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
    folder.write("mesh/mesh.yaml", resources);
    let mut config = format!(
        "workload: {{namespace: default, name: caller-1, serviceAccount: caller}}\n\
         resources: [mesh/]\nadmin: {{listen: \"{admin}\"}}\noutbound:\n  upstreams:\n"
    );
    let listeners: Vec<SocketAddr> = services.iter().map(|_| free_address()).collect();
    for (service, listen) in services.iter().zip(&listeners) {
        let _ = writeln!(config, "  - {{listen: \"{listen}\", service: \"{service}\"}}");
    }
    folder.write("config.yaml", &config);
    let mut sidecar = Sidecar::start(folder, admin, None);
    sidecar.wait_ready();
    (sidecar, listeners)
}

/// An app that says who it is, and what it was asked.
fn echo(name: &'static str) -> App {
    App::http(move |request| {
        let mut said = format!("{name}\n{}\n", request.start);
        for (name, value) in &request.headers {
            let _ = writeln!(said, "{name}: {value}");
        }
        App::answer(said)
    })
}

fn service(name: &str, selects: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{selector: {{app: {selects}}}, ports: [{{port: 80, targetPort: http, appProtocol: http}}]}}\n"
    )
}

fn workload(name: &str, app: &str, at: SocketAddr) -> String {
    format!(
        "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: {name}, namespace: default, labels: {{app: {app}}}}}\n\
         spec: {{address: {}, ports: [{{name: http, port: {}}}]}}\n",
        at.ip(),
        at.port()
    )
}

/// A request, as it is asked about and as it is sent.
struct Asked {
    method: &'static str,
    path: String,
    host: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

impl Asked {
    fn any(dice: &mut Dice) -> Self {
        let path = dice.one(&["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/c", "/c/d", "/z"]);
        let query = dice.one(&["", "", "?q=1", "?q=2&q=1", "?p=1", "?q=%31"]);
        let mut headers = Vec::new();
        for name in ["x-a", "x-b"] {
            if dice.maybe() {
                headers.push((name, dice.one(&["1", "2", "3"])));
            }
        }
        if dice.below(8) == 0 {
            headers.push(("connection", "x-b"));
        }
        if dice.below(20) == 0 {
            headers.push(("x-outrigger-deadline-ms", dice.one(&["0", "60000"])));
        }
        Self {
            method: dice.one(&["GET", "POST"]),
            path: format!("{path}{query}"),
            host: dice.one(&["h.test", "x.h.test:80", "H.Test", "other"]),
            headers,
        }
    }

    fn question(&self, service: &str) -> String {
        let path = self.path.replace('%', "%25").replace('&', "%26");
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("&header={name}:{value}")).collect();
        format!(
            "/explain?service={service}&method={}&path={path}&host={}{headers}",
            self.method, self.host
        )
    }

    fn request(&self) -> String {
        let lines: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, path, host) = (self.method, &self.path, self.host);
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{lines}\r\n")
    }

    /// The lines of a header that the backend should see.
    fn expected(&self, name: &str, changes: &Value) -> Vec<String> {
        if let Some(set) = changes["set"].get(name) {
            let one = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return set
                .as_array()
                .map_or_else(|| vec![one(set)], |all| all.iter().map(one).collect());
        }
        let is_gone =
            changes["removed"].as_array().is_some_and(|all| all.iter().any(|n| n == name));
        let is_listed = self.headers.contains(&("connection", name));
        let same = self.headers.iter().filter(|(own, _)| *own == name && !is_gone && !is_listed);
        same.map(|(_, value)| (*value).to_owned()).collect()
    }

    /// Holds an answer against what was said of it.
    fn check(&self, said: &Value, answer: &Message) -> Result<&'static str, String> {
        let outcome = &said["outcome"];
        if let Some(refused) = outcome.get("refused") {
            same("status", &refused["status"], &answer.status().into())?;
            same("reason", &refused["reason"], &answer.reason().into())?;
            same("sentence", &refused["sentence"], &answer.text().trim_end().into())?;
            return Ok("refused");
        }
        if let Some(answered) = outcome.get("answered") {
            same("status", &answered["status"], &answer.status().into())?;
            for (name, value) in answered["headers"].as_object().into_iter().flatten() {
                same(name, value, &answer.header(name).into())?;
            }
            return Ok("answered");
        }
        let sent = &outcome["sent"];
        let all = sent["backends"].as_array().cloned().unwrap_or_default();
        let backend = all.into_iter().find(|backend| backend["sharePercent"] == 100);
        let backend = backend.ok_or("no backend has all")?;
        let request = match &backend["request"] {
            Value::Null => &sent["request"],
            own => own,
        };
        same("status", &200.into(), &answer.status().into())?;
        self.check_seen(request, &backend, &answer.text())
    }

    fn check_seen(
        &self,
        request: &Value,
        backend: &Value,
        seen: &str,
    ) -> Result<&'static str, String> {
        let mut lines = seen.lines();
        let name = format!("{}.default:80", lines.next().unwrap_or_default());
        // The services themselves have the first app as their endpoint.
        let said = backend["service"].as_str().unwrap_or_default();
        let said = if said.starts_with('s') { "b0.default:80" } else { said };
        same("backend", &said.into(), &name.into())?;
        let line = format!(
            "{} {} HTTP/1.1",
            request["method"].as_str().unwrap_or_default(),
            request["path"].as_str().unwrap_or_default()
        );
        same("request line", &line.into(), &lines.next().unwrap_or_default().into())?;
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let values = |name: &str| -> Vec<String> {
            let same = headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
            same.map(|(_, value)| (*value).to_owned()).collect()
        };
        same("host", &vec![request["host"].clone()].into(), &values("host").into())?;
        for name in ["x-a", "x-b", "x-c"] {
            let expected = self.expected(name, &request["headerChanges"]);
            same(name, &expected.into(), &values(name).into())?;
        }
        Ok("sent")
    }
}

fn same(what: &str, said: &Value, seen: &Value) -> Result<(), String> {
    if said == seen { Ok(()) } else { Err(format!("{what} was said to be {said}, and is {seen}")) }
}

#[test]
fn what_is_said_is_what_is_done() {
    let wanted = std::env::var("OUTRIGGER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = wanted.unwrap_or_else(|| std::process::id().into());
    let mut dice = Dice(seed);
    let apps = [echo("b0"), echo("b1"), echo("b2")];
    let mut resources = String::new();
    for (name, app) in ["b0", "b1", "b2"].into_iter().zip(&apps) {
        resources.push_str(&service(name, name));
        resources.push_str(&workload(&format!("{name}-1"), name, app.address));
    }
    let names: Vec<String> = (0..SERVICES).map(|n| format!("s{n}")).collect();
    for name in &names {
        resources.push_str(&service(name, "b0"));
        for _ in 0..dice.below(3) {
            resources.push_str(&route(&mut dice, name));
        }
        if dice.below(5) == 0 {
            resources.push_str(&fault(&mut dice, name));
        }
    }
    let services: Vec<String> = names.iter().map(|name| format!("{name}.default:80")).collect();
    let (sidecar, listeners) = start(&resources, &services);
    let mut kinds: std::collections::BTreeMap<&str, u32> = Default::default();
    for (service, listen) in services.iter().zip(listeners) {
        let mut wire = Wire::connect(listen);
        for _ in 0..REQUESTS {
            let asked = Asked::any(&mut dice);
            let said = sidecar.json(&asked.question(service));
            let answer = wire.ask(asked.request());
            match asked.check(&said, &answer) {
                Ok(kind) => *kinds.entry(kind).or_default() += 1,
                Err(why) => panic!(
                    "seed {seed}: {why}\n{}\n{:#}\n{:#}",
                    asked.request(),
                    said["why"],
                    said["outcome"]
                ),
            }
        }
    }
    for kind in ["refused", "answered", "sent"] {
        assert!(
            kinds.get(kind).is_some_and(|count| *count > 5),
            "seed {seed}: few {kind}: {kinds:?}"
        );
    }
}

#[test]
fn an_open_circuit_is_named() {
    let app = echo("well");
    let policy = "---\napiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
         metadata: {name: quick, namespace: default}\n\
         spec: {targetRefs: [{kind: Service, name: s}], loadBalancing: {policy: roundRobin}, \
         circuitBreaker: {consecutiveFailures: 1, openFor: 1m}}\n";
    let gone = refused_address();
    let resources = [
        service("s", "s"),
        workload("s-1", "s", app.address),
        workload("s-2", "s", gone),
        policy.to_owned(),
    ];
    let (sidecar, listeners) = start(&resources.concat(), &["s.default:80".to_owned()]);
    let mut wire = Wire::connect(listeners[0]);
    let why = || sidecar.json("/explain?service=s:80")["why"].to_string();
    let said = "TrafficPolicy default/quick sets loadBalancing and circuitBreaker of s.default:80";
    assert!(why().contains(said), "{}", why());
    eventually("an ejection that the explanation names", || {
        assert_eq!(wire.ask("GET / HTTP/1.1\r\nhost: s\r\n\r\n").status(), 200);
        why().contains(&format!("endpoint {gone} gets nothing: its circuit is open for another"))
    });
    let sent = &sidecar.json("/explain?service=s:80")["outcome"]["sent"];
    let chances: Vec<(&Value, &Value)> = sent["backends"][0]["endpoints"]
        .as_array()
        .map(|all| all.iter().map(|e| (&e["state"], &e["chancePercent"])).collect())
        .unwrap_or_default();
    assert_eq!(chances, [(&"ready".into(), &100.into()), (&"ejected".into(), &0.into())]);
    let ejected = &sidecar.json("/endpoints")["endpoints"][1];
    assert_eq!(ejected["state"], "ejected", "{ejected}");
    assert_eq!(sidecar.metric("outrigger_panic", &["s.default:80"]), 0.0);
    assert!(sidecar.metric("outrigger_retry_budget_remaining", &["s.default:80"]) > 0.0);
}

/// The program that people use.
fn outrigger(admin: SocketAddr, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(args).args(["--admin", &admin.to_string()]);
    command.output().expect("it starts")
}

#[test]
fn people_ask_on_the_command_line() {
    let app = echo("s");
    let resources = format!("{}{}", service("s", "s"), workload("s-1", "s", app.address));
    let (sidecar, _) = start(&resources, &[]);
    let ask = |args: &[&str]| {
        let output = outrigger(sidecar.admin, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = ask(&["explain", "s:80", "--path", "/a b&c?d=%2F"]);
    assert_eq!(code, Some(2), "a path has no spaces: {said}");
    let (code, said, _) = ask(&["explain", "s:80", "--path", "/a&c?d=%2F", "--header", "x-a: 1"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("GET /a&c?d=%2F") && said.contains(&app.address.to_string()), "{said}");
    let (code, _, faults) = ask(&["explain", "s", "--method", "A B", "--source", "here"]);
    assert_eq!((code, faults.lines().count()), (Some(2), 3), "{faults}");
    let (code, said, _) = ask(&["explain", "t:80", "-o", "json"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("\"no-route\""), "{said}");
    for page in ["routes", "policies", "services", "endpoints"] {
        let (code, said, _) = ask(&["proxy", page]);
        assert!(code == Some(0) && said.contains("s.default:80"), "{page}: {said}");
    }
    let nobody = outrigger(free_address(), &["explain", "s:80"]);
    assert_eq!(nobody.status.code(), Some(1));
}
