//! Input → the exact lines that a person reads.

use super::read;

mod filters;

const HTTP: &str =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n";
const GRPC: &str =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r}\nspec:\n";
const PARENT: &str = "  parentRefs: [{kind: Service, name: a}]\n";

const ANCHOR: &str = "has an anchor inside, where a path goes on before or after it; \
    leave anchors out: the whole is matched anyway";

/// What is wrong stands in line 5 and after; each line of a row is one fault.
fn check(prefix: &str, rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let text = format!("{prefix}{text}");
        let faults = read(&text).expect_err(&text);
        let expected: Vec<_> = expected.lines().map(|line| format!("f.yaml:{line}")).collect();
        if faults != expected {
            wrong.push(format!("{text}\nfound {faults:#?}\nexpected {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of the only rule of a route; PATH stands for it, ANCHOR for a long sentence.
fn check_rule(kind: &str, rows: &[(&str, &str)]) {
    for (rule, expected) in rows {
        let expected = expected.replace("PATH", "6: spec.rules[0]").replace("ANCHOR", ANCHOR);
        check(&format!("{kind}{PARENT}"), &[(&format!("  rules: [{rule}]\n"), &expected)]);
    }
}

#[test]
fn of_parents() {
    const CURE: &str = "write `kind: Service` and `group: \"\"`";
    let no_kind = format!(
        "5: spec.parentRefs[0].kind: a route of the mesh names a Service as its parent: {CURE}"
    );
    let gateway = format!(
        "5: spec.parentRefs[0].kind: a route of the mesh names a Service as its parent, not \"Gateway\": {CURE}"
    );
    let rows = [
        ("  hostnames: [a.b]\n", "5: spec: missing field `parentRefs`"),
        (
            "  parentRefs: []\n",
            "5: spec.parentRefs: a route needs at least one Service as its parent",
        ),
        ("  parentRefs: [{name: edge}]\n", &no_kind),
        (
            "  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]\n",
            &gateway,
        ),
        (
            "  parentRefs: [{group: apps, kind: Service, name: a}]\n",
            "5: spec.parentRefs[0].group: a Service has group \"\", found \"apps\"",
        ),
        ("  parentRefs: [{kind: Service}]\n", "5: spec.parentRefs[0]: missing field `name`"),
        (
            "  parentRefs: [{kind: Service, name: a.b}]\n",
            "5: spec.parentRefs[0].name: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"a.b\"",
        ),
        (
            "  parentRefs: [{kind: Service, name: a, port: 0}]\n",
            "5: spec.parentRefs[0].port: expected a number from 1 to 65535, found 0",
        ),
        (
            "  parentRefs:\n  - {kind: Service, name: a}\n  - {kind: Service, name: a, port: 80}\n  - {kind: Service, name: a, namespace: shop}\n",
            "8: spec.parentRefs[2].name: Service a.shop is taken by item 0",
        ),
        (
            "  parentRefs: [{kind: Service, name: a}]\n  useDefaultGateways: All\n",
            "6: spec.useDefaultGateways: is not supported: a route of the mesh hangs on the Services that parentRefs names",
        ),
        (
            "  parentRefs: [{kind: Service, name: a}]\n  hostname: a.b\n",
            "6: spec: unknown field `hostname`; did you mean `hostnames`?",
        ),
    ];
    check(HTTP, &rows);
    check(GRPC, &[("  parentRefs: [{name: edge}]\n  rules: [{}]\n", &no_kind)]);
    check(GRPC, &[(PARENT, "5: spec: missing field `rules`")]);
}

#[test]
fn of_hostnames() {
    let expected = "6: spec.hostnames[0]: expected a host name or *.example.com, in lower case, without port, no IP address, found";
    for name in ["Shop.example", "a.b:80", "10.0.0.1", "*.", "a.*.b", "*a.b", "", "a..b", "[::1]"] {
        let text = format!("  hostnames: ['{name}']\n");
        check(&format!("{HTTP}{PARENT}"), &[(&text, &format!("{expected} {name:?}"))]);
    }
    check(
        &format!("{HTTP}{PARENT}"),
        &[
            (
                "  hostnames: ['*']\n",
                "6: spec.hostnames[0]: leave hostnames out to match every host",
            ),
            (
                "  hostnames: ['*.a.b', a.b, '*.a.b']\n",
                "6: spec.hostnames[2]: *.a.b is taken by item 0",
            ),
        ],
    );
}

#[test]
fn of_rules() {
    check(
        &format!("{HTTP}{PARENT}"),
        &[
            ("  rules: []\n", "6: spec.rules: a route needs at least one rule"),
            ("  rules: {}\n", "6: spec.rules: expected a list, found a map"),
            ("  rules:\n  - name: a\n  - name: a\n", "8: spec.rules[1].name: a is taken by item 0"),
            (
                "  rules: [{name: '1'}, {}]\n",
                "6: spec.rules: has a rule named 1, which is what item 1 is called without a name: name both",
            ),
            (
                "  rules: [{name: A_b}]\n",
                "6: spec.rules[0].name: expected a name of at most 253 lower-case letters, digits, inner `-` and `.`, found \"A_b\"",
            ),
            (
                "  rules: [{mathces: []}]\n",
                "6: spec.rules[0]: unknown field `mathces`; did you mean `matches`?",
            ),
            (
                "  rules: [{sessionPersistence: {sessionName: s}}]\n",
                "6: spec.rules[0].sessionPersistence: is not supported: use a TrafficPolicy with loadBalancing.hashOn.cookie",
            ),
        ],
    );
}

#[test]
fn of_http_matches() {
    check_rule(
        HTTP,
        &[
            (
                "{matches: [{path: {type: Prefix, value: /a}}]}",
                "PATH.matches[0].path.type: expected one of PathPrefix, Exact, RegularExpression, found \"Prefix\"",
            ),
            (
                "{matches: [{path: {value: '/(', type: RegularExpression}}]}",
                "PATH.matches[0].path.value: is not a regular expression: unclosed group",
            ),
            (
                "{matches: [{path: {value: '/a{1000}{1000}', type: RegularExpression}}]}",
                "PATH.matches[0].path.value: is too large a regular expression: compiled it takes more than 1 MiB",
            ),
            (
                "{matches: [{path: {value: '(?x)/a # end', type: RegularExpression}}]}",
                "PATH.matches[0].path.value: is not a regular expression: unclosed group",
            ),
            ("{matches: [{path: /a}]}", "PATH.matches[0].path: expected a map, found \"/a\""),
            (
                "{matches: [{headers: [{name: 'a b', value: c}]}]}",
                "PATH.matches[0].headers[0].name: expected the name of a header, found \"a b\"",
            ),
            (
                "{matches: [{headers: [{name: a, value: ''}]}]}",
                "PATH.matches[0].headers[0].value: expected a header's value: printable ASCII, not empty, without spaces around it, found \"\"",
            ),
            (
                "{matches: [{headers: [{name: a, value: 'b '}]}]}",
                "PATH.matches[0].headers[0].value: expected a header's value: printable ASCII, not empty, without spaces around it, found \"b \"",
            ),
            (
                "{matches: [{headers: [{name: a, value: 1}]}]}",
                "PATH.matches[0].headers[0].value: expected a header's value: printable ASCII, not empty, without spaces around it, found 1; put it in quotes",
            ),
            (
                "{matches: [{headers: [{name: a, type: Exactly, value: b}]}]}",
                "PATH.matches[0].headers[0].type: expected one of Exact, RegularExpression, found \"Exactly\"; did you mean `Exact`?",
            ),
            (
                "{matches: [{headers: [{name: X-A, value: b}, {name: x-a, value: c}]}]}",
                "PATH.matches[0].headers[1].name: x-a is taken by item 0",
            ),
            (
                "{matches: [{headers: [{name: Host, value: b}]}]}",
                "PATH.matches[0].headers[0].name: is not supported in headers: hosts are matched by spec.hostnames",
            ),
            (
                "{matches: [{headers: [{name: a}]}]}",
                "PATH.matches[0].headers[0]: missing field `value`",
            ),
            (
                "{matches: [{queryParams: [{name: q, value: a}, {name: q, value: b}]}]}",
                "PATH.matches[0].queryParams[1].name: q is taken by item 0",
            ),
            (
                "{matches: [{queryParams: [{name: '', value: ''}]}]}",
                "PATH.matches[0].queryParams[0].name: expected a name, found \"\"\nPATH.matches[0].queryParams[0].value: expected a value, found \"\"",
            ),
            (
                "{matches: [{queryParams: [{name: q, type: RegularExpression, value: '*'}]}]}",
                "PATH.matches[0].queryParams[0].value: is not a regular expression: repetition operator missing expression",
            ),
            (
                "{matches: [{method: get}]}",
                "PATH.matches[0].method: expected one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH, found \"get\"; did you mean `GET`?",
            ),
        ],
    );
}

#[test]
fn of_paths() {
    let rows = [
        ("a", "it must begin with `/`"),
        ("", "it must begin with `/`"),
        ("/a//b", "it must not have `//`"),
        ("/a/./b", "it must not have `/./`"),
        ("/a/../b", "it must not have `/../`"),
        ("/a/..", "it must not have `/..`"),
        ("/a/.", "it must not have `/.`"),
        ("/a%2fb", "it must not have `%2f`"),
        ("/a%2Fb", "it must not have `%2F`"),
        ("/a#b", "'#' can't stand in one; write it percent-encoded"),
        ("/a b", "' ' can't stand in one; write it percent-encoded"),
        ("/ä", "'ä' can't stand in one; write it percent-encoded"),
        ("/a?b", "what follows `?` is the query, for which there is queryParams"),
        ("/a%4", "`%` must be followed by two hexadecimal digits"),
        ("/a%zz", "`%` must be followed by two hexadecimal digits"),
    ];
    for (path, why) in rows {
        for kind in ["Exact", "PathPrefix"] {
            let rule = format!("{{matches: [{{path: {{type: {kind}, value: '{path}'}}}}]}}");
            let expected = format!("PATH.matches[0].path.value: {path:?} is not a path: {why}");
            check_rule(HTTP, &[(&rule, &expected)]);
        }
    }
}

#[test]
fn of_backends() {
    check_rule(
        HTTP,
        &[
            ("{backendRefs: [{name: b}]}", "PATH.backendRefs[0]: missing field `port`"),
            ("{backendRefs: [{port: 80}]}", "PATH.backendRefs[0]: missing field `name`"),
            (
                "{backendRefs: [{name: b, port: 80, weight: 1000001}]}",
                "PATH.backendRefs[0].weight: expected a number from 0 to 1000000, found 1000001",
            ),
            (
                "{backendRefs: [{name: b, port: 80, weight: -1}]}",
                "PATH.backendRefs[0].weight: expected a number from 0 to 1000000, found -1",
            ),
            (
                "{backendRefs: [{name: b, port: 80, kind: ServiceImport, group: multicluster.x-k8s.io}]}",
                "PATH.backendRefs[0].kind: only Service is supported, found \"ServiceImport\"",
            ),
            (
                "{backendRefs: [{name: b, port: 80, group: apps}]}",
                "PATH.backendRefs[0].group: a Service has group \"\", found \"apps\"",
            ),
        ],
    );
}

#[test]
fn of_timeouts_and_retries() {
    check_rule(
        HTTP,
        &[
            (
                "{timeouts: {request: 10}}",
                "PATH.timeouts.request: expected a duration such as 250ms, 1s or 5m, found 10; add the unit",
            ),
            (
                "{timeouts: {request: 1s, backendRequest: 1001ms}}",
                "PATH.timeouts.backendRequest: must not be longer than request, of which it is a part",
            ),
            (
                "{timeouts: {request: 8761h}}",
                "PATH.timeouts.request: expected a duration of at most 8760h, a year, found \"8761h\"",
            ),
            (
                "{timeouts: {idle: 1s}}",
                "PATH.timeouts: unknown field `idle`; known here: request, backendRequest",
            ),
            (
                "{retry: {codes: [399, 600]}}",
                "PATH.retry.codes[0]: expected a number from 400 to 599, found 399\nPATH.retry.codes[1]: expected a number from 400 to 599, found 600",
            ),
            ("{retry: {codes: [500, 503, 500]}}", "PATH.retry.codes[2]: 500 is taken by item 0"),
            (
                "{retry: {attempts: -1}}",
                "PATH.retry.attempts: expected a number from 0 to 100, found -1",
            ),
            (
                "{retry: {backoff: 0s}}",
                "PATH.retry.backoff: zero never means off; leave the field out",
            ),
        ],
    );
}

#[test]
fn of_grpc_rules() {
    check_rule(
        GRPC,
        &[
            (
                "{matches: [{method: {}}]}",
                "PATH.matches[0].method: names neither a service nor a method; leave it out to match every call",
            ),
            (
                "{matches: [{method: {service: a/b, method: 1c}}]}",
                "PATH.matches[0].method.service: expected a gRPC service such as shop.v1.Orders, found \"a/b\"\nPATH.matches[0].method.method: expected a gRPC method such as Place, found \"1c\"",
            ),
            (
                "{matches: [{method: {service: .a.b}}]}",
                "PATH.matches[0].method.service: expected a gRPC service such as shop.v1.Orders, found \".a.b\"",
            ),
            (
                "{matches: [{method: {type: RegularExpression, service: '['}}]}",
                "PATH.matches[0].method.service: is not a regular expression: unclosed character class",
            ),
            (
                "{matches: [{method: {type: RegularExpression, service: '\\w{15}', method: '\\w{15}'}}]}",
                "PATH.matches[0].method: is too large a regular expression: compiled it takes more than 1 MiB",
            ),
            (
                "{matches: [{method: {type: RegularExpression, service: '^a|^b', method: '(c$)'}}]}",
                "PATH.matches[0].method.service: ANCHOR\nPATH.matches[0].method.method: ANCHOR",
            ),
            (
                "{matches: [{method: {type: RegularExpression, method: '\\Aa'}}]}",
                "PATH.matches[0].method.method: ANCHOR",
            ),
            (
                "{matches: [{path: {}}]}",
                "PATH.matches[0]: unknown field `path`; known here: method, headers",
            ),
            (
                "{filters: [{type: URLRewrite, urlRewrite: {}}]}",
                "PATH.filters[0].type: URLRewrite is not supported in a GRPCRoute: use an HTTPRoute",
            ),
            (
                "{filters: [{type: CORS, cors: {}}, {type: RequestRedirect}, {type: ExtensionRef}]}",
                "PATH.filters[0].type: CORS is not supported in a GRPCRoute: use an HTTPRoute\nPATH.filters[1].type: RequestRedirect is not supported in a GRPCRoute: use an HTTPRoute\nPATH.filters[2].type: ExtensionRef is not supported: the mesh has no filters beside the Gateway API's",
            ),
            (
                "{filters: [{type: Mirror}]}",
                "PATH.filters[0].type: expected one of RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, found \"Mirror\"",
            ),
            (
                "{backendRefs: [{name: b, port: 80, filters: [{type: URLRewrite}]}]}",
                "PATH.backendRefs[0].filters[0].type: URLRewrite is not supported in a GRPCRoute: use an HTTPRoute",
            ),
            (
                "{sessionPersistence: {}}",
                "PATH.sessionPersistence: is not supported: use a TrafficPolicy with loadBalancing.hashOn.cookie",
            ),
            (
                "{timeouts: {request: 1s}, retry: {}}",
                "PATH.timeouts: is not supported in a GRPCRoute: use a TrafficPolicy with this rule as its target\nPATH.retry: is not supported in a GRPCRoute: use a TrafficPolicy with this rule as its target",
            ),
        ],
    );
}

#[test]
fn of_size() {
    let many = |count: usize, item: &str| vec![item; count].join(", ");
    let prefix = format!("{HTTP}{PARENT}  rules: [{{matches: [");
    let regexes = many(101, "{path: {type: RegularExpression, value: /a}}");
    let regexes = format!("{prefix}{regexes}]}}]\n");
    let expected = "f.yaml:5: spec: has 101 regular expressions; one route may have 100: split it";
    assert_eq!(read(&regexes), Err(vec![expected.to_owned()]));
    let matches = format!("{prefix}{}]}}]\n", many(9_999, "{}"));
    let expected =
        "f.yaml:5: spec: has 10001 items in its lists; one route may have 10000: split it";
    assert_eq!(read(&matches), Err(vec![expected.to_owned()]));
    assert!(read(&format!("{prefix}{}]}}]\n", many(9_998, "{}"))).is_ok());
}

#[test]
fn of_one_route_all_at_once() {
    check(
        "",
        &[(
            "\
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: Orders}
spec:
  parentRefs:
    - name: edge
  rules:
    - matches:
        - path: {type: Exact, value: orders}
      filters:
        - type: URLRewrite
          urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
      backendRefs:
        - {name: orders, weight: ten}
",
            "1: apiVersion: kind HTTPRoute has apiVersion gateway.networking.k8s.io/v1
3: metadata.name: expected a name of at most 253 lower-case letters, digits, inner `-` and `.`, found \"Orders\"
6: spec.parentRefs[0].kind: a route of the mesh names a Service as its parent: write `kind: Service` and `group: \"\"`
9: spec.rules[0].matches[0].path.value: \"orders\" is not a path: it must begin with `/`
14: spec.rules[0].backendRefs[0]: missing field `port`
14: spec.rules[0].backendRefs[0].weight: expected a number from 0 to 1000000, found \"ten\"",
        )],
    );
}
