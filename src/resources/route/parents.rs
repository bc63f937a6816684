//! Whom a route is for: the services it hangs on, and the host names it answers to.

use std::sync::Arc;

use super::ParentRef;
use crate::model::Hostname;
use crate::resources::decode::{Decoder, Fields, distinct, distinct_values, list};
use crate::resources::metadata::Metadata;
use crate::resources::names::{dns_label, dns_subdomain, is_dns_subdomain};
use crate::resources::node::{Node, Value, quote};
use crate::resources::scalar::{port, text, text_of};

/// The services of `spec.parentRefs`; `namespace` is the route's.
pub(super) fn parents(
    node: &Node,
    decoder: &mut Decoder,
    namespace: &str,
) -> Option<Vec<ParentRef>> {
    let parents = list(node, decoder, |node, decoder| parent(node, decoder, namespace))?;
    if parents.is_empty() {
        decoder.fault(&node.at, "a route needs at least one Service as its parent");
    }
    distinct(node, decoder, &parents, |parent| Some(("name", shown(parent))));
    Some(parents)
}

fn shown(ParentRef { name, namespace, port, section }: &ParentRef) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let section = section.as_ref().map(|section| format!(", port {section},")).unwrap_or_default();
    format!("Service {name}.{namespace}{port}{section}")
}

fn parent(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<ParentRef> {
    let mut fields = Fields::open(node, decoder)?;
    let kind = fields.optional("kind", text);
    let group = fields.optional("group", text);
    if fields.is_absent("kind") || kind.as_deref().is_some_and(|kind| kind != "Service") {
        let found = kind.map(|kind| format!(", not {}", quote(&kind))).unwrap_or_default();
        let message = format!(
            "a route of the mesh names a Service as its parent{found}: write `kind: Service` and `group: \"\"`"
        );
        fields.fault("kind", message);
    } else {
        core(&mut fields, group.as_deref());
    }
    let name = fields.required("name", dns_label);
    let own = fields.optional("namespace", dns_label);
    let port = fields.optional("port", port);
    let section = fields.optional("sectionName", dns_subdomain);
    fields.close();
    let namespace = own.unwrap_or_else(|| namespace.to_owned());
    Some(ParentRef { name: name?, namespace, port, section })
}

/// Services are in Kubernetes' unnamed group, which people also call `core`.
pub(super) fn core(fields: &mut Fields<'_, '_>, group: Option<&str>) {
    if let Some(group) = group.filter(|group| !matches!(*group, "" | "core")) {
        fields.fault("group", format!("a Service has group \"\", found {}", quote(group)));
    }
}

/// The route's namespace. Without metadata it is never used, but reading goes on.
pub(super) fn namespace(metadata: Option<&Metadata>) -> String {
    metadata.map_or_else(|| "default".to_owned(), |metadata| metadata.namespace.clone())
}

/// The names of `spec.hostnames`.
pub(super) fn hostnames(node: &Node, decoder: &mut Decoder) -> Option<Vec<Hostname>> {
    let names = list(node, decoder, hostname)?;
    let texts: Vec<String> = names.iter().map(written).collect();
    distinct_values(node, decoder, &texts);
    Some(names)
}

/// As it stands in a manifest.
pub(super) fn written(hostname: &Hostname) -> String {
    match hostname {
        Hostname::Exact(name) => name.to_string(),
        Hostname::Below(suffix) => format!("*{suffix}"),
    }
}

fn hostname(node: &Node, decoder: &mut Decoder) -> Option<Hostname> {
    if matches!(&node.value, Value::String(text) if text == "*") {
        decoder.fault(&node.at, "leave hostnames out to match every host");
        return None;
    }
    let text = text_of(node, decoder, "a host name or *.example.com")?;
    match text.strip_prefix("*.") {
        Some(rest) => checked(rest, node, decoder, "a host name or *.example.com")
            .map(|_| Hostname::Below(text[1..].into())),
        None => checked(text, node, decoder, "a host name or *.example.com").map(Hostname::Exact),
    }
}

/// One host, without a star.
pub(super) fn precise(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    let text = text_of(node, decoder, "a host name")?;
    checked(text, node, decoder, "a host name")
}

/// A last label of digits alone would be an IP address, or a mistyped one (RFC 3696, 2).
fn checked(name: &str, node: &Node, decoder: &mut Decoder, what: &str) -> Option<Arc<str>> {
    let numeric = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if is_dns_subdomain(name) && !numeric {
        return Some(name.into());
    }
    let what = format!("{what}, in lower case, without port, no IP address");
    decoder.expected(&what, node);
    None
}
