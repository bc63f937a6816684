//! Where requests go: services with their weights, and services that get copies.

use super::filters::{Place, filters};
use super::parents::core;
use crate::model::{Backend, Mirror, ServiceName, Share};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::names::dns_label;
use crate::resources::node::{Node, quote};
use crate::resources::scalar::{integer, port, text};

/// The `backendRefs` of a rule. All of weight 0 is as good as none, and as legal.
pub(super) fn backends(
    node: &Node,
    decoder: &mut Decoder,
    place: Place<'_>,
) -> Option<Vec<Backend>> {
    list(node, decoder, |node, decoder| backend(node, decoder, place))
}

fn backend(node: &Node, decoder: &mut Decoder, place: Place<'_>) -> Option<Backend> {
    let mut fields = Fields::open(node, decoder)?;
    let service = service(&mut fields, place.namespace);
    let weight = fields.optional("weight", integer(0..=1_000_000));
    let place = Place { on_backend: true, ..place };
    let filters = fields.optional("filters", |node, decoder| filters(node, decoder, place));
    fields.close();
    Some(Backend {
        service: service?,
        weight: weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1),
        filters: filters.unwrap_or_default(),
    })
}

/// The service that a reference names; `namespace` is the route's.
fn service(fields: &mut Fields<'_, '_>, namespace: &str) -> Option<ServiceName> {
    let kind = fields.optional("kind", text);
    let group = fields.optional("group", text);
    match kind.filter(|kind| kind != "Service") {
        Some(kind) => {
            fields.fault("kind", format!("only Service is supported, found {}", quote(&kind)))
        }
        None => core(fields, group.as_deref()),
    }
    let name = fields.required("name", dns_label);
    let own = fields.optional("namespace", dns_label);
    let port = fields.required("port", port);
    let namespace = own.as_deref().unwrap_or(namespace).into();
    Some(ServiceName { name: name?.into(), namespace, port: port? })
}

/// A `requestMirror`: all requests, unless it says a share.
pub(super) fn mirror(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<Mirror> {
    let mut fields = Fields::open(node, decoder)?;
    let service = fields.required("backendRef", |node, decoder| {
        let mut fields = Fields::open(node, decoder)?;
        let service = service(&mut fields, namespace);
        fields.close();
        service
    });
    let percent = fields.optional("percent", integer(0..=100));
    let fraction = fields.optional("fraction", fraction);
    if !fields.is_absent("percent") && !fields.is_absent("fraction") {
        fields.fault("fraction", "says the same as percent: give one of both");
    }
    fields.close();
    let percent = percent.and_then(|percent| u32::try_from(percent).ok());
    let share = percent.map(|percent| Share(percent * (Share::ALL.0 / 100))).or(fraction);
    Some(Mirror { service: service?, share: share.unwrap_or(Share::ALL) })
}

/// Kept in millionths, rounded; what would round to nothing is refused.
fn fraction(node: &Node, decoder: &mut Decoder) -> Option<Share> {
    let mut fields = Fields::open(node, decoder)?;
    let most = i64::from(i32::MAX);
    let numerator = fields.required("numerator", integer(0..=most));
    let denominator = fields.optional("denominator", integer(1..=most));
    let whole = denominator.or_else(|| fields.is_absent("denominator").then_some(100));
    let (Some(part), Some(whole)) = (numerator, whole) else {
        fields.close();
        return None;
    };
    let millionths = (part * i64::from(Share::ALL.0) + whole / 2) / whole;
    if part > whole {
        fields.fault("numerator", format!("is more than the denominator, {whole}"));
    } else if part > 0 && millionths == 0 {
        fields.fault("numerator", "comes to less than one in a million");
    }
    fields.close();
    u32::try_from(millionths).ok().map(Share)
}
