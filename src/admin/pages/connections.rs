//! Who this sidecar is to others, and whom it speaks with now.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::admin::view::View;
use crate::http::answers::timestamp;
use crate::model::SpiffeId;
use crate::runtime::clock;

pub fn certificates(view: &View) -> Value {
    let Some(credentials) = view.credentials.load_full() else {
        return json!({"identity": null, "note": "this sidecar has no identity; it can't reach meshed endpoints or take mutual TLS"});
    };
    let (svid, bundle) = (credentials.svid(), credentials.bundle());
    let roots: Vec<Value> = bundle
        .roots()
        .iter()
        .map(|root| {
            json!({
                "subject": root.subject,
                "serial": root.serial,
                "notBefore": timestamp(root.not_before),
                "notAfter": timestamp(root.not_after),
            })
        })
        .collect();
    json!({
        "identity": svid.id().as_str(),
        "serial": svid.serial(),
        "chain": svid.chain().len(),
        "notBefore": timestamp(svid.not_before()),
        "notAfter": timestamp(svid.not_after()),
        "nextRotation": next_rotation(view),
        "bundleGeneration": bundle.generation(),
        "trustBundle": roots,
    })
}

fn next_rotation(view: &View) -> Value {
    match &view.control_plane {
        Some(status) => json!(status.facts().renews.map(timestamp)),
        None => json!("when the identity files change"),
    }
}

/// Who was let in without proving who it is, in the last hour.
pub fn plaintext(view: &View) -> Value {
    let millis = |time: std::time::Duration| time.as_millis() as u64;
    let callers: Vec<Value> = view
        .plaintext
        .all(clock::now_us())
        .into_iter()
        .map(|caller| {
            json!({
                "port": caller.port,
                "address": caller.address.to_string(),
                "connections": caller.connections,
                "firstAgoMs": millis(caller.first),
                "lastAgoMs": millis(caller.last),
            })
        })
        .collect();
    json!({"callers": callers})
}

pub fn connections(view: &View) -> Value {
    let now_us = clock::now_us();
    let connections: Vec<Value> = view
        .ledger
        .connections()
        .into_iter()
        .map(|connection| {
            let peer = connection.peer();
            json!({
                "direction": connection.direction.as_str(),
                "client": connection.client.to_string(),
                "listener": connection.listener.to_string(),
                "peer": peer.as_ref().map(SpiffeId::as_str),
                "protocol": connection.speaks().as_str(),
                "tls": if peer.is_some() { "mtls" } else { "none" },
                "ageMs": now_us.saturating_sub(connection.opened_us) / 1000,
                "bytesIn": connection.bytes.a_to_b.load(Relaxed),
                "bytesOut": connection.bytes.b_to_a.load(Relaxed),
                "streams": connection.streams.load(Relaxed),
            })
        })
        .collect();
    json!({"connections": connections})
}
