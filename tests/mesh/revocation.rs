//! Trust that is taken away: nobody takes the revoked any more, and a new token brings them back
//! where that is meant.

use std::time::Duration;

use crate::harness::caller::Applicant;
use crate::harness::{App, ControlPlane, Wire, eventually, get, service, spiffe, within};

const WEB: &str = "web.default:80";

#[test]
fn a_revoked_caller_is_refused_by_peers_and_by_the_control_plane() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.ask("web").status() == 200);
    let said = plane.done(&["ca", "revoke", &spiffe("client")]);
    assert!(said.contains("1 enrolments ended"), "{said}");
    within(Duration::from_secs(10), "its calls are refused", || {
        Wire::connect(client.upstreams[0]).ask(get("/")).status() >= 500
    });
    eventually("it has no session", || !client.is_connected());
    plane.await_log("a revoked sidecar is let go");
    assert!(plane.done(&["ca", "revocations"]).contains(&spiffe("client")));
    let token = plane.token("client", &[]);
    let applicant = Applicant::new("client");
    let refused = plane.nobody().enroll(&applicant.request, &token).expect_err("revoked");
    assert!(refused.message().contains("revoked"), "{}", refused.message());
}

#[test]
fn a_revoked_instance_is_taken_out_at_once_and_its_serial_means_every_renewal() {
    let plane = ControlPlane::start(&["--cert-lifetime", "6s"]);
    plane.apply(&service("web"));
    let (app, other) = (App::ok(), App::ok());
    let one = plane.instance("web-1", app.address);
    let _two = plane.instance("web-2", other.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("both are there", || client.endpoints(WEB) == Some(2));
    let first = one.serial();
    eventually("it was renewed", || one.serial() != first);
    // The serial of a certificate that is not in use any more, of the same workload.
    plane.done(&["ca", "revoke", &first]);
    within(Duration::from_secs(10), "it is taken out", || client.endpoints(WEB) == Some(1));
    assert_eq!(plane.registrations(), ["web-2.default"]);
    // Whatever the lifetime was when they were issued.
    let held = plane.done(&["ca", "revocations", "-o", "json"]);
    let held: serde_json::Value = serde_json::from_str(&held).expect("JSON");
    let ends = held["revocations"][0]["endsIn"].as_str().expect("a span");
    assert!(ends.ends_with('d'), "{held}");
    for _ in 0..10 {
        assert_eq!(client.ask("web").status(), 200, "the other serves");
    }
}
