//! What may happen to a mesh, to what is asked of it, and to the session between.

use std::net::SocketAddr;

use proptest::prelude::*;

use crate::model::ServiceName;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    Service {
        name: u8,
        headless: bool,
        sticky: bool,
        gone: bool,
    },
    Workload {
        name: u8,
        app: u8,
        weight: u8,
        gone: bool,
    },
    /// Of the service's namespace, of the caller's, or of another.
    Route {
        namespace: u8,
        name: u8,
        parent: u8,
        backends: u8,
        gone: bool,
    },
    /// Of a service, of a route, of the namespace, or of the mesh.
    Policy {
        about: u8,
        name: u8,
        fallback: u8,
        gone: bool,
    },
    AskName(u8),
    AskAddress(u8),
    /// What is not used is let go: one bit a number.
    LetGo(u8),
    /// The control plane takes what it was told.
    Listen,
    /// It says what there is.
    Tell,
    /// The sidecar takes what there is.
    Hear,
    /// It refuses the first.
    Refuse,
    /// The session breaks and another begins, perhaps with another control plane.
    Reconnect {
        same: bool,
    },
}

pub fn step() -> impl Strategy<Value = Step> {
    let few = || 0..4u8;
    prop_oneof![
        3 => (few(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(name, headless, sticky, gone)| Step::Service { name, headless, sticky, gone }
        ),
        4 => (few(), few(), 1..3u8, any::<bool>())
            .prop_map(|(name, app, weight, gone)| Step::Workload { name, app, weight, gone }),
        5 => (0..3u8, 0..2u8, few(), 0..16u8, any::<bool>()).prop_map(
            |(namespace, name, parent, backends, gone)| Step::Route {
                namespace, name, parent, backends, gone
            }
        ),
        3 => (few(), 0..2u8, 0..5u8, any::<bool>())
            .prop_map(|(about, name, fallback, gone)| Step::Policy { about, name, fallback, gone }),
        3 => few().prop_map(Step::AskName),
        2 => few().prop_map(Step::AskAddress),
        2 => any::<u8>().prop_map(Step::LetGo),
        4 => Just(Step::Listen),
        4 => Just(Step::Tell),
        4 => Just(Step::Hear),
        1 => Just(Step::Refuse),
        2 => any::<bool>().prop_map(|same| Step::Reconnect { same }),
    ]
}

pub fn service(name: u8) -> ServiceName {
    ServiceName::parse(&format!("s{name}.shop:80"), "").expect("a name")
}

/// Cluster addresses of services, and addresses of workloads.
pub fn address(number: u8) -> SocketAddr {
    match number {
        0 | 1 => ([10, 0, 0, number + 1], 80).into(),
        other => ([10, 0, 1, other + 1], 8080).into(),
    }
}

impl Step {
    /// What is applied, and whether it is deleted instead.
    pub fn resource(&self) -> (String, bool) {
        match *self {
            Step::Service { name, headless, sticky, gone } => {
                let ip = if headless { "None".into() } else { format!("10.0.0.{}", name + 1) };
                let affinity = if sticky { "ClientIP" } else { "None" };
                let text = format!(
                    "{{apiVersion: v1, kind: Service, metadata: {{name: s{name}}}, \
                     spec: {{selector: {{app: a{name}}}, clusterIP: {ip}, \
                     sessionAffinity: {affinity}, ports: [{{port: 80, targetPort: 8080}}]}}}}"
                );
                (text, gone)
            }
            Step::Workload { name, app, weight, gone } => {
                let text = format!(
                    "{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, \
                     metadata: {{name: w{name}, labels: {{app: a{app}}}}}, \
                     spec: {{address: 10.0.1.{}, serviceAccount: a, weight: {weight}, \
                     ports: [{{port: 8080}}]}}}}",
                    name + 1
                );
                (text, gone)
            }
            Step::Route { namespace, name, parent, backends, gone } => (
                route(["shop", "front", "other"][usize::from(namespace)], name, parent, backends),
                gone,
            ),
            Step::Policy { about, name, fallback, gone } => (policy(about, name, fallback), gone),
            _ => unreachable!("it is no change of a resource"),
        }
    }
}

fn route(namespace: &str, name: u8, parent: u8, backends: u8) -> String {
    let backend = |n: u8| format!("{{name: s{n}, namespace: shop, port: 80}}");
    let backends: Vec<String> = (0..4).filter(|n| backends >> n & 1 == 1).map(backend).collect();
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, \
         metadata: {{name: r{name}, namespace: {namespace}}}, \
         spec: {{parentRefs: [{{group: '', kind: Service, name: s{parent}, namespace: shop}}], \
         rules: [{{backendRefs: [{}]}}]}}}}",
        backends.join(", ")
    )
}

fn policy(about: u8, name: u8, fallback: u8) -> String {
    let target = match about {
        0 => format!("targetRefs: [{{kind: Service, name: s{name}}}], "),
        1 => format!("targetRefs: [{{kind: HTTPRoute, name: r{name}}}], "),
        _ => String::new(),
    };
    let namespace = if about == 3 { "outrigger-system" } else { "shop" };
    // One of them is not there, and one says nothing.
    let part = match fallback {
        4 => "timeouts: {request: 1s}".to_owned(),
        n => format!("fallback: {{service: \"s{n}.shop:80\"}}"),
    };
    format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: TrafficPolicy, \
         metadata: {{name: p{about}{name}, namespace: {namespace}}}, spec: {{{target}{part}}}}}"
    )
}
