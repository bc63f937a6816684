//! A sidecar that joins a control plane, with or without an app behind it.

use std::net::SocketAddr;

use serde_json::Value;

use super::{ControlPlane, Folder, Message, Sidecar, Wire, free_address};

/// What a sidecar needs, before it runs.
#[derive(Clone)]
pub struct Plan {
    name: String,
    account: String,
    labels: String,
    address: SocketAddr,
    anchors: String,
    token: String,
    app: Option<SocketAddr>,
    listen: SocketAddr,
    services: Vec<String>,
    drain: &'static str,
    more: String,
}

/// A running sidecar of the mesh.
pub struct Member {
    pub sidecar: Sidecar,
    /// Where it takes the mesh's connections.
    pub mesh_port: SocketAddr,
    /// Its listener that takes any HTTP request by Host.
    pub by_host: SocketAddr,
    /// Its listeners for services, in the order in which they were named.
    pub upstreams: Vec<SocketAddr>,
}

impl ControlPlane {
    /// A sidecar of this mesh, of the service account that is its name before the last `-`; it has
    /// the label `app` of the same value, and a token that allows just that.
    #[track_caller]
    pub fn plan(&self, name: &str) -> Plan {
        let account = name.rsplit_once('-').map_or(name, |(account, _)| account);
        Plan {
            name: name.to_owned(),
            account: account.to_owned(),
            labels: format!("app: {account}"),
            address: self.address,
            anchors: self.anchors_pem(),
            token: self.token(account, &["--label", &format!("app={account}")]),
            app: None,
            listen: free_address(),
            services: Vec::new(),
            drain: "",
            more: String::new(),
        }
    }

    /// An instance: the app at this address behind its sidecar.
    #[track_caller]
    pub fn instance(&self, name: &str, app: SocketAddr) -> Member {
        self.plan(name).app(app).start()
    }

    /// A caller of these services, without an app.
    #[track_caller]
    pub fn caller(&self, name: &str, services: &[&str]) -> Member {
        services.iter().fold(self.plan(name), |plan, service| plan.calls(service)).start()
    }
}

impl Plan {
    pub fn account(mut self, account: &str) -> Self {
        self.account = account.to_owned();
        self
    }

    /// As in YAML, without braces.
    pub fn labels(mut self, labels: &str) -> Self {
        self.labels = labels.to_owned();
        self
    }

    pub fn token(mut self, token: &str) -> Self {
        self.token = token.to_owned();
        self
    }

    /// Where it is told that the control plane is.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// The app behind it.
    pub fn app(mut self, app: SocketAddr) -> Self {
        self.app = Some(app);
        self
    }

    /// Where it takes the mesh's connections.
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// How it leaves, as YAML.
    pub fn drain(mut self, yaml: &'static str) -> Self {
        self.drain = yaml;
        self
    }

    /// More lines of its configuration.
    pub fn config(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self
    }

    /// A service that it has a listener for.
    pub fn calls(mut self, service: &str) -> Self {
        self.services.push(service.to_owned());
        self
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Member {
        let mut member = self.spawn();
        member.sidecar.wait_ready();
        member
    }

    /// Starts it.
    pub fn spawn(self) -> Member {
        let folder = Folder::new(&self.name);
        let (by_host, admin) = (free_address(), free_address());
        folder.write("ca.pem", &self.anchors);
        folder.write("token", &self.token);
        let upstreams: Vec<SocketAddr> = self.services.iter().map(|_| free_address()).collect();
        let lines = self.services.iter().zip(&upstreams);
        let lines: Vec<String> = lines
            .map(|(service, listen)| format!("{{listen: \"{listen}\", service: \"{service}\"}}"))
            .collect();
        let Plan { name, account, labels, address, app, listen, drain, more, .. } = self;
        let usual = if app.is_some() { "{minimum: 500ms, deadline: 10s}" } else { "" };
        let drain = [drain, usual].into_iter().find(|yaml| !yaml.is_empty());
        let drain = drain.map(|yaml| format!("drain: {yaml}\n"));
        let app = app.map(|app| {
            format!("inbound: {{ports: [{{name: app, listen: \"{listen}\", app: \"{app}\"}}]}}\n")
        });
        folder.write(
            "config.yaml",
            &format!(
                "workload: {{namespace: default, name: {name}, serviceAccount: {account}, labels: {{{labels}}}}}\n\
                 controlPlane: {{address: \"{address}\", trustAnchors: ca.pem, tokenFile: token}}\n\
                 outbound: {{listen: \"{by_host}\", upstreams: [{}]}}\n{}{}\
                 admin: {{listen: \"{admin}\"}}\nworkers: 1\nlog: {{level: debug}}\n{more}",
                lines.join(", "),
                app.unwrap_or_default(),
                drain.unwrap_or_default(),
            ),
        );
        Member {
            sidecar: Sidecar::start(folder, admin, None),
            mesh_port: listen,
            by_host,
            upstreams,
        }
    }
}

impl Member {
    /// A request by Host, on a connection of its own.
    #[track_caller]
    pub fn ask(&self, host: &str) -> Message {
        Wire::connect(self.by_host).ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// How many endpoints it knows of a service, as `name.namespace:port`; `None`: no such service.
    #[track_caller]
    pub fn endpoints(&self, service: &str) -> Option<u64> {
        let page = self.sidecar.json("/services");
        let list = page["services"].as_array().expect("a list");
        list.iter().find(|one| one["name"] == service)?["endpoints"].as_u64()
    }

    /// How it stands with the control plane.
    #[track_caller]
    pub fn link(&self) -> Value {
        self.sidecar.json("/services")["controlPlane"].clone()
    }

    /// What the metric says of it.
    pub fn is_connected(&self) -> bool {
        self.sidecar.metric("outrigger_control_plane_connected", &[]) == 1.0
    }

    /// The serial number of the certificate in use.
    #[track_caller]
    pub fn serial(&self) -> String {
        self.sidecar.json("/certs")["serial"].as_str().expect("a serial number").to_owned()
    }
}
