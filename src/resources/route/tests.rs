//! Routes as people paste them, what they are read as, and the way back.

use std::time::Duration;

use super::*;
use crate::model::{
    Cors, HeaderEdit, Mirror, PathChange, PathMatch, QueryMatch, Redirect, Rewrite, RouteKind,
    ServiceName, Share, ValueMatch,
};
use crate::resources::{Fault, Origin, Resource, manifest, parse_documents};
use ::http::uri::Scheme;
use ::http::{HeaderName, HeaderValue, Method, StatusCode};

mod faults;
mod round_trip;

fn read(text: &str) -> Result<Vec<Resource>, Vec<String>> {
    parse_documents(text, &Origin::file("f.yaml"), "shop")
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
}

fn http_route(spec: &str) -> HttpRoute {
    let head = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n";
    match read(&format!("{head}spec:\n{spec}")).as_deref() {
        Ok([Resource::HttpRoute(route)]) => route.clone(),
        other => panic!("{spec}: {other:?}"),
    }
}

fn grpc_route(spec: &str) -> GrpcRoute {
    let head = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r}\n";
    match read(&format!("{head}spec:\n{spec}")).as_deref() {
        Ok([Resource::GrpcRoute(route)]) => route.clone(),
        other => panic!("{spec}: {other:?}"),
    }
}

/// The rule of a route that has this one.
fn http_rule(rule: &str) -> HttpRule {
    let route =
        http_route(&format!("  parentRefs: [{{kind: Service, name: a}}]\n  rules: [{rule}]\n"));
    route.rules[0].clone()
}

fn one_filter(filter: &str) -> Filter {
    http_rule(&format!("{{filters: [{filter}]}}")).filters[0].clone()
}

fn service(text: &str) -> ServiceName {
    ServiceName::parse(text, "shop").expect("the test names a service")
}

fn backend(name: &str, weight: u32) -> Backend {
    Backend { service: service(name), weight, filters: Vec::new() }
}

fn prefix(path: &str) -> Match {
    Match { path: Some(PathMatch::Prefix(path.into())), ..Match::default() }
}

#[test]
fn a_canary_by_weight() {
    let route = http_route(
        "
  parentRefs:
    - {group: '', kind: Service, name: orders, port: 80}
    - {group: core, kind: Service, name: orders, namespace: old, sectionName: http}
  hostnames: [orders.shop.example, '*.orders.example']
  rules:
    - matches:
        - path: {type: PathPrefix, value: /v2/}
        - headers: [{name: X-Canary, value: always}]
      backendRefs:
        - {name: orders-v2, port: 8080}
    - name: rest
      backendRefs:
        - {kind: Service, group: '', name: orders-v1, port: 8080, weight: 9}
        - {name: orders-v2, namespace: new, port: 8080, weight: 0}
",
    );
    assert_eq!(route.metadata.namespace, "shop");
    let parent = |namespace: &str, port, section: Option<&str>| ParentRef {
        name: "orders".into(),
        namespace: namespace.into(),
        port,
        section: section.map(str::to_owned),
    };
    assert_eq!(route.parents, [parent("shop", Some(80), None), parent("old", None, Some("http"))]);
    let names =
        [Hostname::Exact("orders.shop.example".into()), Hostname::Below(".orders.example".into())];
    assert_eq!(route.hostnames, names);
    let canary = HeaderMatch {
        name: HeaderName::from_static("x-canary"),
        value: ValueMatch::Exact("always".into()),
    };
    let by_header = Match { headers: vec![canary], ..prefix("/") };
    assert_eq!(route.rules[0].matches, [prefix("/v2"), by_header]);
    assert_eq!(route.rules[0].backends, [backend("orders-v2:8080", 1)]);
    assert_eq!(route.rules[1].matches, [prefix("/")]);
    let weighted = [backend("orders-v1:8080", 9), backend("orders-v2.new:8080", 0)];
    assert_eq!(route.rules[1].backends, weighted);
}

