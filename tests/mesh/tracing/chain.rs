//! Four services in a row, each with its sidecar, and a caller at the edge with another.

use std::net::SocketAddr;

use super::collector::{Collector, Seen};
use crate::harness::{App, Certs, Folder, Message, Sidecar, Wire, free_address, get_with};

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

/// Every span of a request that reached the last service: service, and whether it is a server's.
pub const WAY: [(&str, bool); 8] = [
    ("edge", false),
    ("a", true),
    ("a", false),
    ("b", true),
    ("b", false),
    ("c", true),
    ("c", false),
    ("d", true),
];

pub struct Chain {
    edge: SocketAddr,
    _apps: Vec<App>,
    _sidecars: Vec<Sidecar>,
}

/// How the sidecars trace, and what the apps pass on.
pub struct Traced<'a> {
    pub collector: &'a Collector,
    pub propagation: &'a str,
    pub passed: &'static [&'static str],
    pub edge_ratio: f32,
    pub ratio: f32,
}

impl Chain {
    /// `last` is what the last service answers.
    #[track_caller]
    pub fn start(
        traced: &Traced<'_>,
        last: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let certs = Certs::new();
        let (mut apps, mut sidecars) = (vec![App::http(last)], Vec::new());
        let (mut next, mut resources) = (apps[0].address, String::new());
        for (nth, service) in SERVICES.iter().enumerate().rev() {
            let (mesh, by_host) = (free_address(), free_address());
            let app = if nth == SERVICES.len() - 1 {
                next
            } else {
                let app = forwarder(by_host, SERVICES[nth + 1], traced.passed);
                next = app.address;
                apps.push(app);
                next
            };
            let inbound = format!(
                "inbound: {{ports: [{{name: app, listen: \"{mesh}\", app: \"{app}\"}}]}}\n"
            );
            let more = format!("{inbound}outbound: {{listen: \"{by_host}\"}}\n");
            sidecars.push(sidecar(&certs, service, &more, &resources, traced, traced.ratio));
            resources = documents(service, app, mesh);
        }
        let edge = free_address();
        let more = format!("outbound: {{listen: \"{edge}\"}}\n");
        sidecars.push(sidecar(&certs, "edge", &more, &resources, traced, traced.edge_ratio));
        sidecars.iter_mut().for_each(Sidecar::wait_ready);
        Self { edge, _apps: apps, _sidecars: sidecars }
    }

    /// A request from the edge, with header lines of the caller's.
    #[track_caller]
    pub fn ask(&self, path: &str, lines: &str) -> Message {
        let request = get_with(path, lines).replace("app.default", "a.default");
        Wire::connect(self.edge).ask(request)
    }
}

/// An app that asks the next service, and answers what that answered.
fn forwarder(sidecar: SocketAddr, service: &'static str, passed: &'static [&'static str]) -> App {
    App::http(move |request| {
        let line = |name: &&str| Some(format!("{name}: {}\r\n", request.header(name)?));
        let lines: String = passed.iter().filter_map(line).collect();
        let mut wire = Wire::connect(sidecar);
        let target = request.target();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {service}.default\r\n{lines}\r\n"));
        let status = wire.message(false).map_or(502, |answer| answer.status());
        format!("HTTP/1.1 {status} Passed\r\ncontent-length: 0\r\n\r\n").into_bytes()
    })
}

fn sidecar(
    certs: &Certs,
    name: &str,
    more: &str,
    resources: &str,
    traced: &Traced<'_>,
    ratio: f32,
) -> Sidecar {
    let (folder, admin) = (Folder::new(name), free_address());
    certs.write(&folder, "server");
    std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
    folder.write("mesh/mesh.yaml", resources);
    let Traced { collector, propagation, .. } = traced;
    folder.write(
        "config.yaml",
        &format!(
            "workload: {{namespace: default, name: {name}-1, serviceAccount: server, labels: {{app: {name}}}}}\n\
             identity: {{certificate: svid.pem, key: svid.key, trustBundle: ca.pem}}\n\
             resources: [mesh/]\n{more}admin: {{listen: \"{admin}\"}}\nworkers: 1\nlog: {{level: debug}}\n\
             telemetry: {{traces: {{otlpEndpoint: \"http://{}\", protocol: http, sampleRatio: {ratio:?}, propagation: {propagation}}}}}\n",
            collector.address
        ),
    );
    Sidecar::start(folder, admin, None)
}

fn documents(service: &str, app: SocketAddr, mesh: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {service}, namespace: default}}\n\
         spec: {{selector: {{app: {service}}}, ports: [{{port: 80, targetPort: app}}]}}\n---\n\
         apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: {service}-1, namespace: default, labels: {{app: {service}}}}}\n\
         spec: {{address: 127.0.0.1, serviceAccount: server, ports: [{{name: app, port: {}, meshPort: {}}}]}}\n",
        app.port(),
        mesh.port()
    )
}

/// Each span is the child of the one before it, and within its time.
#[track_caller]
pub fn assert_nested(spans: &[Seen], root_parent: &str) {
    // Clocks of processes on one machine differ by what it takes to read them.
    const SLACK_NS: u64 = 2_000_000;
    let mut parent = root_parent.to_owned();
    let mut around: Option<Seen> = None;
    for (service, is_server) in WAY {
        let children: Vec<&Seen> = spans.iter().filter(|seen| seen.parent() == parent).collect();
        let [child] = children[..] else { panic!("{parent} has the children {children:#?}") };
        assert_eq!((&*child.service, child.is_server()), (service, is_server));
        if let Some(around) = around {
            assert_eq!(child.span.trace_id, around.span.trace_id);
            let (inner, outer) = (&child.span, &around.span);
            assert!(inner.start_time_unix_nano + SLACK_NS >= outer.start_time_unix_nano);
            assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano + SLACK_NS);
        }
        parent = child.id();
        around = Some(child.clone());
    }
}
