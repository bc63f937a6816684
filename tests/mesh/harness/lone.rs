//! A lone sidecar: the caller's, before whatever services the scenario's resources name.

use std::net::SocketAddr;

use super::{Certs, Folder, Message, Sidecar, Wire, free_address};

/// What a scenario needs, before it runs.
pub struct Lone {
    yaml: String,
    upstreams: Vec<&'static str>,
    namespace: &'static str,
    zone: Option<&'static str>,
}

/// It runs.
pub struct Afloat {
    pub sidecar: Sidecar,
    /// Its listener that takes any HTTP request by Host.
    pub by_host: SocketAddr,
    /// Its listeners for services: `echo.default:80`, then those that were added.
    pub services: Vec<SocketAddr>,
}

impl Lone {
    /// With these resources, and a listener for `echo.default:80`.
    pub fn with(yaml: &str) -> Self {
        Self {
            yaml: yaml.to_owned(),
            upstreams: vec!["echo.default:80"],
            namespace: "default",
            zone: None,
        }
    }

    /// Another listener for a service.
    pub fn upstream(mut self, service: &'static str) -> Self {
        self.upstreams.push(service);
        self
    }

    /// Where the caller is; `default` unless said.
    pub fn namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = namespace;
        self
    }

    pub fn zone(mut self, zone: &'static str) -> Self {
        self.zone = Some(zone);
        self
    }

    /// Starts the process and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Afloat {
        let folder = Folder::new("lone");
        let (by_host, admin) = (free_address(), free_address());
        Certs::new().write(&folder, "client");
        std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
        folder.write("mesh/mesh.yaml", &self.yaml);
        let services: Vec<SocketAddr> = self.upstreams.iter().map(|_| free_address()).collect();
        let upstream = |(at, name): (&SocketAddr, &&str)| {
            format!("    - {{listen: \"{at}\", service: \"{name}\"}}\n")
        };
        let upstreams: String = services.iter().zip(&self.upstreams).map(upstream).collect();
        let zone = self.zone.map(|zone| format!(", zone: {zone}")).unwrap_or_default();
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: {}, name: client-1, serviceAccount: client{zone}}}\n\
                 identity: {{certificate: svid.pem, key: svid.key, trustBundle: ca.pem}}\n\
                 log: {{level: debug}}\nresources: [mesh/]\nadmin: {{listen: \"{admin}\"}}\n\
                 workers: 1\ndrain: {{minimum: 500ms, deadline: 10s}}\n\
                 outbound:\n  listen: \"{by_host}\"\n  upstreams:\n{upstreams}",
                self.namespace
            ),
        );
        let mut sidecar = Sidecar::start(folder, admin, None);
        sidecar.wait_ready();
        Afloat { sidecar, by_host, services }
    }
}

impl Afloat {
    /// The listener for `echo.default:80`.
    pub fn echo(&self) -> SocketAddr {
        self.services[0]
    }

    /// A connection to `echo.default:80`.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        Wire::connect(self.echo())
    }

    /// One request to it, on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        self.connect().ask(request)
    }

    /// Writes its resources anew.
    pub fn rewrite(&self, yaml: &str) {
        self.sidecar.folder.write("mesh/mesh.yaml", yaml);
    }

    /// The bodies of so many answers, asked for one after the other on one connection.
    #[track_caller]
    pub fn names(&self, path: &str, count: usize) -> Vec<String> {
        let mut wire = self.connect();
        (0..count).map(|_| wire.ask(super::get(path)).text()).collect()
    }
}
