//! Who may not watch, what can't be watched, and sidecars that are old or lie.

use outrigger::wire::v1::observe_client::ObserveClient;
use outrigger::wire::v1::{self, tap_request};
use tonic::Code;

use crate::harness::caller::Caller;
use crate::harness::{ControlPlane, service};

fn code(caller: &Caller, request: v1::TapRequest) -> Code {
    let called =
        caller.call(async |channel| ObserveClient::new(channel).tap(caller.request(request)).await);
    called.err().map_or(Code::Ok, |status| status.code())
}

#[test]
fn only_operators_may_watch() {
    let plane = ControlPlane::start(&["--operator", "spiffe://cluster.local/ns/default/sa/boss"]);
    let all = v1::TapRequest::default;
    assert_eq!(code(&plane.nobody(), all()), Code::Unauthenticated);
    assert_eq!(code(&plane.nobody().bearing("guess"), all()), Code::Unauthenticated);
    let web = plane.nobody().showing(&plane.joined("web"));
    assert_eq!(code(&web, all()), Code::PermissionDenied);
    let boss = plane.nobody().showing(&plane.joined("boss"));
    assert_eq!(code(&boss, all()), Code::Ok);
    assert_eq!(code(&plane.operator(), all()), Code::Ok);
    let line = "taps requests who=spiffe://cluster.local/ns/default/sa/boss";
    plane.await_log(line);
}

#[test]
fn what_can_not_be_watched_is_refused_with_what_could() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let operator = plane.operator();
    let name = |name: &str| v1::TapRequest {
        target: Some(tap_request::Target::Name(name.to_owned())),
        ..v1::TapRequest::default()
    };
    assert_eq!(code(&operator, name("web.default")), Code::Ok);
    assert_eq!(code(&operator, name("nobody.default")), Code::NotFound);
    for odd in ["web", ".default", "web.", "web.default\n", "Web.default"] {
        assert_eq!(code(&operator, name(odd)), Code::InvalidArgument, "{odd:?}");
    }
    let rate = v1::TapRequest { rate: 1_001, ..v1::TapRequest::default() };
    assert_eq!(code(&operator, rate), Code::InvalidArgument);
    let length = v1::TapRequest { duration_ms: 3_600_001, ..v1::TapRequest::default() };
    assert_eq!(code(&operator, length), Code::InvalidArgument);
    let filter = v1::TapFilter { statuses: vec!["5x".into()], ..v1::TapFilter::default() };
    let filter = v1::TapRequest { filter: Some(filter), ..v1::TapRequest::default() };
    assert_eq!(code(&operator, filter), Code::InvalidArgument);

    let said = plane.run(&["tap", "nobody"]);
    assert!(said.code == Some(1), "{said:?}");
    assert!(
        said.err.contains("neither a service") && said.err.contains("workload/nobody"),
        "{said:?}"
    );
    let said = plane.run(&["tap", "web", "--status", "5x", "--path", "orders"]);
    assert_eq!((said.code, said.err.lines().count()), (Some(2), 2), "{said:?}");
    assert!(said.err.contains("--status: \"5x\" is no status; write 503 or 5xx"), "{said:?}");
}

#[test]
fn a_sidecar_that_does_not_answer_is_counted_and_one_that_lies_is_not_heard() {
    let plane = ControlPlane::start(&[]);
    // It hears what it does not know, and goes on, as an older one does.
    let old = plane.nobody().showing(&plane.joined("old"));
    let stays = std::thread::spawn(move || old.outstay("old-1"));
    crate::harness::eventually("it is connected", || {
        plane.metric("outrigger_control_sessions", &[]) == 1.0
    });
    let mut watching = plane.tap(&["--for", "1s", "-o", "json"]);
    let liar = plane.nobody().showing(&plane.joined("liar"));
    let record = v1::TappedRequest { path: "/lie".into(), ..v1::TappedRequest::default() };
    let lie = v1::Tapped { id: 77, requests: vec![record], ..v1::Tapped::default() };
    liar.tell_tapped("liar-1", lie).expect("its session goes on");
    let (code, said) = watching.rest();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 requests shown"), "{said}");
    assert!(said.contains("1 of 1 sidecars could not watch"), "{said}");
    drop(plane);
    let _ = stays.join();
}
