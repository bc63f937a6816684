//! The control plane tells each workload its limits, and nobody who can't keep them.

use crate::harness::yaml::{access, limits};
use crate::harness::{App, ControlPlane, Wire, eventually, get, service};

#[test]
fn a_limit_holds_for_the_workloads_that_it_selects_and_goes_when_it_is_deleted() {
    let plane = ControlPlane::start(&[]);
    let app = App::ok();
    plane.apply(&service("web"));
    plane.apply(&service("db"));
    let web = plane.instance("web-1", app.address);
    let db = plane.instance("db-1", app.address);
    let names = ["web.default:80", "db.default:80"];
    let caller = plane.caller("client-1", &names);
    for name in names {
        eventually("the endpoint is known", || caller.endpoints(name) == Some(1));
    }
    let ask = |at: usize| Wire::connect(caller.upstreams[at]).ask(get("/"));
    let own = "selector: {matchLabels: {app: web}}";
    let spec = |n: u32| format!("{own}, limits: [{{key: identity, requests: {n}, per: 1h}}]");
    plane.apply(&limits("name: web", &spec(3)));
    eventually("it holds", || ask(0).status() == 429);
    assert_eq!(ask(0).reason(), Some("rate-limited"));
    assert_eq!(ask(1).status(), 200);
    let shown = web.sidecar.json("/policies")["limits"]["rates"][0].clone();
    assert_eq!(shown["policy"], "default/web", "{shown}");
    assert_eq!(db.sidecar.json("/policies")["limits"]["rates"], serde_json::json!([]));
    let table = plane.done(&["get", "ratelimitpolicies"]);
    assert!(table.contains("web") && table.contains("app=web"), "{table}");
    let refused =
        plane.try_apply(&limits("name: bad", "limits: [{key: me, requests: 1, per: 1s}]"));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    plane.apply(&limits("name: web", &spec(100)));
    eventually("it is another", || ask(0).status() == 200);
    plane.done(&["delete", "ratelimitpolicy", "web"]);
    eventually("it is gone", || {
        web.sidecar.json("/policies")["limits"]["rates"] == serde_json::json!([])
    });
}

#[test]
fn a_sidecar_that_is_too_old_for_limits_is_told_none_and_stays() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&access("name: all", "mtls: permissive"));
    plane.apply(&limits("name: all", "limits: [{key: total, requests: 1, per: 1s}]"));
    let old = plane.nobody().showing(&plane.joined("old-1"));
    assert_eq!(old.governed("old-1").expect("it stays"), 1, "the access policy alone");
    plane.await_log("1 rate-limit policies are not kept");
}
