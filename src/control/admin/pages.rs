//! The pages: live state as JSON, and an index for people.
//!
//! Each reads the state once and computes on its own copy: no lock of the catalog or of the ledger
//! is held while a page is written.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::View;
use crate::control::catalog::Registration;
use crate::control::kube::Health;
use crate::control::plaintext::Path;
use crate::control::sessions::Session;
use crate::http::answers::{self, Answer, timestamp};
use crate::http::reasons;
use crate::model::{SpiffeId, TrustDomain};
use crate::resources::bound::{Bound, BoundEndpoint};
use crate::resources::{Address, Metadata, Resource, suggestion};

/// Who is connected and how far each has come; `newest` is what there is to know.
pub fn sessions(view: &View) -> Value {
    let newest = view.catalog.revision();
    let sessions: Vec<Value> = view.sessions.list().into_iter().map(session).collect();
    json!({"newest": newest, "sessions": sessions})
}

fn session(session: Session) -> Value {
    let refused = session
        .refused
        .map(|refused| json!({"version": refused.version, "errors": refused.errors}));
    json!({
        "workload": session.facts.workload,
        "identity": session.facts.identity.as_str(),
        "address": session.facts.address.to_string(),
        "software": session.facts.software,
        "since": timestamp(session.since),
        "lastHeardAgoMs": session.silent_for.as_millis() as u64,
        "subscriptions": session.subscriptions,
        "sent": session.sent,
        "acknowledged": session.acknowledged,
        "refused": refused,
        "policiesRefused": session.ungoverned,
        "certificateEnds": timestamp(session.facts.certificate_ends),
    })
}

/// How each kind of object in the cluster is watched, and how old what is known of it is.
pub fn watches(view: &View) -> Value {
    json!({"watches": view.health.as_ref().map(Health::shown)})
}

/// Every port of every service, and who serves it.
pub fn services(view: &View) -> Value {
    let services = view.catalog.services();
    let services: Vec<Value> =
        services.iter().map(|(served, changed_at)| service(&served.bound, *changed_at)).collect();
    json!({"revision": view.catalog.revision(), "services": services})
}

fn service(bound: &Bound, changed_at: u64) -> Value {
    json!({
        "name": bound.name.to_string(),
        "protocol": bound.protocol.as_str(),
        "clusterIPs": bound.cluster_ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "headless": bound.headless,
        "changedAtRevision": changed_at,
        "attachments": bound.attachments.iter().map(|each| attachment(each)).collect::<Vec<_>>(),
        "endpoints": bound.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// `HTTPRoute web.shop`
fn attachment(resource: &Resource) -> String {
    let Metadata { name, namespace, .. } = resource.metadata();
    format!("{} {name}.{namespace}", resource.kind())
}

fn endpoint(endpoint: &BoundEndpoint) -> Value {
    json!({
        "workload": &*endpoint.workload,
        "address": address(&endpoint.address),
        "port": endpoint.port,
        "meshPort": endpoint.mesh_port,
        "identity": endpoint.identity.as_ref().map(SpiffeId::as_str),
    })
}

/// Who still came in plaintext in the last hour.
pub fn plaintext(view: &View) -> Value {
    let seen = view.plaintext.seen(None, &view.catalog, SystemTime::now());
    let moment = |ms: i64| jiff::Timestamp::from_millisecond(ms).ok().map(|at| at.to_string());
    let path = |path: &Path| {
        json!({
            "workload": path.workload,
            "port": path.port,
            "address": path.address.to_string(),
            "caller": path.caller,
            "connections": path.connections,
            "first": moment(path.first_ms),
            "last": moment(path.last_ms),
        })
    };
    json!({
        "watchingSince": moment(seen.since_ms),
        "paths": seen.paths.iter().map(path).collect::<Vec<_>>(),
        "leftOut": seen.left_out,
    })
}

/// What sidecars registered, and how long each registration lasts.
pub fn registrations(view: &View) -> Value {
    let trust_domain = view.catalog.trust_domain();
    let registrations: Vec<Value> = view
        .catalog
        .registrations()
        .iter()
        .map(|registration| registered(view, registration, &trust_domain))
        .collect();
    json!({"registrations": registrations})
}

fn registered(view: &View, registration: &Registration, trust_domain: &TrustDomain) -> Value {
    let workload = &registration.workload;
    let (name, namespace) = (&workload.metadata.name, &workload.metadata.namespace);
    let identity = workload
        .service_account
        .as_ref()
        .and_then(|account| SpiffeId::new(trust_domain, namespace, account));
    let since = jiff::Timestamp::from_millisecond(registration.created_ms).ok();
    json!({
        "workload": format!("{name}.{namespace}"),
        "identity": identity.as_ref().map(SpiffeId::as_str),
        "address": address(&workload.address),
        "since": since.map(|since| since.to_string()),
        "revision": registration.version,
        "lease": (view.lease_of)(&registration.name()),
    })
}

fn address(address: &Address) -> String {
    match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Host(host) => host.clone(),
    }
}

/// `/reasons`, or what to do about one of them.
pub fn reason(word: &str) -> Answer {
    reasons::answer(word, |word| suggestion(word, reasons::words(), String::new))
}

/// A page for people: what this is, whether it is well, and where to look on.
pub fn index(view: &View) -> Answer {
    let missing = view.readiness.missing();
    let state = match missing.is_empty() {
        true => "ready".to_owned(),
        false => format!("waiting for {}", missing.join(", ")),
    };
    let (sessions, counts) = (view.sessions.counts(), view.catalog.counts());
    let cluster = match &view.health {
        Some(health) => health.sentence(),
        None => "none: the mesh is what people apply and sidecars register".to_owned(),
    };
    let rows = [
        ("state", state),
        ("cluster", cluster),
        ("trust domain", view.catalog.trust_domain().to_string()),
        ("connected sidecars", sessions.live.to_string()),
        ("of them behind", sessions.behind.to_string()),
        ("of them refusing an update", sessions.refusing.to_string()),
        ("services", counts.services.to_string()),
        ("registrations", counts.registrations.to_string()),
        ("pods", counts.pods.to_string()),
        ("resources", counts.resources.to_string()),
        ("revision", view.catalog.revision().to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let links = [
        "/sessions",
        "/services",
        "/registrations",
        "/plaintext",
        "/watches",
        "/ca",
        "/config",
        "/metrics",
        "/ready",
        "/log",
        "/reasons",
    ];
    answers::index("control plane", &rows, &links, "<code>POST /log?level=debug</code>")
}
