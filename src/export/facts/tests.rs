//! What collectors are told of requests, calls, connections and failures.

use super::*;
use crate::telemetry::span::Kept;
use crate::telemetry::span::tests::example;

fn shown(span: &Span) -> String {
    let line = |(name, fact): &(&str, Fact<'_>)| match fact {
        Fact::Text(text) => format!("{name}={text}\n"),
        Fact::Number(number) => format!("{name}={number}\n"),
    };
    of(span).iter().map(line).collect()
}

#[test]
fn a_clients_request_that_was_tried_twice() {
    assert_eq!(
        shown(&example()),
        "http.request.method=GET\n\
         url.full=http://api.default/orders/7\n\
         url.path=/orders/7\n\
         server.address=api.default\n\
         server.port=80\n\
         http.response.status_code=200\n\
         http.request.body.size=0\n\
         http.response.body.size=512\n\
         http.request.resend_count=1\n\
         network.protocol.name=http\n\
         network.protocol.version=1.1\n\
         user_agent.original=curl/8\n\
         network.peer.address=10.0.0.7\n\
         network.peer.port=8080\n\
         outrigger.service=api.default:80\n\
         outrigger.route=default/api\n\
         outrigger.endpoint=10.0.0.7:8080\n\
         outrigger.peer=spiffe://cluster.local/ns/default/sa/api\n\
         outrigger.tls=none\n\
         outrigger.kept=sampled\n\
         outrigger.attempts=2\n\
         outrigger.circuit=half-open\n\
         outrigger.request_id=r-1\n"
    );
}

#[test]
fn a_servers_call_that_failed() {
    let span = Span {
        direction: Direction::Inbound,
        kept: Kept::Failed,
        protocol: "grpc",
        method: Some(http::Method::POST),
        path: Some("/shop.v1.Orders/Get".into()),
        authority: Some("[::1]:50051".into()),
        client: "10.0.0.9:40000".parse().ok(),
        grpc_status: Some(14),
        attempts: Vec::new(),
        ..example()
    };
    let shown = shown(&span);
    for line in [
        "url.scheme=http",
        "server.address=::1",
        "server.port=50051",
        "network.protocol.version=2",
        "rpc.system=grpc",
        "rpc.service=shop.v1.Orders",
        "rpc.method=Get",
        "rpc.grpc.status_code=14",
        "client.address=10.0.0.9",
        "network.peer.port=40000",
        "error.type=14",
        "outrigger.kept=failed",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "no {line} in:\n{shown}");
    }
    assert!(!shown.contains("url.full") && !shown.contains("resend_count"));
    assert_eq!(name(&span), "shop.v1.Orders/Get");
}

#[test]
fn an_opaque_connection() {
    let span = Span {
        method: None,
        path: None,
        authority: None,
        status: None,
        protocol: "tcp",
        reason: Some(Reason::UpstreamReset),
        bytes_in: 7,
        ..example()
    };
    let shown = shown(&span);
    assert!(shown.starts_with("network.transport=tcp\noutrigger.bytes_in=7\n"), "{shown}");
    assert!(shown.contains("error.type=upstream-reset\n"), "{shown}");
    assert!(!shown.contains("http."), "{shown}");
}

#[test]
fn names_are_few() {
    let table = [
        ("GET", Some("default/api"), Some("api.default:80"), "GET default/api"),
        ("GET", Some("default"), Some("api.default:80"), "GET api.default:80"),
        ("BREW", None, None, "HTTP"),
    ];
    for (method, route, service, expected) in table {
        let method = http::Method::from_bytes(method.as_bytes()).ok();
        let (route, service) = (route.map(Into::into), service.map(Into::into));
        assert_eq!(name(&Span { method, route, service, ..example() }), expected);
    }
    let tcp = Span { method: None, protocol: "tcp", route: None, ..example() };
    assert_eq!(name(&tcp), "tcp api.default:80");
    let unread = Span { method: None, path: None, route: None, ..example() };
    assert_eq!(name(&unread), "HTTP api.default:80");
    assert!(shown(&unread).starts_with("http.request.method=_OTHER\n"), "{}", shown(&unread));
}

#[test]
fn whose_error_it_is() {
    use Direction::{Inbound, Outbound};
    let closed = Some(Reason::ClientClosed);
    let table = [
        (Outbound, 404, None, true),
        (Inbound, 404, None, false),
        (Inbound, 500, None, true),
        (Outbound, 499, closed, false),
        (Inbound, 499, closed, false),
        (Inbound, 403, Some(Reason::Denied), true),
        (Outbound, 200, None, false),
    ];
    for (direction, status, reason, expected) in table {
        let span = Span { direction, status: Some(status), reason, ..example() };
        assert_eq!(is_error(&span), expected, "{direction:?} {status} {reason:?}");
        assert_eq!(shown(&span).contains("error.type="), expected);
    }
}

#[test]
fn attempts_say_where_and_how() {
    let attempts = example().attempts;
    let names = |n: usize| of_attempt(n + 1, &attempts[n]);
    assert_eq!(
        names(0),
        [
            ("outrigger.attempt", Fact::Number(1)),
            ("outrigger.endpoint", "10.0.0.7:8080".into()),
            ("outrigger.duration_us", Fact::Number(2000)),
            ("outrigger.reason", "connect-failure".into()),
        ]
    );
    assert_eq!(
        names(1)[3..],
        [
            ("http.response.status_code", Fact::Number(200)),
            ("outrigger.circuit", "half-open".into())
        ]
    );
}