#[test]
fn a_route_without_rules_has_one_for_everything() {
    let route = http_route("  parentRefs: [{kind: Service, name: a}]\n");
    let rule = HttpRule {
        name: None,
        matches: vec![prefix("/")],
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: RouteTimeouts::default(),
        retry: None,
    };
    assert_eq!(route.rules, [rule]);
    assert_eq!(http_rule("{matches: []}").matches, [prefix("/")]);
    assert_eq!(http_rule("{}").matches, [prefix("/")]);
    assert_eq!(http_rule("{matches: [{}]}").matches, [prefix("/")]);
}

#[test]
fn every_kind_of_match() {
    let exact = |path: &str| Some(PathMatch::Exact(path.into()));
    let regex = |path: &str| Some(PathMatch::Regex(path.into()));
    let rows = [
        ("{path: {}}", prefix("/").path),
        ("{path: {value: /a/b/}}", prefix("/a/b").path),
        ("{path: {type: PathPrefix}}", prefix("/").path),
        ("{path: {type: Exact}}", exact("/")),
        ("{path: {type: Exact, value: /a/}}", exact("/a/")),
        ("{path: {type: Exact, value: '/%7Euser/a.b:c@d'}}", exact("/%7Euser/a.b:c@d")),
        ("{path: {type: RegularExpression, value: '/[a-z]+/\\d'}}", regex("/[a-z]+/\\d")),
    ];
    for (text, path) in rows {
        assert_eq!(http_rule(&format!("{{matches: [{text}]}}")).matches[0].path, path, "{text}");
    }
    let full = http_rule(
        "{matches: [{method: PATCH, path: {value: /a}, \
         headers: [{type: RegularExpression, name: X-A, value: 'a|b'}], \
         queryParams: [{name: q, value: '1'}, {name: Q, type: RegularExpression, value: '.*'}]}]}",
    );
    let value = HeaderMatch {
        name: HeaderName::from_static("x-a"),
        value: ValueMatch::Regex("a|b".into()),
    };
    let query = [("q", ValueMatch::Exact("1".into())), ("Q", ValueMatch::Regex(".*".into()))]
        .map(|(name, value)| QueryMatch { name: name.into(), value });
    let expected = Match {
        method: Some(Method::PATCH),
        headers: vec![value],
        query: query.to_vec(),
        ..prefix("/a")
    };
    assert_eq!(full.matches, [expected]);
}

#[test]
fn every_filter() {
    let line = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let edit = HeaderEdit {
        set: vec![line("x-env", "canary")],
        add: vec![line("x-via", "a, b")],
        remove: vec![HeaderName::from_static("cookie")],
    };
    let written = "{set: [{name: X-Env, value: canary}], \
        add: [{name: x-via, value: 'a, b'}], remove: [Cookie]}";
    let row = |kind: &str, field: &str, says: &str| format!("{{type: {kind}, {field}: {says}}}");
    let redirect = Redirect {
        scheme: Some(Scheme::HTTPS),
        hostname: Some("shop.example".into()),
        path: Some(PathChange::Full("/new".into())),
        port: Some(8443),
        status: StatusCode::PERMANENT_REDIRECT,
    };
    let rewrite = Rewrite {
        authority: Some("old.example".parse().expect("an authority")),
        path: Some(PathChange::Prefix("".into())),
    };
    let cors = Cors {
        allow_origins: vec!["https://*.shop.example".into(), "http://localhost:3000".into()],
        allow_credentials: true,
        allow_methods: vec!["GET".into(), "PUT".into()],
        allow_headers: vec!["X-Token".into()],
        expose_headers: vec!["*".into()],
        max_age: Duration::from_secs(600),
    };
    let rows = [
        (
            row("RequestHeaderModifier", "requestHeaderModifier", written),
            Filter::RequestHeaders(edit.clone()),
        ),
        (
            row("ResponseHeaderModifier", "responseHeaderModifier", written),
            Filter::ResponseHeaders(edit),
        ),
        (
            row(
                "RequestRedirect",
                "requestRedirect",
                "{scheme: https, hostname: shop.example, port: 8443, statusCode: 308, \
                 path: {type: ReplaceFullPath, replaceFullPath: /new}}",
            ),
            Filter::Redirect(redirect),
        ),
        (
            row(
                "URLRewrite",
                "urlRewrite",
                "{hostname: old.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: ''}}",
            ),
            Filter::Rewrite(rewrite),
        ),
        (
            row(
                "CORS",
                "cors",
                "{allowOrigins: ['https://*.shop.example', 'http://localhost:3000'], \
                 allowCredentials: true, allowMethods: [GET, PUT], allowHeaders: [X-Token], \
                 exposeHeaders: ['*'], maxAge: 600}",
            ),
            Filter::Cors(cors),
        ),
        (
            row("CORS", "cors", "{}"),
            Filter::Cors(Cors { max_age: Duration::from_secs(5), ..Cors::default() }),
        ),
    ];
    for (text, filter) in rows {
        assert_eq!(one_filter(&text), filter, "{text}");
    }
    let found = one_filter("{type: RequestRedirect, requestRedirect: {scheme: http}}");
    assert!(matches!(found, Filter::Redirect(Redirect { status, .. }) if status == 302));
}

