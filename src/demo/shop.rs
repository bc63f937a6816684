//! Who there is in the shop, who calls whom, and which address each of them has.
//!
//! Everything is on loopback, on ports that the system picks. The apps' listeners are held from
//! the beginning; those of the sidecars are held until just before the sidecars start, so that no
//! two of them can be the same.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The namespace of everything here.
pub(super) const NAMESPACE: &str = "shop";

/// A service, or a workload that only calls others.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    /// What callers dial; absent: nobody does.
    pub(super) port: Option<u16>,
    /// What its callers speak. The mesh isn't told: it finds out.
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
        instances: 1,
        calls: &["orders", "prices"],
    },
    Service { name: "orders", port: Some(80), protocol: "http", instances: 2, calls: &["ledger"] },
    Service { name: "prices", port: Some(50051), protocol: "grpc", instances: 2, calls: &[] },
    Service { name: "ledger", port: Some(7000), protocol: "tcp", instances: 2, calls: &[] },
];

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
    /// Where its sidecar answers questions.
    pub(super) admin: SocketAddr,
    pub(super) inbound: Option<Inbound>,
    /// Where its sidecar takes calls, by the service called.
    pub(super) upstreams: Vec<(&'static Service, SocketAddr)>,
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
    held: Vec<TcpListener>,
}

impl Shop {
    /// Gives everything an address.
    ///
    /// # Errors
    /// The system's, when it has no port left.
    pub(super) fn lay_out() -> io::Result<Shop> {
        let mut shop = Shop { instances: Vec::new(), held: Vec::new() };
        for service in &SERVICES {
            for number in 1..=service.instances {
                let name = format!("{}-{number}", service.name);
                let instance = shop.instance(service, name)?;
                shop.instances.push(instance);
            }
        }
        Ok(shop)
    }

    fn instance(&mut self, service: &'static Service, name: String) -> io::Result<Instance> {
        let inbound = match service.port {
            None => None,
            Some(_) => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let app = listener.local_addr()?;
                Some(Inbound { app, mesh: self.hold()?, listener: Some(listener) })
            }
        };
        let called = service.calls.iter().filter_map(|name| self::service(name));
        let upstreams =
            called.map(|called| Ok((called, self.hold()?))).collect::<io::Result<Vec<_>>>()?;
        Ok(Instance { service, name, admin: self.hold()?, inbound, upstreams })
    }

    fn hold(&mut self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        self.held.push(listener);
        Ok(address)
    }

    /// Makes room for the sidecars' listeners.
    pub(super) fn release_ports(&mut self) {
        self.held.clear();
    }

    /// Where the load goes in: the listener for `web` of the shopper's sidecar.
    pub(super) fn entrance(&self) -> SocketAddr {
        let shopper = self.of("shopper").next();
        let web = shopper.and_then(|shopper| shopper.upstream("web"));
        web.expect("the plan says that the shopper calls web")
    }

    /// The instances of a service.
    pub(super) fn of(&self, service: &str) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |instance| instance.service.name == service)
    }
}

impl Instance {
    /// Where this instance's sidecar takes calls for a service.
    pub(super) fn upstream(&self, service: &str) -> Option<SocketAddr> {
        let found = self.upstreams.iter().find(|(called, _)| called.name == service);
        found.map(|(_, address)| *address)
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
        assert_eq!(shop.of("ledger").count(), 2);
        assert_eq!(Some(shop.entrance()), shop.instances[0].upstream("web"));
    }
}
