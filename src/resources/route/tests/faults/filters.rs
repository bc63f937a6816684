//! As the room above, of filters.

use super::{HTTP, check_rule};

#[test]
fn of_header_modifiers() {
    let of_connections = "can't be changed: it is about the connection or the framing, which every hop has its own of";
    let of_sidecars = "can't be changed: only sidecars write x-outrigger-* headers";
    let rows = [
        ("Connection", of_connections),
        ("content-length", of_connections),
        ("keep-alive", of_connections),
        ("proxy-connection", of_connections),
        ("te", of_connections),
        ("trailer", of_connections),
        ("transfer-encoding", of_connections),
        ("upgrade", of_connections),
        ("X-Outrigger-Peer", of_sidecars),
        ("host", "can't be changed here: use a URLRewrite filter with hostname"),
    ];
    for (name, why) in rows {
        for (field, kind) in
            [("requestHeaderModifier", "Request"), ("responseHeaderModifier", "Response")]
        {
            let rule = format!(
                "{{filters: [{{type: {kind}HeaderModifier, {field}: {{set: [{{name: {name}, value: v}}], remove: [{name}]}}}}]}}"
            );
            let lower = name.to_ascii_lowercase();
            let expected = format!(
                "PATH.filters[0].{field}.set[0].name: {lower} {why}\nPATH.filters[0].{field}.remove[0]: {lower} {why}"
            );
            check_rule(HTTP, &[(&rule, &expected)]);
        }
    }
    let modifier = |says: &str| {
        format!("{{filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {says}}}]}}")
    };
    let at = "PATH.filters[0].requestHeaderModifier";
    let rows = [
        ("{set: [{name: a, value: b}, {name: A, value: c}]}", "set[1].name: a is taken by item 0"),
        ("{add: [{name: a, value: b}, {name: a, value: c}]}", "add[1].name: a is taken by item 0"),
        ("{remove: [a, b, A]}", "remove[2]: a is taken by item 0"),
        ("{remove: [':path']}", "remove[0]: expected the name of a header, found \":path\""),
        (
            "{add: [{name: a, value: \"b\\nc\"}]}",
            "add[0].value: expected a header's value: printable ASCII, not empty, without spaces around it, found \"b\\nc\"",
        ),
    ];
    for (says, expected) in rows {
        check_rule(HTTP, &[(&modifier(says), &format!("{at}.{expected}"))]);
    }
}

#[test]
fn of_redirects_and_rewrites() {
    check_rule(
        HTTP,
        &[
            (
                "{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}",
                "PATH.filters[0].requestRedirect: redirects to the same place: give scheme, hostname, path or port",
            ),
            (
                "{filters: [{type: RequestRedirect, requestRedirect: {scheme: ftp, statusCode: 300, hostname: '*.a', port: 0}}]}",
                "PATH.filters[0].requestRedirect.scheme: expected one of http, https, found \"ftp\"\nPATH.filters[0].requestRedirect.statusCode: expected one of 301, 302, 303, 307, 308, found 300\nPATH.filters[0].requestRedirect.hostname: expected a host name, in lower case, without port, no IP address, found \"*.a\"\nPATH.filters[0].requestRedirect.port: expected a number from 1 to 65535, found 0",
            ),
            (
                "{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}], backendRefs: [{name: b, port: 80}]}",
                "PATH.backendRefs: a rule with a RequestRedirect sends nothing to backends: remove one of both",
            ),
            (
                "{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}, {type: URLRewrite, urlRewrite: {hostname: a.b}}]}",
                "PATH.filters: RequestRedirect and URLRewrite exclude each other: a request that is sent elsewhere does not go on",
            ),
            (
                "{filters: [{type: URLRewrite, urlRewrite: {hostname: 'a.b:80'}}]}",
                "PATH.filters[0].urlRewrite.hostname: expected a host name, in lower case, without port, no IP address, found \"a.b:80\"",
            ),
            (
                "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /a}}}]}",
                "PATH.filters[0].urlRewrite.path: missing field `replaceFullPath`\nPATH.filters[0].urlRewrite.path.replacePrefixMatch: is for the type ReplacePrefixMatch",
            ),
            (
                "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: a}}}]}",
                "PATH.filters[0].urlRewrite.path.replacePrefixMatch: \"a\" is not a path: it must begin with `/`",
            ),
            (
                "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: ''}}}]}",
                "PATH.filters[0].urlRewrite.path.replaceFullPath: \"\" is not a path: it must begin with `/`",
            ),
            (
                "{matches: [{path: {value: /a}}, {path: {type: Exact, value: /b}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /c}}}]}",
                "PATH.filters[0].urlRewrite.path.type: ReplacePrefixMatch needs a path of type PathPrefix in every match of the rule",
            ),
            (
                "{matches: [{path: {type: RegularExpression, value: /b}}], backendRefs: [{name: b, port: 80, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /c}}}]}]}",
                "PATH.backendRefs[0].filters[0].urlRewrite.path.type: ReplacePrefixMatch needs a path of type PathPrefix in every match of the rule",
            ),
        ],
    );
}