#[test]
fn mirrors_take_all_or_a_share() {
    let rows = [
        ("", 1_000_000),
        (", percent: 0", 0),
        (", percent: 7", 70_000),
        (", fraction: {numerator: 5}", 50_000),
        (", fraction: {numerator: 1, denominator: 3}", 333_333),
        (", fraction: {numerator: 2, denominator: 3}", 666_667),
        (", fraction: {numerator: 2147483647, denominator: 2147483647}", 1_000_000),
    ];
    for (share, millionths) in rows {
        let reference = "backendRef: {name: shadow, port: 80}";
        let filter =
            one_filter(&format!("{{type: RequestMirror, requestMirror: {{{reference}{share}}}}}"));
        let mirror = Mirror { service: service("shadow:80"), share: Share(millionths) };
        assert_eq!(filter, Filter::Mirror(mirror), "{share}");
    }
}

#[test]
fn timeouts_and_retries() {
    let rule = http_rule(
        "{timeouts: {request: 1m30s, backendRequest: 0s}, \
         retry: {codes: [500, 503], attempts: 0, backoff: 100ms}}",
    );
    let timeouts = RouteTimeouts {
        request: Some(Duration::from_secs(90)),
        backend_request: Some(Duration::ZERO),
    };
    assert_eq!(rule.timeouts, timeouts);
    let backoff = Some(Duration::from_millis(100));
    assert_eq!(rule.retry, Some(RouteRetry { codes: vec![500, 503], attempts: Some(0), backoff }));
    let off = http_rule("{timeouts: {request: 0s, backendRequest: 5s}}").timeouts;
    assert_eq!(off.backend_request, Some(Duration::from_secs(5)));
}

#[test]
fn backends_have_filters_of_their_own() {
    let rule = http_rule(
        "{backendRefs: [{name: b, port: 80, filters: [
            {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}},
            {type: RequestMirror, requestMirror: {backendRef: {name: m, port: 1}}},
            {type: RequestMirror, requestMirror: {backendRef: {name: n, port: 1}}}]}]}",
    );
    let path = Some(PathChange::Prefix("/x".into()));
    let mirror = |name| Filter::Mirror(Mirror { service: service(name), share: Share(1_000_000) });
    let rewrite = Filter::Rewrite(Rewrite { authority: None, path });
    assert_eq!(rule.backends[0].filters, [rewrite, mirror("m:1"), mirror("n:1")]);
}

