//! Who this sidecar is to others, and whom it speaks with now.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use crate::admin::view::View;
use crate::http::answers::timestamp;
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

pub fn connections(view: &View) -> Value {
    let now_us = clock::now_us();
    let connections: Vec<Value> = view
        .ledger
        .connections()
        .into_iter()
        .map(|connection| {
            json!({
                "direction": connection.direction.as_str(),
                "client": connection.client.to_string(),
                "listener": connection.listener.to_string(),
                "peer": connection.peer().map(|peer| peer.to_string()),
                "protocol": connection.speaks().as_str(),
                "ageMs": now_us.saturating_sub(connection.opened_us) / 1000,
                "bytesIn": connection.bytes.a_to_b.load(Relaxed),
                "bytesOut": connection.bytes.b_to_a.load(Relaxed),
                "streams": connection.streams.load(Relaxed),
            })
        })
        .collect();
    json!({"connections": connections})
}
