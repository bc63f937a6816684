//! The control plane tells each workload its rules, and asks for what they need of a sidecar.

use std::time::Duration;

use crate::harness::yaml::access;
use crate::harness::{App, ControlPlane, Wire, eventually, get, service, spiffe, within};

#[test]
fn rules_of_the_mesh_a_namespace_and_a_workload_add_up() {
    let mut plane = ControlPlane::start(&[]);
    let app = App::ok();
    plane.apply(&service("web"));
    let web = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &["web.default:80"]);
    eventually("the endpoint is known", || caller.endpoints("web.default:80") == Some(1));
    let ask = |path: &str| Wire::connect(caller.upstreams[0]).ask(get(path)).status();
    assert_eq!(ask("/"), 200);
    let own = "selector: {matchLabels: {app: web}}";
    plane.apply(&access(
        "name: web",
        &format!("{own}, rules: [{{action: allow, to: [{{paths: [\"/open/*\"]}}]}}]"),
    ));
    eventually("the workload's rule holds", || ask("/") == 403);
    assert_eq!(ask("/open/a"), 200);
    let mesh = "name: mesh, namespace: outrigger-system";
    plane.apply(&access(
        mesh,
        "mtls: permissive, rules: [{action: deny, to: [{paths: [/open/b]}]}]",
    ));
    eventually("so does the mesh's", || ask("/open/b") == 403);
    assert_eq!(ask("/open/a"), 200);
    let id = spiffe("client");
    let all = format!(
        "rules: [{{action: allow, from: [{{identities: [\"{id}\"]}}], to: [{{paths: [/c]}}]}}]"
    );
    plane.apply(&access("name: all", &all));
    eventually("and the namespace's", || ask("/c") == 200);
    assert_eq!(Wire::connect(web.mesh_port).ask(get("/c")).status(), 403);
    // A new one is in force within a second or so.
    plane.apply(&access("name: all", "audit: all"));
    plane.apply(&access("name: web", &format!("{own}, default: deny")));
    within(Duration::from_secs(2), "nothing is let in", || ask("/open/a") == 403);
    // What was said holds while nobody says more.
    plane.kill();
    assert_eq!((ask("/open/a"), ask("/c")), (403, 403));
    plane.restart();
    eventually("it is back", || web.is_connected());
    assert_eq!((ask("/open/a"), ask("/c")), (403, 403));
    let page = web.sidecar.json("/policies");
    let row = &page["inbound"][0];
    assert_eq!(row["default"]["from"], "AccessPolicy default/web", "{page}");
    assert_eq!(row["rules"][0]["policy"], "outrigger-system/mesh", "{page}");
}

#[test]
fn a_sidecar_that_is_too_old_for_rules_is_let_go_and_nobody_is_sent_to_it() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&access("name: all", "mtls: permissive"));
    let old = plane.nobody().showing(&plane.joined("old-1"));
    let begun = |workload: &str| {
        let heard = old.governed(workload);
        heard.map_err(|status| (status.code(), status.message().to_owned()))
    };
    assert_eq!(begun("old-1"), Ok(1), "what it can keep it is told");
    plane.apply(&access("name: rules", "rules: [{action: deny}]"));
    let (code, why) = begun("old-1").expect_err("it can't keep rules");
    assert_eq!(code, tonic::Code::FailedPrecondition, "{why}");
    assert!(why.contains("AccessPolicy default/rules") && why.contains("update it"), "{why}");
    plane.done(&["delete", "accesspolicy", "rules"]);
    assert_eq!(begun("old-1"), Ok(1));
}