#[test]
fn calls_by_service_and_method() {
    let route = grpc_route(
        "
  parentRefs: [{kind: Service, name: orders}]
  hostnames: [orders.example]
  rules:
    - name: writes
      matches:
        - method: {service: shop.v1.Orders, method: Place}
        - {method: {method: Ca_ncel}, headers: [{name: x-tier, value: gold}]}
        - method: {type: RegularExpression, service: '^shop\\.v\\d|lab$'}
        - method: {type: RegularExpression, method: 'Get\\$|[$^]'}
        - method: {service: Bare}
        - {}
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {remove: [server]}
      backendRefs: [{name: orders, port: 9000}]
    - {}
",
    );
    let drafts = grpc_rules(&route);
    let regex = |text: &str| Some(PathMatch::Regex(text.into()));
    let paths: Vec<_> = drafts[0].matches.iter().map(|one| one.path.clone()).collect();
    let expected = [
        Some(PathMatch::Exact("/shop.v1.Orders/Place".into())),
        regex("/[^/]+/Ca_ncel"),
        regex(r"/(?:shop\.v\d|lab)/(?:[^/]+)"),
        regex(r"/(?:[^/]+)/(?:Get\$|[$^])"),
        Some(PathMatch::Prefix("/Bare".into())),
        None,
    ];
    assert_eq!(paths, expected);
    assert_eq!(drafts[0].matches[1].headers[0].name, "x-tier");
    assert_eq!(drafts[0].hostnames, [Hostname::Exact("orders.example".into())]);
    assert!(matches!(drafts[0].filters[..], [Filter::ResponseHeaders(_)]));
    assert_eq!(drafts[0].backends, [backend("orders:9000", 1)]);
    assert!(drafts[1].matches.is_empty() && drafts[1].backends.is_empty());
    assert!(drafts.iter().all(|draft| draft.kind == RouteKind::Grpc));
}

#[test]
fn rules_go_by_name_or_number() {
    let named = |rules: &str| {
        let route = http_route(&format!(
            "  parentRefs: [{{kind: Service, name: a}}]\n  rules: [{rules}]\n"
        ));
        let drafts = http_rules(&route);
        let names = drafts.iter().map(|d| (d.name.to_string(), d.section.clone()));
        names.collect::<Vec<_>>()
    };
    let row = |name: &str, section: Option<&str>| (name.to_owned(), section.map(str::to_owned));
    assert_eq!(named("{}"), [row("r.shop", None)]);
    assert_eq!(named("{name: x}"), [row("r.shop/x", Some("x"))]);
    let three = [row("r.shop/0", None), row("r.shop/x", Some("x")), row("r.shop/2", None)];
    assert_eq!(named("{}, {name: x}, {}"), three);
    assert_eq!(named("{name: '0'}, {}")[0], row("r.shop/0", Some("0")));
}

#[test]
fn drafts_keep_what_a_rule_says() {
    let route = http_route(
        "
  parentRefs: [{kind: Service, name: a}]
  hostnames: [a.example]
  rules:
    - matches: [{path: {value: /x}}]
      filters: [{type: CORS, cors: {}}]
      backendRefs: [{name: b, port: 1}]
      timeouts: {request: 2s}
      retry: {attempts: 1}
",
    );
    let rule = route.rules[0].clone();
    let expected = DraftRule {
        kind: RouteKind::Http,
        name: "r.shop".into(),
        hostnames: route.hostnames.clone(),
        matches: rule.matches,
        filters: rule.filters,
        backends: rule.backends,
        section: None,
        timeouts: RouteTimeouts { request: Some(Duration::from_secs(2)), backend_request: None },
        retry: Some(RouteRetry { codes: Vec::new(), attempts: Some(1), backoff: None }),
    };
    assert_eq!(http_rules(&route), [expected]);
}

/// What a cluster gives out is taken back: its defaults are written out, and a status is there.
#[test]
fn what_kubectl_prints_is_taken_as_it_is() {
    let text = r#"{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
      "metadata": {"name": "r", "namespace": "n", "generation": 3, "annotations": {"k": "v"}},
      "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "a", "port": 80}],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
          "backendRefs": [{"group": "", "kind": "Service", "name": "b", "port": 80, "weight": 1}]}]},
      "status": {"parents": [{"conditions": []}]}}"#;
    let read = read(text);
    let Ok([Resource::HttpRoute(route)]) = read.as_deref() else { panic!("{read:?}") };
    assert_eq!(route.rules[0].backends, [backend("b.n:80", 1)]);
    assert!(manifest::ports(&Resource::HttpRoute(route.clone())).is_empty());
}
