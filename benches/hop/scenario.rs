//! What the sidecar is told in each configuration.
//!
//! The 100 rules are ten routes of ten; in each ten two of every kind, and the request's is the
//! 51st, below a path, with filters of its own. No part of the policy strikes: what is measured is
//! that it might.

use std::fmt::Write as _;
use std::net::SocketAddr;

const RULES: usize = 100;
/// The rule that the request falls under.
const MATCHED: usize = 51;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    Bare,
    Full,
    Logged,
}

impl Configuration {
    pub const ALL: [Self; 3] = [Self::Bare, Self::Full, Self::Logged];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Full => "full",
            Self::Logged => "full + access log json",
        }
    }

    /// The sidecar's own file.
    pub fn config(self, listen: SocketAddr, admin: SocketAddr) -> String {
        let log = if self == Self::Logged { "json" } else { "off" };
        format!(
            "workload: {{name: client, serviceAccount: client}}\nresources: [mesh.yaml]\n\
             outbound: {{upstreams: [{{listen: \"{listen}\", service: \"app.default:80\"}}]}}\n\
             admin: {{listen: \"{admin}\"}}\nworkers: 1\n\
             telemetry: {{accessLog: {{format: {log}}}}}\n"
        )
    }

    /// The mesh.
    pub fn resources(self, app: &[SocketAddr]) -> String {
        match self {
            Self::Bare => service(&app[..1]),
            Self::Full | Self::Logged => service(app) + &routes() + POLICY,
        }
    }
}

fn service(app: &[SocketAddr]) -> String {
    let mut text = "apiVersion: v1\nkind: Service\nmetadata: {name: app}\nspec: {selector: {app: \
         app}, ports: [{name: app, port: 80, targetPort: app}]}\n"
        .to_owned();
    for (nth, address) in app.iter().enumerate() {
        let (ip, port) = (address.ip(), address.port());
        writeln!(
            text,
            "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\nmetadata: {{name: app-{nth}, \
             labels: {{app: app}}}}\nspec: {{address: {ip}, ports: [{{name: app, port: {port}}}]}}"
        )
        .expect("a string takes everything");
    }
    text
}

fn routes() -> String {
    let mut text = String::new();
    for nth in 0..RULES {
        if nth % 10 == 0 {
            text += &format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: \
                 app-{nth}}}\nspec:\n  parentRefs: [{{kind: Service, name: app, port: 80}}]\n  \
                 rules:\n"
            );
        }
        text += &rule(nth);
    }
    text
}

/// A rule of one of five kinds.
fn rule(nth: usize) -> String {
    let prefix = format!("path: {{value: /shop/prefix-{nth}}}");
    let matches = match nth % 5 {
        0 => format!("path: {{type: Exact, value: /api/v1/exact-{nth}}}"),
        1 => prefix,
        2 => format!("path: {{type: RegularExpression, value: \"/users-{nth}/[0-9]+/.*\"}}"),
        3 => format!("{prefix}, method: POST, headers: [{{name: x-version, value: \"{nth}\"}}]"),
        _ => format!("{prefix}, queryParams: [{{name: page, value: \"{nth}\"}}]"),
    };
    let filters = if nth == MATCHED { FILTERS } else { "" };
    format!(
        "    - matches: [{{{matches}}}]\n{filters}      backendRefs: [{{name: app, port: 80}}]\n"
    )
}

const FILTERS: &str = "      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier:
            set: [{name: x-tenant, value: shop}]
            remove: [x-version]
        - type: ResponseHeaderModifier
          responseHeaderModifier: {add: [{name: x-served-by, value: mesh}]}
";

const POLICY: &str = "---
apiVersion: outrigger.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: app}
spec:
  targetRefs: [{kind: Service, name: app}]
  loadBalancing: {policy: peakEwma}
  limits: {maxConnections: 1000, maxRequests: 1000, maxPendingRequests: 100}
  circuitBreaker:
    consecutiveFailures: 5
    failureRate: {threshold: 50, window: 10s, minimumRequests: 20}
    slowCalls: {threshold: 80, slowerThan: 2s}
  retry:
    maxRetries: 2
    on: [connect-failure, refused-stream, reset-before-response, gateway-error]
    statusCodes: [503, \"520-529\"]
    grpcCodes: [unavailable]
    budget: {ratio: 20, minPerSecond: 10}
  timeouts: {request: 15s, responseHeaders: 5s}
";
