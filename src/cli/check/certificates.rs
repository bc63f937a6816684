//! How long the mesh's own certificates last, and whether every namespace knows its roots.
//!
//! Roots are read from the trust bundle, which anybody may see; the issuer from the control plane's
//! Secret, by those who may.

use jiff::Timestamp;
use serde_json::Value;

use super::cluster::Cluster;
use super::finding::Finding;
use super::injector::decoded;
use super::place::{name, some_of, text};
use crate::control::kube::trust::CONFIG_MAP;

const ROOTS: &str = "roots";
const ISSUER: &str = "issuer";
const BUNDLES: &str = "trust bundles";

/// Of the control plane's own namespace.
pub(super) const BUNDLE: &str =
    "/api/v1/namespaces/outrigger-system/configmaps/outrigger-trust-bundle";
const KEYS: &str = "/api/v1/namespaces/outrigger-system/secrets/outrigger-control-plane";

/// In days: a root is replaced by a person, an issuer by the control plane itself.
const ROOT_SOON: i64 = 30;
const ISSUER_SOON: i64 = 2;

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let now = Timestamp::now();
    let own = match cluster.object(BUNDLE).await {
        Ok(Some(own)) => own,
        Ok(None) => {
            let cure = "the control plane's leader writes it: its log says what keeps it from that";
            return vec![Finding::failed(ROOTS, format!("{CONFIG_MAP} is not there"), cure)];
        }
        Err(why) => return vec![Finding::remark(ROOTS, why, "ask for the right to look")],
    };
    let mut all = vec![expiry(ROOTS, text(&own["data"]["ca.pem"]), ROOT_SOON, now)];
    match cluster.object(KEYS).await {
        Ok(Some(keys)) => {
            let issuer = decoded(text(&keys["data"]["issuer.pem"]));
            all.push(expiry(ISSUER, &issuer, ISSUER_SOON, now));
        }
        Ok(None) => {
            let cure =
                "the control plane makes it when it starts: its log says what keeps it from that";
            all.push(Finding::failed(
                ISSUER,
                "the Secret outrigger-control-plane is not there",
                cure,
            ));
        }
        // As it should be for most people.
        Err(_) => {}
    }
    let maps = format!("/api/v1/configmaps?fieldSelector=metadata.name%3D{CONFIG_MAP}");
    if let (Ok(namespaces), Ok(maps)) =
        (cluster.list("/api/v1/namespaces").await, cluster.list(&maps).await)
    {
        all.push(bundles(&namespaces, &maps, &own));
    }
    all
}

/// The certificates of a text, each as its bytes.
pub(super) fn certificates(text: &str) -> Vec<Vec<u8>> {
    let blocks = pem::parse_many(text).unwrap_or_default();
    blocks.into_iter().filter(|of| of.tag() == "CERTIFICATE").map(|of| of.into_contents()).collect()
}

/// Whether one of them lasts.
pub(super) fn expiry(about: &'static str, text: &str, soon: i64, now: Timestamp) -> Finding {
    let ends = certificates(text).iter().filter_map(|der| end(der)).max();
    let cure = match about {
        ROOTS => "make a new root in time: it is trusted beside the old one until that has ended",
        _ => "the control plane renews it: its log says what keeps it from that",
    };
    let Some(end) = ends else {
        return Finding::failed(about, "there is no certificate in it", cure);
    };
    let says = format!("until {}", end.strftime("%Y-%m-%d %H:%M UTC"));
    match end.duration_since(now).as_hours() / 24 {
        _ if end <= now => Finding::failed(about, format!("ended: {says}"), cure),
        days if days < soon => Finding::remark(about, says, cure),
        _ => Finding::fine(about, says),
    }
}

fn end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// Whether each namespace has the same roots as the control plane's.
pub(super) fn bundles(namespaces: &[Value], maps: &[Value], own: &Value) -> Finding {
    let roots = text(&own["data"]["ca.pem"]);
    let there =
        |namespace: &str| maps.iter().find(|map| text(&map["metadata"]["namespace"]) == namespace);
    let active =
        || namespaces.iter().filter(|of| text(&of["status"]["phase"]) != "Terminating").map(name);
    let cure = "the control plane's leader writes it: its log says what keeps it from that";
    let missing: Vec<&str> = active().filter(|namespace| there(namespace).is_none()).collect();
    if !missing.is_empty() {
        return Finding::failed(BUNDLES, format!("missing in {}", some_of(&missing)), cure);
    }
    let differs = |namespace: &&str| {
        there(namespace).is_some_and(|map| text(&map["data"]["ca.pem"]) != roots)
    };
    let others: Vec<&str> = active().filter(differs).collect();
    match others.is_empty() {
        true => Finding::fine(BUNDLES, "in every namespace"),
        false => Finding::remark(BUNDLES, format!("other roots in {}", some_of(&others)), cure),
    }
}
