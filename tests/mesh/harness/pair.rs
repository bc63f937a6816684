//! The pair: a caller's sidecar, and one at each instance of the service `app.default:80`.

use std::net::SocketAddr;

use super::sidecar::Sidecar;
use super::{App, Certs, Folder, Wire, free_address};

/// What a scenario needs, before it runs.
pub struct Pair {
    endpoints: Vec<Endpoint>,
    declared: &'static str,
    inbound_protocol: &'static str,
    resources: String,
    outbound: String,
    inbound: String,
    inbound_resources: Option<String>,
    drain: &'static str,
    certs: Certs,
    workers: u8,
    outbound_files: Option<u64>,
    inbound_files: Option<u64>,
    outbound_memory: Option<u64>,
}

enum Endpoint {
    /// An app behind its own sidecar.
    Meshed(SocketAddr),
    /// An app without a sidecar.
    Bare(SocketAddr),
    /// Something that listens where a sidecar of `server` should.
    Impostor(SocketAddr),
}

/// A running pair.
pub struct Mesh {
    /// The caller's sidecar.
    pub outbound: Sidecar,
    inbounds: Vec<Sidecar>,
    /// Its listener for the service.
    pub service: SocketAddr,
    /// Its listener that takes any HTTP request by Host.
    pub by_host: SocketAddr,
    /// Where the sidecars of the instances take the mesh's connections.
    pub mesh_ports: Vec<SocketAddr>,
    pub certs: Certs,
    service_yaml: String,
    extra_yaml: String,
}

impl Pair {
    /// One instance: this app behind its sidecar. Nothing declares a protocol.
    pub fn of(app: &App) -> Self {
        Self::at(app.address)
    }

    pub fn at(app: SocketAddr) -> Self {
        Self::with(vec![Endpoint::Meshed(app)])
    }

    /// One instance without a sidecar: a single hop, in plaintext.
    pub fn bare(app: SocketAddr) -> Self {
        Self::with(vec![Endpoint::Bare(app)])
    }

    /// The caller's sidecar with an endpoint that should be the sidecar of `server`.
    pub fn impostor(at: SocketAddr) -> Self {
        Self::with(vec![Endpoint::Impostor(at)])
    }

    /// No instance at all.
    pub fn empty() -> Self {
        Self::with(Vec::new())
    }

    fn with(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            declared: "auto",
            inbound_protocol: "auto",
            resources: String::new(),
            outbound: String::new(),
            inbound: String::new(),
            inbound_resources: None,
            drain: "{minimum: 500ms, deadline: 10s}",
            certs: Certs::new(),
            workers: 1,
            outbound_files: None,
            inbound_files: None,
            outbound_memory: None,
        }
    }

    /// Another instance behind a sidecar of its own.
    pub fn and(mut self, app: SocketAddr) -> Self {
        self.endpoints.push(Endpoint::Meshed(app));
        self
    }

    /// Another instance without a sidecar.
    pub fn and_bare(mut self, app: SocketAddr) -> Self {
        self.endpoints.push(Endpoint::Bare(app));
        self
    }

    /// What both the service's `appProtocol` and the app's port declare.
    pub fn declared(mut self, protocol: &'static str) -> Self {
        self.declared = protocol;
        self.inbound_protocol = protocol;
        self
    }

    /// What the app's port declares; the service says nothing.
    pub fn inbound_declared(mut self, protocol: &'static str) -> Self {
        self.inbound_protocol = protocol;
        self
    }

    /// More resource documents for the caller's sidecar.
    pub fn resources(mut self, yaml: &str) -> Self {
        self.resources.push_str(&format!("---\n{yaml}\n"));
        self
    }

    /// More lines for the caller's configuration.
    pub fn outbound_config(mut self, yaml: &str) -> Self {
        self.outbound.push_str(&format!("{yaml}\n"));
        self
    }

    /// More lines for the instances' configuration.
    pub fn inbound_config(mut self, yaml: &str) -> Self {
        self.inbound.push_str(&format!("{yaml}\n"));
        self
    }

    /// Resource documents for the instances; [`Mesh::govern`] writes them anew.
    pub fn inbound_resources(mut self, yaml: &str) -> Self {
        self.inbound_resources = Some(yaml.to_owned());
        self
    }

    /// Data-plane threads of every sidecar; 1 unless said.
    pub fn workers(mut self, workers: u8) -> Self {
        self.workers = workers;
        self
    }

    pub fn drain(mut self, yaml: &'static str) -> Self {
        self.drain = yaml;
        self
    }

    pub fn certs(mut self, certs: Certs) -> Self {
        self.certs = certs;
        self
    }

    /// How many descriptors the caller's sidecar may have.
    pub fn outbound_files(mut self, limit: u64) -> Self {
        self.outbound_files = Some(limit);
        self
    }

    /// How many bytes of memory the caller's sidecar takes for its container's limit. It needs
    /// [mounts](super::mounts).
    pub fn outbound_memory(mut self, limit: u64) -> Self {
        self.outbound_memory = Some(limit);
        self
    }

    /// How many descriptors each instance's sidecar may have.
    pub fn inbound_files(mut self, limit: u64) -> Self {
        self.inbound_files = Some(limit);
        self
    }

    /// Starts the processes and waits until they are ready.
    #[track_caller]
    pub fn start(self) -> Mesh {
        let mut inbounds = Vec::new();
        let mut mesh_ports = Vec::new();
        let mut workloads = String::new();
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            let at = match endpoint {
                Endpoint::Meshed(app) => {
                    let (sidecar, listen) = self.start_inbound(number, *app);
                    inbounds.push(sidecar);
                    listen
                }
                Endpoint::Bare(at) | Endpoint::Impostor(at) => *at,
            };
            workloads.push_str(&endpoint.workload(number, at));
            mesh_ports.push(at);
        }
        let service_yaml = service(self.declared);
        let mesh_yaml = format!("{service_yaml}{workloads}{}", self.resources);
        let (mut outbound, service, by_host) = self.start_outbound(&mesh_yaml);
        inbounds.iter_mut().for_each(Sidecar::wait_ready);
        outbound.wait_ready();
        Mesh {
            outbound,
            inbounds,
            service,
            by_host,
            mesh_ports,
            certs: self.certs,
            service_yaml,
            extra_yaml: self.resources,
        }
    }

    fn start_inbound(&self, number: usize, app: SocketAddr) -> (Sidecar, SocketAddr) {
        let folder = Folder::new("inbound");
        let (listen, admin) = (free_address(), free_address());
        self.certs.write(&folder, "server");
        let protocol = self.inbound_protocol;
        let resources = self.inbound_resources.as_ref().map_or("", |yaml| {
            std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
            folder.write("mesh/access.yaml", yaml);
            "resources: [mesh/]\n"
        });
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: default, name: app-{number}, serviceAccount: server, labels: {{app: app}}}}\n\
                 {IDENTITY}{resources}\
                 inbound:\n  ports: [{{name: app, listen: \"{listen}\", app: \"{app}\", protocol: {protocol}}}]\n\
                 admin: {{listen: \"{admin}\"}}\nworkers: {}\ndrain: {}\n{}",
                self.workers, self.drain, self.inbound
            ),
        );
        (Sidecar::start(folder, admin, self.inbound_files), listen)
    }

    fn start_outbound(&self, mesh_yaml: &str) -> (Sidecar, SocketAddr, SocketAddr) {
        let folder = Folder::new("outbound");
        let (service, by_host, admin) = (free_address(), free_address(), free_address());
        self.certs.write(&folder, "client");
        std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
        folder.write("mesh/mesh.yaml", mesh_yaml);
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: default, name: client-1, serviceAccount: client, labels: {{app: client}}}}\n\
                 {IDENTITY}resources: [mesh/]\n\
                 outbound:\n  listen: \"{by_host}\"\n  upstreams: [{{listen: \"{service}\", service: \"app.default:80\"}}]\n\
                 admin: {{listen: \"{admin}\"}}\nworkers: {}\ndrain: {}\n{}",
                self.workers, self.drain, self.outbound
            ),
        );
        if let Some(limit) = self.outbound_memory {
            std::fs::create_dir(folder.path("cgroup")).expect("the folder is writable");
            folder.write("cgroup/memory.max", &format!("{limit}\n"));
        }
        (Sidecar::start(folder, admin, self.outbound_files), service, by_host)
    }
}

