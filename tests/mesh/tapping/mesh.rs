//! `outrigger tap`: a service from both sides, a workload, a namespace; who comes later, and every end.

use serde_json::Value;

use super::{Tap, app};
use crate::harness::{ControlPlane, Member, Wire, eventually, get, service, spiffe};

const WEB: &str = "web.default:80";

fn ask(client: &Member, path: &str) {
    Wire::connect(client.upstreams[0]).ask(get(path));
}

/// The next request of a direction and path.
fn one_of(watching: &mut super::Watching, direction: &str, path: &str) -> Value {
    loop {
        let line = watching.line();
        if line["direction"] == direction && line["path"] == path {
            return line;
        }
    }
}

#[test]
fn a_service_is_watched_from_both_sides_and_who_comes_later_too() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    plane.apply(&service("other"));
    let app = app();
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB, "other.default:80"]);
    eventually("it is served", || client.endpoints(WEB) == Some(1));
    let mut watching = plane.tap(&["web", "-o", "json"]);
    for member in [&web, &client] {
        member.sidecar.await_log("the control plane watches requests");
    }
    // Of another service nothing is shown.
    Wire::connect(client.upstreams[1]).ask(get("/other"));
    ask(&client, "/orders?token=s3cret");
    let mut two = [watching.line(), watching.line()];
    two.sort_by_key(|line| line["direction"] == "outbound");
    let [inbound, outbound] = two;
    assert_eq!(
        (&inbound["direction"], &inbound["workload"]),
        (&"inbound".into(), &"web-1.default".into())
    );
    assert_eq!(inbound["peer"], spiffe("client"));
    assert_eq!(outbound["workload"], "client-1.default");
    assert_eq!((&outbound["service"], &outbound["path"]), (&WEB.into(), &"/orders".into()));
    // In the words of the access log.
    let mut logged = client.sidecar.await_entry("/orders?token=s3cret");
    logged["path"] = "/orders".into();
    logged["workload"] = "client-1.default".into();
    assert_eq!(outbound, logged);

    let late = plane.instance("web-2", app.address);
    late.sidecar.await_log("the control plane watches requests");
    eventually("it is served by two", || client.endpoints(WEB) == Some(2));
    eventually("the second is known to be behind it", || {
        ask(&client, "/late");
        let lines = watching.lines();
        let mut inbound = lines.iter().filter(|line| line["direction"] == "inbound");
        inbound.any(|line| line["workload"] == "web-2.default")
    });

    watching.interrupt();
    let (code, said) = watching.rest();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("watching service web.default: 2 sidecars"), "{said}");
    assert!(said.contains("requests shown"), "{said}");
    for member in [&web, &client, &late] {
        member.sidecar.await_log("the control plane watches no more");
    }
    plane.await_log("taps no more");
    let log = plane.log();
    let line = log.lines().find(|line| line.contains("taps requests")).expect("who taps is logged");
    assert!(
        line.contains("the operators' token") && line.contains("service web.default"),
        "{line}"
    );
}

#[test]
fn people_read_one_aligned_line_a_request() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = app();
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.endpoints(WEB) == Some(1));
    let arguments = ["web", "--failed", "--path", "/fail*", "--count", "2"];
    let mut watching = plane.tap(&arguments);
    assert!(watching.text().starts_with("TIME          DIRECTION  FROM"), "a heading");
    for member in [&web, &client] {
        member.sidecar.await_log("the control plane watches requests");
    }
    for path in ["/fine", "/fail/now"] {
        ask(&client, path);
    }
    let mut lines = [watching.text(), watching.text()];
    lines.sort_by_key(|line| line.contains("outbound"));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let expected = [
        ["inbound", "client.default", "web-1.default", "GET", "/fail/now", "500"],
        ["outbound", "client-1.default", "web.default:80", "GET", "/fail/now", "500"],
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!(words(line)[1..7], expected, "{line}");
    }
    let column = |line: &str| line.find(" GET ").expect("a request");
    assert_eq!(column(&lines[0]), column(&lines[1]), "{lines:#?}");
    let (code, said) = watching.rest();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("only path /fail*, failed") && said.contains("2 requests shown"),
        "{said}"
    );
}

#[test]
fn a_workload_and_a_namespace_show_what_they_take_and_make() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = app();
    let _web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.endpoints(WEB) == Some(1));
    let mut workload = plane.tap(&["workload/client-1", "-o", "json", "-c", "1"]);
    client.sidecar.await_log("the control plane watches requests");
    ask(&client, "/one");
    assert_eq!(workload.line()["direction"], "outbound");
    assert_eq!(workload.rest().0, Some(0));
    let mut all = plane.tap(&["-n", "default", "-o", "json"]);
    let mut both = plane.tap(&["client-1", "-o", "json"]);
    eventually("both sidecars watch again", || {
        client.sidecar.log().matches("the control plane watches requests").count() == 3
    });
    ask(&client, "/two");
    assert_eq!(one_of(&mut all, "inbound", "/two")["workload"], "web-1.default");
    assert_eq!(one_of(&mut both, "outbound", "/two")["workload"], "client-1.default");
    let mut nobody = plane.tap(&["-n", "elsewhere", "--for", "1s"]);
    let (code, said) = nobody.rest();
    assert_eq!(code, Some(0));
    assert!(said.contains("no sidecar that it concerns is connected yet"), "{said}");
    assert!(said.contains("0 requests shown; its time is over"), "{said}");
}

#[test]
fn all_sidecars_together_keep_to_the_rate_and_what_is_left_out_is_told() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = app();
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.endpoints(WEB) == Some(1));
    let mut watching = plane.tap(&["web", "--rate", "5", "-o", "json", "--count", "6"]);
    for member in [&web, &client] {
        member.sidecar.await_log("the control plane watches requests");
    }
    let mut wire = Wire::connect(client.upstreams[0]);
    let mut asked = 0;
    eventually("six are shown", || {
        asked += 10;
        (0..10).for_each(|_| drop(wire.ask(get("/many"))));
        watching.child.try_wait().expect("it is our child").is_some()
    });
    let (code, said) = watching.rest();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("6 requests shown") && said.contains("more than 5 a second left out"),
        "{said}"
    );
}

#[test]
fn taps_end_with_the_session_and_with_the_control_plane() {
    let mut plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = app();
    let web = plane.instance("web-1", app.address);
    let mut watching: Vec<_> = (0..3).map(|_| plane.tap(&["web"])).collect();
    eventually("it watches three times", || {
        web.sidecar.log().matches("the control plane watches requests").count() == 3
    });
    let free = |count: usize| {
        let taps: Vec<(String, Tap)> =
            (0..count).map(|_| Tap::try_begin(&web.sidecar, "")).collect();
        taps.iter().all(|(status, _)| status.contains(" 200 "))
    };
    assert!(free(5));
    eventually("no more are free than that", || !free(6));
    plane.kill();
    for one in &mut watching {
        let (code, said) = one.rest();
        assert_eq!(code, Some(1), "{said}");
    }
    eventually("all places are free", || free(8));
}