#[test]
fn of_mirrors() {
    let rows = [
        ("{}", ": missing field `backendRef`"),
        ("{backendRef: {name: m}}", ".backendRef: missing field `port`"),
        (
            "{backendRef: {name: m, port: 1, weight: 1}}",
            ".backendRef: unknown field `weight`; known here: kind, group, name, namespace, port",
        ),
        (
            "{backendRef: {name: m, port: 1, kind: Pod}}",
            ".backendRef.kind: only Service is supported, found \"Pod\"",
        ),
        (
            "{backendRef: {name: m, port: 1}, percent: 101}",
            ".percent: expected a number from 0 to 100, found 101",
        ),
        (
            "{backendRef: {name: m, port: 1}, percent: 1, fraction: {numerator: 1}}",
            ".fraction: says the same as percent: give one of both",
        ),
        (
            "{backendRef: {name: m, port: 1}, fraction: {denominator: 0}}",
            ".fraction: missing field `numerator`\nPATH.filters[0].requestMirror.fraction.denominator: expected a number from 1 to 2147483647, found 0",
        ),
        (
            "{backendRef: {name: m, port: 1}, fraction: {numerator: 101}}",
            ".fraction.numerator: is more than the denominator, 100",
        ),
        (
            "{backendRef: {name: m, port: 1}, fraction: {numerator: 1, denominator: 3000000}}",
            ".fraction.numerator: comes to less than one in a million",
        ),
    ];
    for (says, expected) in rows {
        let rule = format!("{{filters: [{{type: RequestMirror, requestMirror: {says}}}]}}");
        check_rule(HTTP, &[(&rule, &format!("PATH.filters[0].requestMirror{expected}"))]);
    }
}

#[test]
fn of_cors() {
    const ORIGIN: &str = "expected an origin as browsers write it, such as https://example.com, \
        http://localhost:8080 or https://*.example.com: in lower case, without path, \
        without the scheme's usual port, found";
    let cors = |says: &str| format!("{{filters: [{{type: CORS, cors: {says}}}]}}");
    let origins = [
        "example.com",
        "https://a.b/",
        "https://A.b",
        "https://a.b:443",
        "http://a.b:80",
        "https://a.b:0",
        "https://a.*.b",
        "://a",
        "null",
    ];
    for origin in origins {
        let says = cors(&format!("{{allowOrigins: ['{origin}']}}"));
        let expected = format!("PATH.filters[0].cors.allowOrigins[0]: {ORIGIN} {origin:?}");
        check_rule(HTTP, &[(&says, &expected)]);
    }
    let rows = [
        (
            "{allowOrigins: ['*', 'https://a.b']}",
            "allowOrigins: `*` stands alone: it is everything",
        ),
        ("{allowHeaders: [X-A, x-a]}", "allowHeaders: x-a is there twice"),
        (
            "{exposeHeaders: ['a b']}",
            "exposeHeaders[0]: expected the name of a header, found \"a b\"",
        ),
        (
            "{allowMethods: [LIST]}",
            "allowMethods[0]: expected one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH, found \"LIST\"",
        ),
        ("{allowCredentials: 'true'}", "allowCredentials: expected true or false, found \"true\""),
        ("{maxAge: 0}", "maxAge: expected a number from 1 to 2147483647, found 0"),
    ];
    for (says, expected) in rows {
        check_rule(HTTP, &[(&cors(says), &format!("PATH.filters[0].cors.{expected}"))]);
    }
}

#[test]
fn of_filters() {
    check_rule(
        HTTP,
        &[
            ("{filters: [{cors: {}}]}", "PATH.filters[0]: missing field `type`"),
            ("{filters: [{type: CORS}]}", "PATH.filters[0]: missing field `cors`"),
            (
                "{filters: [{type: Cors, cors: {}}]}",
                "PATH.filters[0].type: expected one of RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS, found \"Cors\"; did you mean `CORS`?",
            ),
            (
                "{filters: [{type: CORS, cors: {}, urlRewrite: {}}]}",
                "PATH.filters[0].urlRewrite: is for a filter of type URLRewrite, not CORS",
            ),
            (
                "{filters: [{type: CORS, cors: {}, name: x}]}",
                "PATH.filters[0]: unknown field `name`; known here: type, cors",
            ),
            (
                "{filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}",
                "PATH.filters[0].type: ExtensionRef is not supported: the mesh has no filters beside the Gateway API's",
            ),
            (
                "{filters: [{type: ExternalAuth, externalAuth: {}}]}",
                "PATH.filters[0].type: ExternalAuth is not supported: who may call is said by an AccessPolicy",
            ),
            (
                "{filters: [{type: CORS, cors: {}}, {type: URLRewrite, urlRewrite: {}}, {type: CORS, cors: {}}]}",
                "PATH.filters[2]: CORS may stand once; item 0 is one already",
            ),
            (
                "{backendRefs: [{name: b, port: 80, filters: [{type: CORS, cors: {}}]}]}",
                "PATH.backendRefs[0].filters[0].type: CORS is not supported on a backend: make it a filter of the rule",
            ),
            (
                "{backendRefs: [{name: b, port: 80, filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}]}",
                "PATH.backendRefs[0].filters[0].type: RequestRedirect is not supported on a backend: make it a filter of the rule",
            ),
        ],
    );
}
