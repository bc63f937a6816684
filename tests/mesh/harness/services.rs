//! Many services behind one caller's sidecar, each with its policies; asked by Host.
//!
//! Their endpoints stand bare, or all behind one more sidecar that has a port for each.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{Broken, Certs, Folder, Message, Sidecar, Wire, free_address};

/// What a scenario needs, before it runs.
pub struct Services {
    documents: String,
    /// App addresses, and where the sidecar in front of them takes the mesh's connections.
    ports: Option<Vec<(SocketAddr, SocketAddr)>>,
    upstreams: Vec<String>,
    workers: u8,
    certs: Certs,
}

/// The running sidecars.
pub struct Callers {
    /// The caller's sidecar.
    pub outbound: Sidecar,
    /// Its listener that takes any HTTP request by Host.
    pub by_host: SocketAddr,
    /// Its listeners for services, in the order in which they were named.
    pub upstreams: Vec<SocketAddr>,
    mesh_ports: HashMap<SocketAddr, SocketAddr>,
    _inbound: Option<Sidecar>,
}

impl Services {
    /// Endpoints without sidecars: a single hop, in plaintext.
    pub fn bare() -> Self {
        Self {
            documents: String::new(),
            ports: None,
            upstreams: Vec::new(),
            workers: 1,
            certs: Certs::new(),
        }
    }

    /// Endpoints behind a sidecar: mutual TLS between.
    pub fn paired() -> Self {
        Self { ports: Some(Vec::new()), ..Self::bare() }
    }

    /// A service, as `name` or `name.namespace`, whose port declares `http`.
    pub fn service(self, name: &str, endpoints: &[SocketAddr]) -> Self {
        self.speaks("http", name, endpoints)
    }

    /// A service whose port declares this protocol.
    pub fn speaks(mut self, protocol: &str, name: &str, endpoints: &[SocketAddr]) -> Self {
        let (short, namespace) = split(name);
        self.documents.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {short}, namespace: {namespace}}}\n\
             spec: {{selector: {{app: {short}}}, ports: [{{port: 80, targetPort: app, appProtocol: {protocol}}}]}}\n"
        ));
        for (number, endpoint) in endpoints.iter().enumerate() {
            let workload = self.workload(short, namespace, number, *endpoint);
            self.documents.push_str(&workload);
        }
        self
    }

    fn workload(&mut self, name: &str, namespace: &str, number: usize, app: SocketAddr) -> String {
        let app_port = app.port();
        let ways = match &mut self.ports {
            None => format!("ports: [{{name: app, port: {app_port}}}]"),
            Some(ports) => {
                let mesh = free_address();
                ports.push((app, mesh));
                let mesh = mesh.port();
                format!(
                    "serviceAccount: server, ports: [{{name: app, port: {app_port}, meshPort: {mesh}}}]"
                )
            }
        };
        format!(
            "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
             metadata: {{name: {name}-{number}, namespace: {namespace}, labels: {{app: {name}}}}}\n\
             spec: {{address: 127.0.0.1, {ways}}}\n"
        )
    }

    /// A `TrafficPolicy` of a service; its spec without `targetRefs`.
    pub fn policy(self, service: &str, spec: &str) -> Self {
        let (name, namespace) = split(service);
        let target = format!("targetRefs: [{{kind: Service, name: {name}}}]\n{spec}");
        self.traffic_policy(&format!("service-{name}"), namespace, &target)
    }

    /// A `TrafficPolicy` with its whole spec.
    pub fn traffic_policy(mut self, name: &str, namespace: &str, spec: &str) -> Self {
        let lines: String = spec.trim().lines().map(|line| format!("  {line}\n")).collect();
        self.documents.push_str(&format!(
            "---\napiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
             metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n{lines}"
        ));
        self
    }

    /// An `HTTPRoute` of a service of the same name: its rules, where `SELF` stands for the service.
    pub fn route(mut self, service: &str, rules: &str) -> Self {
        let lines: String = rules.trim().lines().map(|line| format!("  {line}\n")).collect();
        let lines = lines.replace("SELF", &format!("{{name: {service}, port: 80}}"));
        self.documents.push_str(&format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{name: {service}, namespace: default}}\nspec:\n  \
             parentRefs: [{{group: \"\", kind: Service, name: {service}}}]\n  rules:\n{lines}"
        ));
        self
    }

    /// A listener of its own for a service, of any protocol.
    pub fn upstream(mut self, service: &str) -> Self {
        self.upstreams.push(service.to_owned());
        self
    }

    /// Data-plane threads of the caller's sidecar; 1 unless said.
    pub fn workers(mut self, workers: u8) -> Self {
        self.workers = workers;
        self
    }

    /// Starts the processes and waits until they are ready.
    #[track_caller]
    pub fn start(self) -> Callers {
        let mut inbound = self.ports.as_ref().map(|ports| self.start_inbound(ports));
        let folder = Folder::new("outbound");
        let (by_host, admin) = (free_address(), free_address());
        self.certs.write(&folder, "client");
        std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
        folder.write("mesh/mesh.yaml", &self.documents);
        let upstreams: Vec<SocketAddr> = self.upstreams.iter().map(|_| free_address()).collect();
        let lines = self.upstreams.iter().zip(&upstreams).map(|(service, listen)| {
            format!("{{listen: \"{listen}\", service: \"{service}.default:80\"}}")
        });
        let lines: Vec<String> = lines.collect();
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: default, name: client-1, serviceAccount: client, labels: {{app: client}}}}\n\
                 {IDENTITY}resources: [mesh/]\n\
                 outbound: {{listen: \"{by_host}\", upstreams: [{}]}}\n\
                 admin: {{listen: \"{admin}\"}}\nworkers: {}\n",
                lines.join(", "),
                self.workers,
            ),
        );
        let mut outbound = Sidecar::start(folder, admin, None);
        inbound.iter_mut().for_each(Sidecar::wait_ready);
        outbound.wait_ready();
        let mesh_ports = self.ports.into_iter().flatten().collect();
        Callers { outbound, by_host, upstreams, mesh_ports, _inbound: inbound }
    }

    fn start_inbound(&self, ports: &[(SocketAddr, SocketAddr)]) -> Sidecar {
        let folder = Folder::new("inbound");
        let admin = free_address();
        self.certs.write(&folder, "server");
        let lines = ports.iter().enumerate().map(|(number, (app, listen))| {
            format!("    - {{name: p{number}, listen: \"{listen}\", app: \"{app}\"}}\n")
        });
        let lines: String = lines.collect();
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: default, name: app-1, serviceAccount: server, labels: {{app: app}}}}\n\
                 {IDENTITY}inbound:\n  ports:\n{lines}\
                 admin: {{listen: \"{admin}\"}}\nworkers: 1\n"
            ),
        );
        Sidecar::start(folder, admin, None)
    }

    /// What the caller's sidecar is told.
    pub fn documents(&self) -> &str {
        &self.documents
    }
}

