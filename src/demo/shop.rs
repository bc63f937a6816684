//! Who there is in the shop, who calls whom, and which address each of them has.
//!
//! Everything is on loopback. The apps' listeners are open from the beginning; the ports of the
//! sidecars are held until just before they start.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::ports::Ports;

/// The namespace of everything here.
pub(super) const NAMESPACE: &str = "shop";

/// A service, or a workload that only calls others.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// What callers dial; absent: nobody does.
    pub(super) port: Option<u16>,
    /// What its callers speak. The mesh isn't told but of gRPC: it finds out. An HTTP/2 server
    /// speaks first as some TCP servers do, so that a caller who is slow to say its first word could
    /// be of either.
    pub(super) protocol: &'static str,
    instances: usize,
    pub(super) calls: &'static [&'static str],
}

pub(super) const SERVICES: [Service; 5] = [
    Service { name: "shopper", port: None, protocol: "", instances: 1, calls: &["web"] },
    Service {
        name: "web",
        port: Some(80),
        protocol: "http",
        instances: 2,
        calls: &["orders", "prices"],
    },
    Service { name: "orders", port: Some(80), protocol: "http", instances: 2, calls: &["ledger"] },
    Service { name: "prices", port: Some(50051), protocol: "grpc", instances: 2, calls: &[] },
    Service { name: "ledger", port: Some(7000), protocol: "tcp", instances: 2, calls: &[] },
];

impl Service {
    /// What the mesh is told of the protocol.
    pub(super) fn declared(&self) -> Option<&'static str> {
        (self.protocol == "grpc").then_some(self.protocol)
    }
}

/// The service of a name that [`SERVICES`] mentions.
pub(super) fn service(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// One running app and the addresses around it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) service: &'static Service,
    /// Such as `orders-2`.
    pub(super) name: String,
    /// Such as `v2`: there is one instance of each.
    pub(super) version: String,
    /// Where its sidecar answers questions.
    pub(super) admin: SocketAddr,
    pub(super) inbound: Option<Inbound>,
    /// Where its sidecar takes calls, by the service called.
    pub(super) upstreams: Vec<(&'static Service, SocketAddr)>,
}

/// The labels of an instance; `app` is its service account too.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) app: &'static str,
    pub(super) version: String,
}

/// The way to an app.
#[derive(Debug)]
pub(super) struct Inbound {
    /// The app's own.
    pub(super) app: SocketAddr,
    /// Its sidecar's.
    pub(super) mesh: SocketAddr,
    /// Until the app takes it.
    pub(super) listener: Option<TcpListener>,
}

/// All instances, and the ports that are still held for their sidecars.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) instances: Vec<Instance>,
    pub(super) ports: Ports,
}

impl Shop {
    /// Gives everything an address.
    ///
    /// # Errors
    /// The system's, when it has no port left.
    pub(super) fn lay_out() -> io::Result<Shop> {
        let (mut ports, mut instances) = (Ports::new(), Vec::new());
        for service in &SERVICES {
            for number in 1..=service.instances {
                instances.push(Instance::lay_out(service, number, &mut ports)?);
            }
        }
        Ok(Shop { instances, ports })
    }
}

impl Instance {
    fn lay_out(service: &'static Service, number: usize, ports: &mut Ports) -> io::Result<Self> {
        let inbound = service.port.map(|_| Inbound::lay_out(ports)).transpose()?;
        let called = service.calls.iter().filter_map(|name| self::service(name));
        let upstreams =
            called.map(|called| Ok((called, ports.hold()?))).collect::<io::Result<Vec<_>>>()?;
        let (name, version) = (format!("{}-{number}", service.name), format!("v{number}"));
        Ok(Instance { service, name, version, admin: ports.hold()?, inbound, upstreams })
    }

    /// What services select it by.
    pub(super) fn labels(&self) -> Labels {
        Labels { app: self.service.name, version: self.version.clone() }
    }

    /// Makes room for its sidecar's listeners.
    pub(super) fn release(&self, ports: &mut Ports) {
        let upstreams = self.upstreams.iter().map(|(_, address)| *address);
        let mesh = self.inbound.iter().map(|inbound| inbound.mesh);
        upstreams.chain(mesh).chain([self.admin]).for_each(|address| ports.release(address));
    }

    /// Where this instance's sidecar takes calls for a service.
    pub(super) fn upstream(&self, service: &str) -> Option<SocketAddr> {
        let found = self.upstreams.iter().find(|(called, _)| called.name == service);
        found.map(|(_, address)| *address)
    }
}

impl Inbound {
    /// # Errors
    /// The system's, when it has no port left.
    pub(super) fn lay_out(ports: &mut Ports) -> io::Result<Inbound> {
        let listener = ports.listener()?;
        let app = listener.local_addr()?;
        Ok(Inbound { app, mesh: ports.hold()?, listener: Some(listener) })
    }

    /// The same place once more.
    ///
    /// # Errors
    /// The system's, when somebody else took it meanwhile.
    pub(super) fn again(&mut self) -> io::Result<()> {
        self.listener = Some(TcpListener::bind(self.app)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_call_has_a_service_to_go_to() {
        for service in &SERVICES {
            for called in service.calls {
                let port = self::service(called).and_then(|called| called.port);
                assert!(port.is_some(), "{} calls {called}", service.name);
            }
        }
    }

    #[test]
    fn no_address_is_given_twice() {
        let shop = Shop::lay_out().expect("ports");
        let mut all = Vec::new();
        for Instance { admin, inbound, upstreams, .. } in &shop.instances {
            all.push(*admin);
            all.extend(inbound.iter().flat_map(|inbound| [inbound.app, inbound.mesh]));
            all.extend(upstreams.iter().map(|(_, address)| *address));
        }
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(shop.instances.len(), 9);
        assert!(shop.instances[0].upstream("web").is_some());
    }
}
