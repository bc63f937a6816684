//! Resources as people write them, with what a scenario does not care about filled in.
//!
//! Everything is in the namespace `default`; routes have the service `echo` as their parent. Each
//! snippet begins with `---`.

use std::net::SocketAddr;

/// A service on port 80 for the workloads with its name as their label `app`; HTTP is declared.
pub fn service(name: &str) -> String {
    service_of(name, "http")
}

/// The same, with another protocol.
pub fn service_of(name: &str, protocol: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{selector: {{app: {name}}}, \
         ports: [{{port: 80, targetPort: app, appProtocol: {protocol}}}]}}\n"
    )
}

/// An instance of a service, without a sidecar.
pub fn workload(name: &str, service: &str, at: SocketAddr) -> String {
    workload_with(name, service, at, "")
}

/// The same, with more fields of its `spec`, each with its comma: `weight: 3,`.
pub fn workload_with(name: &str, service: &str, at: SocketAddr, fields: &str) -> String {
    let (address, port) = (at.ip(), at.port());
    format!(
        "---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: {name}, namespace: default, labels: {{app: {service}}}}}\n\
         spec: {{{fields} address: {address}, ports: [{{name: app, port: {port}}}]}}\n"
    )
}

/// A route with these rules, a list in block style.
pub fn http_route(name: &str, rules: &str) -> String {
    route("HTTPRoute", name, "", rules)
}

/// The same, with more lines of its `spec`.
pub fn http_route_with(name: &str, lines: &str, rules: &str) -> String {
    route("HTTPRoute", name, lines, rules)
}

pub fn grpc_route(name: &str, rules: &str) -> String {
    route("GRPCRoute", name, "", rules)
}

fn route(kind: &str, name: &str, lines: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n  \
         parentRefs: [{{kind: Service, group: \"\", name: echo}}]\n{}  rules:\n{}",
        indented(lines),
        indented(rules)
    )
}

/// A policy for the callers of a service; its fields in block style.
pub fn policy(service: &str, fields: &str) -> String {
    format!(
        "---\napiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
         metadata: {{name: {service}, namespace: default}}\nspec:\n  \
         targetRefs: [{{kind: Service, name: {service}}}]\n{}",
        indented(fields)
    )
}

/// Who may call, in the namespace `default` unless the metadata say another; both in flow style.
pub fn access(metadata: &str, spec: &str) -> String {
    let namespace = if metadata.contains("namespace:") { "" } else { ", namespace: default" };
    format!(
        "---\napiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n\
         metadata: {{{metadata}{namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// How often callers may come; as [`access`].
pub fn limits(metadata: &str, spec: &str) -> String {
    access(metadata, spec).replace("AccessPolicy", "RateLimitPolicy")
}

fn indented(lines: &str) -> String {
    lines.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("  {line}\n")).collect()
}