impl Callers {
    /// A request to a service, on a connection of its own; the Host line is written in.
    pub fn try_ask(&self, service: &str, request: impl AsRef<[u8]>) -> Result<Message, Broken> {
        let request = request.as_ref();
        let mut wire = self.begin(service, request);
        wire.message(request.starts_with(b"HEAD "))
    }

    /// Sends a request, and does not wait for the answer.
    #[track_caller]
    pub fn begin(&self, service: &str, request: impl AsRef<[u8]>) -> Wire {
        let request = request.as_ref();
        let (name, namespace) = split(service);
        let line = request.iter().position(|b| *b == b'\n').map_or(request.len(), |end| end + 1);
        let host = format!("Host: {name}.{namespace}\r\n");
        let mut wire = Wire::connect(self.by_host);
        wire.send([&request[..line], host.as_bytes(), &request[line..]].concat());
        wire
    }

    #[track_caller]
    pub fn ask(&self, service: &str, request: impl AsRef<[u8]>) -> Message {
        self.try_ask(service, request).unwrap_or_else(|broken| panic!("no answer: {broken:?}"))
    }

    #[track_caller]
    pub fn get(&self, service: &str) -> Message {
        self.ask(service, "GET / HTTP/1.1\r\n\r\n")
    }

    /// A POST of a byte.
    #[track_caller]
    pub fn post(&self, service: &str) -> Message {
        self.ask(service, "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
    }

    /// What the page says of the endpoint in front of this app.
    #[track_caller]
    pub fn endpoint(&self, app: SocketAddr) -> Value {
        let at = self.mesh_ports.get(&app).unwrap_or(&app).to_string();
        let page = self.outbound.json("/endpoints");
        let list = page["endpoints"].as_array().expect("a list");
        let found = list.iter().find(|one| one["address"] == at.as_str());
        found.unwrap_or_else(|| panic!("no {at} in {page}")).clone()
    }

    /// The word for its circuit.
    #[track_caller]
    pub fn state(&self, app: SocketAddr) -> String {
        self.endpoint(app)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Milliseconds until it is asked again.
    #[track_caller]
    pub fn readmit_in(&self, app: SocketAddr) -> u64 {
        let endpoint = self.endpoint(app);
        endpoint["readmitInMs"].as_u64().unwrap_or_else(|| panic!("not ejected: {endpoint}"))
    }

    /// Gives the caller's sidecar other resources; it looks every 2 s.
    pub fn rewrite(&self, documents: &str) {
        self.outbound.folder.write("mesh/mesh.yaml", documents);
    }
}

/// A name, and its namespace.
fn split(service: &str) -> (&str, &str) {
    service.split_once('.').unwrap_or((service, "default"))
}

const IDENTITY: &str = "identity: {certificate: svid.pem, key: svid.key, trustBundle: ca.pem}\n\
                        log: {level: debug}\n";
