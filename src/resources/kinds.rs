//! The kinds of resources: one row of a table each. A new kind is a file with
//! a `decode` function and a row here.

use std::sync::Arc;

use super::access_policy::{self, AccessPolicy};
use super::decode::{Decoder, Fields};
use super::fault::suggestion;
use super::metadata::{self, Metadata};
use super::node::{Node, Value};
use super::rate_limit_policy::{self, RateLimitPolicy};
use super::route::{self, GrpcRoute, HttpRoute};
use super::scalar::text;
use super::service::{self, Service};
use super::sketch::Sketch;
use super::traffic_policy::{self, TrafficPolicy};
use super::workload::{self, Workload};

/// Something that a file, the control plane or Kubernetes says about the mesh.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A name and its ports.
    Service(Service),
    /// A running instance.
    Workload(Workload),
    HttpRoute(HttpRoute),
    GrpcRoute(GrpcRoute),
    /// How callers treat a service; boxed, because it is several times as large as the others.
    TrafficPolicy(Box<TrafficPolicy>),
    /// Who may call a workload.
    AccessPolicy(Arc<AccessPolicy>),
    /// How often a workload may be called.
    RateLimitPolicy(Arc<RateLimitPolicy>),
}

impl Resource {
    /// As written in its manifest.
    pub fn kind(&self) -> &'static str {
        match self {
            Resource::Service(_) => "Service",
            Resource::Workload(_) => "Workload",
            Resource::HttpRoute(_) => "HTTPRoute",
            Resource::GrpcRoute(_) => "GRPCRoute",
            Resource::TrafficPolicy(_) => "TrafficPolicy",
            Resource::AccessPolicy(_) => "AccessPolicy",
            Resource::RateLimitPolicy(_) => "RateLimitPolicy",
        }
    }

    /// Name, namespace, labels and where it was read.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Resource::Service(service) => &service.metadata,
            Resource::Workload(workload) => &workload.metadata,
            Resource::HttpRoute(route) => &route.metadata,
            Resource::GrpcRoute(route) => &route.metadata,
            Resource::TrafficPolicy(policy) => &policy.metadata,
            Resource::AccessPolicy(policy) => &policy.metadata,
            Resource::RateLimitPolicy(policy) => &policy.metadata,
        }
    }
}

type Decode = fn(Option<Metadata>, &Node, &mut Decoder) -> Option<Resource>;

struct Kind {
    name: &'static str,
    api_version: &'static str,
    /// Whether its name is part of a host name, so one DNS label.
    label_name: bool,
    decode: Decode,
}

const OUTRIGGER: &str = "outrigger.dev/v1alpha1";
const GATEWAY: &str = "gateway.networking.k8s.io/v1";

const KINDS: &[Kind] = &[
    Kind {
        name: "Service",
        api_version: "v1",
        label_name: true,
        decode: |metadata, spec, decoder| {
            service::decode(metadata, spec, decoder).map(Resource::Service)
        },
    },
    Kind {
        name: "Workload",
        api_version: OUTRIGGER,
        label_name: false,
        decode: |metadata, spec, decoder| {
            workload::decode(metadata, spec, decoder).map(Resource::Workload)
        },
    },
    Kind {
        name: "HTTPRoute",
        api_version: GATEWAY,
        label_name: false,
        decode: |metadata, spec, decoder| {
            route::http(metadata, spec, decoder).map(Resource::HttpRoute)
        },
    },
    Kind {
        name: "GRPCRoute",
        api_version: GATEWAY,
        label_name: false,
        decode: |metadata, spec, decoder| {
            route::grpc(metadata, spec, decoder).map(Resource::GrpcRoute)
        },
    },
    Kind {
        name: "TrafficPolicy",
        api_version: OUTRIGGER,
        label_name: false,
        decode: |metadata, spec, decoder| {
            let policy = traffic_policy::decode(metadata, spec, decoder)?;
            Some(Resource::TrafficPolicy(Box::new(policy)))
        },
    },
    Kind {
        name: "AccessPolicy",
        api_version: OUTRIGGER,
        label_name: false,
        decode: |metadata, spec, decoder| {
            let policy = access_policy::decode(metadata, spec, decoder)?;
            Some(Resource::AccessPolicy(Arc::new(policy)))
        },
    },
    Kind {
        name: "RateLimitPolicy",
        api_version: OUTRIGGER,
        label_name: false,
        decode: |metadata, spec, decoder| {
            let policy = rate_limit_policy::decode(metadata, spec, decoder)?;
            Some(Resource::RateLimitPolicy(Arc::new(policy)))
        },
    },
];

/// The names of all kinds that a manifest may have.
pub fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.iter().map(|kind| kind.name)
}

/// A kind by its exact name.
///
/// # Errors
/// Why there can be no resource of it, and what may have been meant.
pub fn kind(name: &str) -> Result<&'static str, String> {
    find(name).map(|kind| kind.name)
}

fn find(name: &str) -> Result<&'static Kind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| unknown(name))
}

/// What the decoder of a kind takes below `spec`.
pub fn sketch(name: &str) -> Option<Sketch> {
    find(name).ok().map(|kind| {
        Sketch::of(name, |spec, decoder| {
            (kind.decode)(None, spec, decoder);
        })
    })
}

/// Decodes one document: a resource, a `List` of them, or nothing.
pub(super) fn document(
    node: &Node,
    default_namespace: &str,
    decoder: &mut Decoder,
    into: &mut Vec<Resource>,
) {
    if node.is_null() {
        return;
    }
    let Some(mut fields) = Fields::open(node, decoder) else {
        return;
    };
    let api_version = fields.required("apiVersion", text);
    let Some(name) = fields.required("kind", text) else {
        return;
    };
    if name == "List" {
        return items(fields, default_namespace, into);
    }
    let kind = match find(&name) {
        Ok(found) => found,
        Err(why) => return fields.fault("kind", why),
    };
    if api_version.is_some_and(|version| version != kind.api_version) {
        fields.fault("apiVersion", format!("kind {name} has apiVersion {}", kind.api_version));
    }
    let metadata = fields.required("metadata", |metadata, decoder| {
        metadata::decode(metadata, decoder, default_namespace, kind.label_name, &node.at)
    });
    let resource = fields.required("spec", |spec, decoder| (kind.decode)(metadata, spec, decoder));
    fields.ignored(&["status"]);
    fields.close();
    into.extend(resource);
}

/// What `kubectl get -o yaml` wraps several resources in.
fn items(mut fields: Fields<'_, '_>, default_namespace: &str, into: &mut Vec<Resource>) {
    fields.required("items", |node, decoder| {
        let Value::List(items) = &node.value else {
            decoder.expected("a list", node);
            return None;
        };
        for (index, item) in items.iter().enumerate() {
            decoder.item(index, |decoder| document(item, default_namespace, decoder, into));
        }
        Some(())
    });
    fields.ignored(&["metadata"]);
    fields.close();
}

fn unknown(name: &str) -> String {
    let list = || format!("; known are {}", kinds().collect::<Vec<_>>().join(", "));
    format!("unknown kind {name}{}", suggestion(name, kinds(), list))
}
