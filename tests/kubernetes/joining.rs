//! Who may join: pods with tokens of their own, and nobody else.

use serde_json::json;

use crate::harness::{Cluster, Plane, Sidecar, pod};

#[test]
fn only_a_pods_own_token_for_us_lets_it_in() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.namespace("joining", &["web", "other"]);
    let web = cluster.run_pod("joining", &pod("web-1", "web"), &["10.244.3.1"]);
    let gone = cluster.run_pod("joining", &pod("gone-1", "web"), &["10.244.3.2"]);
    let done = cluster.run_pod("joining", &pod("done-1", "web"), &["10.244.3.3"]);
    let stranger = cluster.run_pod("joining", &pod("stranger-1", "other"), &["10.244.3.4"]);
    let of = |account: &str, audience: &str, pod| cluster.token("joining", account, audience, pod);
    let good = of("web", "outrigger", Some(&web));
    let mut forged = good.clone();
    forged.truncate(good.len() - 8);
    forged.push_str("AAAAAAAA");
    let (of_gone, of_done) =
        (of("web", "outrigger", Some(&gone)), of("web", "outrigger", Some(&done)));
    cluster.delete("/api/v1/namespaces/joining/pods/gone-1");
    let finished = json!({"status": {"phase": "Succeeded"}});
    cluster.done("PATCH", "/api/v1/namespaces/joining/pods/done-1/status", &finished);
    let plane = Plane::start(&cluster);
    let rows = [
        (
            "for another audience",
            &web,
            of("web", "vault", Some(&web)),
            "the cluster does not take it",
        ),
        ("bound to no pod", &web, of("web", "outrigger", None), "it is not bound to a pod"),
        ("forged", &web, forged, "the cluster does not take it"),
        ("of a pod that is gone", &gone, of_gone, "the cluster does not take it"),
        ("of a pod that has finished", &done, of_done, "which is not there, has finished"),
        ("another's", &web, of("other", "outrigger", Some(&stranger)), "the token is for"),
        ("no token at all", &web, "hello".to_owned(), "the cluster does not take it"),
    ];
    for (what, pod, token, words) in rows {
        eprintln!("a token {what}");
        Sidecar::spawn(&plane, pod, &token, None).await_log(words);
    }
    // Of another name than its pod.
    let mut renamed = web.clone();
    renamed["metadata"]["name"] = json!("web-9");
    Sidecar::spawn(&plane, &renamed, &good, None).await_log("the certificate is that of pod web-1");
    drop(Sidecar::start(&plane, &web, &good, None));
    // A sidecar that is restarted in its pod joins again, with the same token.
    let sidecar = Sidecar::start(&plane, &web, &good, None);
    let page = sidecar.json("/certs");
    assert_eq!(page["identity"], "spiffe://cluster.local/ns/joining/sa/web");
    // Revoked is the pod, whatever certificate it has by now.
    let revoked = plane.run(&["ca", "revoke", page["serial"].as_str().expect("a serial number")]);
    assert!(revoked.status.success(), "{revoked:?}");
    sidecar.await_log("the pod is revoked");
}