impl Mesh {
    /// A connection of the app beside the caller's sidecar to the service.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        Wire::connect(self.service)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> super::Message {
        self.connect().ask(request)
    }

    /// Rewrites the resources of the first instance.
    pub fn govern(&self, yaml: &str) {
        self.inbound().folder.write("mesh/access.yaml", yaml);
    }

    /// The sidecar of the first instance.
    pub fn inbound(&self) -> &Sidecar {
        &self.inbounds[0]
    }

    pub fn inbound_mut(&mut self, number: usize) -> &mut Sidecar {
        &mut self.inbounds[number]
    }

    /// Rewrites the caller's resources: these instances without sidecars, and no others.
    pub fn replace_endpoints(&self, bare: &[SocketAddr]) {
        let workloads: String =
            bare.iter().enumerate().map(|(n, at)| Endpoint::Bare(*at).workload(n, *at)).collect();
        let yaml = format!("{}{workloads}{}", self.service_yaml, self.extra_yaml);
        self.outbound.folder.write("mesh/mesh.yaml", &yaml);
    }
}

impl Endpoint {
    fn workload(&self, number: usize, at: SocketAddr) -> String {
        let port = at.port();
        let (account, ports) = match self {
            Endpoint::Bare(_) => ("", format!("{{name: app, port: {port}}}")),
            Endpoint::Meshed(app) => (
                "serviceAccount: server, ",
                format!("{{name: app, port: {}, meshPort: {port}}}", app.port()),
            ),
            Endpoint::Impostor(_) => {
                ("serviceAccount: server, ", format!("{{name: app, port: {port}}}"))
            }
        };
        format!(
            "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
             metadata: {{name: app-{number}, namespace: default, labels: {{app: app}}}}\n\
             spec: {{address: 127.0.0.1, {account}ports: [{ports}]}}\n"
        )
    }
}

const IDENTITY: &str =
    "identity: {certificate: svid.pem, key: svid.key, trustBundle: ca.pem}\nlog: {level: debug}\n";

fn service(declared: &str) -> String {
    let protocol = match declared {
        "auto" => String::new(),
        declared => format!(", appProtocol: {declared}"),
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: app, namespace: default}}\n\
         spec: {{selector: {{app: app}}, ports: [{{port: 80, targetPort: app{protocol}}}]}}\n"
    )
}
