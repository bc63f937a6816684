//! The scene of an attack: an app behind its sidecar, a caller's sidecar, and the doors by which
//! attackers come: in plaintext, as somebody of the mesh, or by the caller's HTTP proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::harness::yaml::access;
use crate::harness::{App, Mesh, Pair, Sidecar, Wire, get, tls};

/// Where an attacker comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The app's sidecar, which lets plaintext in.
    Plaintext,
    /// The same by mutual TLS, with a certificate that is good.
    Mesh,
    /// The caller's sidecar, as an HTTP proxy; what gets through goes on by mutual TLS.
    Proxy,
}

pub struct Scene {
    pub mesh: Mesh,
    pub app: App,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

/// Anything that bytes go through.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// An attacker's connection. The second handle is on the same socket.
pub type Line = (Wire<Box<dyn Stream>>, TcpStream);

impl Scene {
    /// The app's port declares HTTP, and anybody may call.
    pub fn of(app: App) -> Self {
        Self::under(app, "mtls: permissive", "")
    }

    /// The same under another policy, and with resources of the caller's sidecar.
    pub fn under(app: App, spec: &str, resources: &str) -> Self {
        let pair = Pair::of(&app).declared("http");
        let pair = pair.inbound_resources(&access("name: all", spec)).resources(resources);
        let mesh = pair.start();
        let mallory = mesh.certs.issue("mallory");
        let config = |alpn| Arc::new(tls::client(Some(&mallory), &[alpn]));
        let (h1, h2) = (config("outrigger-h1"), config("outrigger-h2"));
        let scene = Self { mesh, app, h1, h2 };
        for door in [Door::Plaintext, Door::Mesh, Door::Proxy] {
            // What is made once is made now.
            scene.ask_as_neighbour(door);
            assert_eq!(scene.http1(door).0.ask(get("/warm")).status(), 200, "{door:?}");
        }
        scene
    }

    pub fn victim(&self, door: Door) -> &Sidecar {
        match door {
            Door::Plaintext | Door::Mesh => self.mesh.inbound(),
            Door::Proxy => &self.mesh.outbound,
        }
    }

    /// Where somebody else comes in who does nobody any harm.
    pub fn neighbour_of(&self, door: Door) -> SocketAddr {
        match door {
            Door::Plaintext | Door::Mesh => self.mesh.mesh_ports[0],
            Door::Proxy => self.mesh.by_host,
        }
    }

    pub fn ask_as_neighbour(&self, door: Door) {
        let answer = Wire::connect(self.neighbour_of(door)).ask(get("/neighbour"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// A connection that is to carry HTTP/1.
    pub fn http1(&self, door: Door) -> Line {
        self.line(door, &self.h1)
    }

    /// One that is to carry HTTP/2; nothing was sent yet.
    pub fn http2(&self, door: Door) -> Line {
        self.line(door, &self.h2)
    }

    fn line(&self, door: Door, config: &Arc<ClientConfig>) -> Line {
        let stream = Wire::connect(self.neighbour_of(door)).stream;
        let twin = stream.try_clone().expect("a descriptor is left");
        let stream: Box<dyn Stream> = match door {
            Door::Plaintext | Door::Proxy => Box::new(stream),
            Door::Mesh => {
                let shaken = tls::shake_hands(stream, ClientConfig::clone(config));
                Box::new(shaken.expect("it is let in").stream)
            }
        };
        (Wire::over(stream), twin)
    }
}
