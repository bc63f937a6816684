//! A small mesh in which everything that is counted happens: a service with a mirror, one that
//! nobody answers for, one whose last endpoint is kept, plaintext, opaque bytes.

use crate::harness::yaml::{limits, policy, workload};
use crate::harness::{App, ControlPlane, Member, Wire, eventually, refused_address, service};

pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

const SERVICES: [&str; 4] = ["web", "gone", "held", "raw"];

pub struct Scene {
    pub plane: ControlPlane,
    pub caller: Member,
    pub web: Member,
    _app: App,
    _raw: App,
}

impl Scene {
    /// It has been called in every way.
    pub fn played() -> Self {
        let plane = ControlPlane::start(&[]);
        for name in SERVICES {
            plane.apply(&service(name));
        }
        plane.apply(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {name: web, namespace: default}\n\
             spec:\n  parentRefs: [{group: '', kind: Service, name: web}]\n  rules:\n  \
             - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}]\n    \
             backendRefs: [{name: web, port: 80}]\n",
        );
        for (name, least) in [("gone", 0), ("held", 1)] {
            let circuit = format!("consecutiveFailures: 1, minReadyEndpoints: {least}");
            plane.apply(&policy(name, &format!("circuitBreaker: {{{circuit}}}")));
            plane.apply(&workload(&format!("{name}-1"), name, refused_address()));
        }
        plane.apply(&limits(
            "name: web",
            "selector: {matchLabels: {app: web}}, concurrency: {limit: 1000}, \
             limits: [{key: total, requests: 1000000, per: 1s}]",
        ));
        let app = App::http(|_| App::answer("hello"));
        let raw = App::raw(|mut wire| {
            let _ = wire.try_take(4);
            let _ = wire.try_send("pong");
        });
        plane.apply(&workload("raw-1", "raw", raw.address));
        let web = plane.instance("web-1", app.address);
        let names: Vec<String> = SERVICES.iter().map(|name| format!("{name}.default:80")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let caller = plane.caller("client-1", &names);
        for name in &names {
            eventually(&format!("{name} has an endpoint"), || caller.endpoints(name) == Some(1));
        }
        let scene = Self { plane, caller, web, _app: app, _raw: raw };
        scene.play();
        scene
    }

    fn play(&self) {
        let traced = format!(
            "POST /traced HTTP/1.1\r\nHost: web.default\r\nContent-Length: 3\r\n\
             Traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\nabc"
        );
        let mut web = Wire::connect(self.caller.upstreams[0]);
        assert_eq!(web.ask(traced).status(), 200);
        for (name, times) in [("web", 4), ("gone", 4), ("held", 4), ("nobody", 1)] {
            for _ in 0..times {
                self.caller.ask(&format!("{name}.default"));
            }
        }
        let mut raw = Wire::connect(self.caller.upstreams[3]);
        assert_eq!(raw.send("ping").take(4), b"pong");
        drop(raw);
        // In plaintext to a port that wants mutual TLS.
        let refused = Wire::connect(self.web.mesh_port).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused.status(), 403);
        for (what, family, labels) in [
            ("a mirrored request", "outrigger_mirrored_total", "outcome="),
            ("an opened circuit", "outrigger_circuit_transitions_total", "to=\"open\""),
            ("a circuit that was held", "outrigger_circuit_held_back_total", "held"),
            ("opaque bytes", "outrigger_requests_total", "protocol=\"tcp\""),
        ] {
            eventually(what, || self.caller.sidecar.metric(family, &[labels]) > 0.0);
        }
    }
}
