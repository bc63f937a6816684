//! What the configuration says about probes. Filled by `config`, which has already refused
//! duplicates and ports that are the sidecar's own; read once, when the listener is opened.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The listener for probes, and whom it may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Absent: there is none.
    pub listen: Option<SocketAddr>,
    pub targets: Vec<Target>,
}

impl Settings {
    /// The ports and paths where the app is asked over HTTP, without their queries.
    pub fn asked(&self) -> Vec<(u16, Box<str>)> {
        let http = self.targets.iter().filter_map(|target| match &target.ask {
            Ask::Http(Http { port, path, .. }) => Some((*port, path)),
            Ask::Tcp { .. } | Ask::Grpc(_) => None,
        });
        http.map(|(port, path)| (port, path.split('?').next().unwrap_or_default().into())).collect()
    }
}

/// One probe of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub container: String,
    pub probe: Probe,
    /// An app that takes longer has failed; 1 s unless said, as in Kubernetes.
    pub timeout: Duration,
    pub ask: Ask,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Startup,
    Liveness,
    Readiness,
}

impl Probe {
    /// Each by its name, in the configuration and in the path.
    pub const WORDS: &'static [(&'static str, Probe)] = &[
        ("startup", Probe::Startup),
        ("liveness", Probe::Liveness),
        ("readiness", Probe::Readiness),
    ];

    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, probe)| *probe == self).map_or("", |(word, _)| word)
    }
}

/// How the app is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Http(Http),
    /// It is well if it takes a connection.
    Tcp {
        port: u16,
    },
    Grpc(Grpc),
}

impl Ask {
    /// Where the app listens.
    pub fn port(&self) -> u16 {
        match self {
            Ask::Http(Http { port, .. }) | Ask::Tcp { port } | Ask::Grpc(Grpc { port, .. }) => {
                *port
            }
        }
    }
}

/// A GET that 200 to 399 answer well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub port: u16,
    /// With its query; begins with `/`, and can be sent as it is.
    pub path: String,
    /// https, without verifying who answers.
    pub is_tls: bool,
    /// What the app is called in `Host`, unless a header says it; absent: the pod's address.
    pub host: Option<String>,
    pub headers: Vec<Header>,
}

/// A header of the request; one name may stand several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: HeaderName,
    pub value: HeaderValue,
}

/// A call of `grpc.health.v1.Health/Check`, without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    pub port: u16,
    /// Empty: the server as a whole.
    pub service: String,
}
