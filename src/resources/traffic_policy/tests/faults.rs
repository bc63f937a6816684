//! Policy → the exact lines that a person reads; all of them stand on line 5.

use super::{HEAD, read};

fn check(rows: &[(&str, &str)]) {
    for (spec, expected) in rows {
        let text = format!("{HEAD}  {spec}\n");
        let faults = read(&text).expect_err(&text);
        let expected: Vec<_> =
            expected.lines().map(|line| format!("f.yaml:5: spec{line}")).collect();
        assert_eq!(faults, expected, "{text}");
    }
}

#[test]
fn of_targets() {
    const ROUTE: &str = "targetRefs: [{kind: HTTPRoute, name: a}]";
    let connections = "concerns the service's connections, which a route has no say in: target the Service, in a policy of its own";
    check(&[
        (
            "targetRefs: []",
            ".targetRefs: names nothing; leave it out in a policy for the whole namespace",
        ),
        ("targetRefs: [{name: a}]", ".targetRefs[0]: missing field `kind`"),
        (
            "targetRefs: [{kind: Pod, name: a}]",
            ".targetRefs[0].kind: expected one of Service, HTTPRoute, GRPCRoute, found \"Pod\"",
        ),
        (
            "targetRefs: [{kind: Service, name: a.b}]",
            ".targetRefs[0].name: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"a.b\"",
        ),
        (
            "targetRefs: [{kind: Service, group: apps, name: a}]",
            ".targetRefs[0].group: Service is of group \"\"",
        ),
        (
            "targetRefs: [{kind: HTTPRoute, group: core, name: a}]",
            ".targetRefs[0].group: HTTPRoute is of group \"gateway.networking.k8s.io\"",
        ),
        (
            "targetRefs: [{kind: Service, name: a, namespace: b}]",
            ".targetRefs[0].namespace: a policy is about its own namespace only; remove it",
        ),
        (
            "targetRefs: [{kind: Service, name: a}, {kind: Service, name: a, sectionName: b}, {group: '', kind: Service, name: a}]",
            ".targetRefs[2].name: Service a is taken by item 0",
        ),
        (
            &format!("{{{ROUTE}, limits: {{}}, tls: mesh, retry: {{}}}}"),
            &format!(".limits: {connections}\n.tls: {connections}"),
        ),
        (
            &format!(
                "{{{ROUTE}, circuitBreaker: {{}}, headerCase: preserve, loadBalancing: {{}}}}"
            ),
            &format!(
                ".circuitBreaker: {connections}\n.headerCase: {connections}\n.loadBalancing: {connections}"
            ),
        ),
        ("{timeout: {}}", ": unknown field `timeout`; did you mean `timeouts`?"),
        ("headerCase: keep", ".headerCase: expected one of preserve, lower, found \"keep\""),
    ]);
}

#[test]
fn of_balancing() {
    check(&[
        (
            "loadBalancing: {policy: roundrobin}",
            ".loadBalancing.policy: expected one of peakEwma, leastRequest, roundRobin, random, ringHash, maglev, found \"roundrobin\"; did you mean `roundRobin`?",
        ),
        (
            "loadBalancing: {policy: maglev}",
            ".loadBalancing.policy: needs hashOn, which says what the key of a request is",
        ),
        (
            "loadBalancing: {hashOn: {path: true}}",
            ".loadBalancing.hashOn: only ringHash and maglev hash; choose one of them or remove it",
        ),
        (
            "loadBalancing: {policy: random, hashOn: {path: true}}",
            ".loadBalancing.hashOn: only ringHash and maglev hash; choose one of them or remove it",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {}}",
            ".loadBalancing.hashOn: names 0 keys; name exactly one of header, cookie, query, path, sourceIp",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {path: true, query: a}}",
            ".loadBalancing.hashOn: names 2 keys; name exactly one of header, cookie, query, path, sourceIp",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {path: false}}",
            ".loadBalancing.hashOn.path: false says nothing; leave the field out",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {sourceIp: 'yes'}}",
            ".loadBalancing.hashOn.sourceIp: expected true or false, found \"yes\"",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {header: 'x y'}}",
            ".loadBalancing.hashOn.header: expected a header's name such as x-user, found \"x y\"",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {query: ''}}",
            ".loadBalancing.hashOn.query: expected the name of a query parameter, found \"\"",
        ),
        (
            "loadBalancing: {policy: maglev, hashOn: {cookie: {name: 'a=b', path: x, ttl: 1500ms}}}",
            ".loadBalancing.hashOn.cookie.name: expected a cookie's name, without spaces, `=` or `;`, found \"a=b\"\n.loadBalancing.hashOn.cookie.path: expected a path such as /, found \"x\"\n.loadBalancing.hashOn.cookie.ttl: cookies live whole seconds",
        ),
        (
            "loadBalancing: {locality: zone, warmup: 0s, panicThreshold: 0}",
            ".loadBalancing.locality: expected one of preferZone, off, found \"zone\"\n.loadBalancing.warmup: zero never means off; leave the field out\n.loadBalancing.panicThreshold: expected a number from 1 to 100, found 0",
        ),
        ("tls: plain", ".tls: expected mesh, off, or originate: {sni, caFile}, found \"plain\""),
        ("tls: {}", ".tls: missing field `originate`"),
        (
            "tls: {originate: {sni: 10.0.0.1, caFile: ca.pem}}",
            ".tls.originate.sni: expected a host name, found \"10.0.0.1\"\n.tls.originate.caFile: expected an absolute path, found \"ca.pem\"",
        ),
    ]);
}

#[test]
fn of_bounds_and_circuits() {
    check(&[
        (
            "limits: {maxRequests: 0, queueTimeout: 1}",
            ".limits.maxRequests: expected a number from 1 to 1000000000, found 0\n.limits.queueTimeout: expected a duration such as 250ms, 1s or 5m, found 1; add the unit",
        ),
        (
            "timeouts: {request: 0s, backendRequest: 1s}",
            ".timeouts.request: zero never means off; leave the field out\n.timeouts.backendRequest: is a field of HTTPRoute; here responseHeaders, or retry.perTryTimeout, bounds an attempt",
        ),
        (
            "circuitBreaker: {on: [resets, ok]}",
            ".circuitBreaker.on[0]: expected one of connect-failure, reset, per-try-timeout, gateway-error, 5xx, or a gRPC code such as unavailable, found \"resets\"; did you mean `reset`?\n.circuitBreaker.on[1]: expected one of connect-failure, reset, per-try-timeout, gateway-error, 5xx, or a gRPC code such as unavailable, found \"ok\"",
        ),
        (
            "circuitBreaker: {openFor: 2m}",
            ".circuitBreaker.openFor: openFor is 2m and so longer than maxOpenFor, 1m",
        ),
        (
            "circuitBreaker: {maxOpenFor: 1s}",
            ".circuitBreaker.maxOpenFor: openFor is 5s and so longer than maxOpenFor, 1s",
        ),
        (
            "circuitBreaker: {halfOpenRequests: 256, minReadyEndpoints: -1, consecutiveFailures: 0}",
            ".circuitBreaker.halfOpenRequests: expected a number from 1 to 255, found 256\n.circuitBreaker.minReadyEndpoints: expected a number from 0 to 1000000000, found -1\n.circuitBreaker.consecutiveFailures: expected a number from 1 to 1000000000, found 0",
        ),
        (
            "circuitBreaker: {failureRate: {threshold: 101}, slowCalls: {threshold: 50}}",
            ".circuitBreaker.failureRate.threshold: expected a number from 1 to 100, found 101\n.circuitBreaker.slowCalls: missing field `slowerThan`",
        ),
    ]);
}

#[test]
fn of_retries() {
    check(&[
        ("retry: {maxRetries: 11}", ".retry.maxRetries: expected a number from 0 to 10, found 11"),
        (
            "retry: {on: [unavailable]}",
            ".retry.on[0]: expected one of connect-failure, refused-stream, reset-before-response, reset, 5xx, gateway-error, retriable-4xx, found \"unavailable\"",
        ),
        (
            "retry: {statusCodes: [199, '503', 529-520, 500-600]}",
            ".retry.statusCodes[0]: expected a number from 200 to 599, found 199\n.retry.statusCodes[1]: expected a number from 200 to 599, found \"503\"; remove the quotes\n.retry.statusCodes[2]: expected a range of statuses within 200-599, such as 520-529, found \"529-520\"\n.retry.statusCodes[3]: expected a range of statuses within 200-599, such as 520-529, found \"500-600\"",
        ),
        (
            "retry: {grpcCodes: [unavailabel]}",
            ".retry.grpcCodes[0]: expected one of cancelled, unknown, invalid-argument, deadline-exceeded, not-found, already-exists, permission-denied, resource-exhausted, failed-precondition, aborted, out-of-range, unimplemented, internal, unavailable, data-loss, unauthenticated, found \"unavailabel\"; did you mean `unavailable`?",
        ),
        ("retry: {methods: all}", ".retry.methods: expected one of idempotent, any, found \"all\""),
        (
            "retry: {methods: []}",
            ".retry.methods: names no method; leave it out for the idempotent ones",
        ),
        (
            "retry: {methods: [get, a./B, 'G T']}",
            ".retry.methods[0]: expected a method such as GET, or package.Service/Method of gRPC, found \"get\"\n.retry.methods[1]: expected a method such as GET, or package.Service/Method of gRPC, found \"a./B\"\n.retry.methods[2]: expected a method such as GET, or package.Service/Method of gRPC, found \"G T\"",
        ),
        (
            "retry: {backoff: {base: 1s}}",
            ".retry.backoff.base: base is 1s and so longer than max, 250ms",
        ),
        (
            "retry: {backoff: {max: 10ms}}",
            ".retry.backoff.max: base is 25ms and so longer than max, 10ms",
        ),
        (
            "retry: {backoff: {strategy: fixed, max: 1s, jitter: half}}",
            ".retry.backoff.max: fixed pauses don't grow; remove it\n.retry.backoff.jitter: expected one of full, none, found \"half\"",
        ),
        (
            "retry: {budget: {ratio: 0, minPerSecond: 0}}",
            ".retry.budget: allows no retry at all; write maxRetries: 0 instead",
        ),
        (
            "retry: {bodyLimit: 0, perTryTimeout: 0s}",
            ".retry.bodyLimit: zero never means off; leave the field out\n.retry.perTryTimeout: zero never means off; leave the field out",
        ),
        ("hedge: {}", ".hedge: missing field `after`"),
        (
            "hedge: {after: p99, maxExtra: 5}",
            ".hedge.after: expected p95 or a duration such as 50ms, found \"p99\"\n.hedge.maxExtra: expected a number from 1 to 4, found 5",
        ),
    ]);
}

#[test]
fn of_faults() {
    check(&[
        (
            "fault: {delay: {percent: 100.5}}",
            ".fault.delay: missing field `duration`\n.fault.delay.percent: expected a percentage from 0 to 100, found 100.5",
        ),
        (
            "fault: {delay: {percent: 0.00001, duration: 1s}}",
            ".fault.delay.percent: is too fine; a percentage has at most four decimals",
        ),
        (
            "fault: {delay: {percent: .nan, duration: 0s}}",
            ".fault.delay.percent: expected a percentage from 0 to 100, found NaN\n.fault.delay.duration: zero never means off; leave the field out",
        ),
        (
            "fault: {abort: {percent: 1}}",
            ".fault.abort: says 0 ways to fail; say exactly one of httpStatus, grpcStatus, reset",
        ),
        (
            "fault: {abort: {percent: 1, httpStatus: 500, reset: true}}",
            ".fault.abort: says 2 ways to fail; say exactly one of httpStatus, grpcStatus, reset",
        ),
        (
            "fault: {abort: {percent: 1, httpStatus: 199}}",
            ".fault.abort.httpStatus: expected a number from 200 to 599, found 199",
        ),
        (
            "fault: {abort: {percent: 1, grpcStatus: 0}}",
            ".fault.abort.grpcStatus: expected a number from 1 to 16, found 0",
        ),
        (
            "fault: {match: {headers: {a: b}}}",
            ".fault.match: says for which requests, but not what: add delay or abort",
        ),
        (
            "fault: {delay: {percent: 1, duration: 1s}, match: {headers: []}}",
            ".fault.match.headers: names no header; leave match out for every request",
        ),
        (
            "fault: {delay: {percent: 1, duration: 1s}, match: {headers: [{name: a, value: '['}, {name: b, value: b, type: Regex}]}}",
            ".fault.match.headers[1].type: expected one of Exact, RegularExpression, found \"Regex\"",
        ),
        (
            "fault: {delay: {percent: 1, duration: 1s}, match: {headers: [{name: a, value: '[', type: RegularExpression}]}}",
            ".fault.match.headers[0].value: is not a regular expression: unclosed character class",
        ),
        (
            "fault: {delay: {percent: 1, duration: 1s}, match: {headers: {a: 1, host: b}}}",
            ".fault.match.headers.a: expected a header's value: printable ASCII, not empty, without spaces around it, found 1; put it in quotes\n.fault.match.headers: is not supported in headers: hosts are matched by spec.hostnames",
        ),
        (
            "fault: {delay: {percent: 1, duration: 1s}, match: {headers: [{name: a, value: b}, {name: A, value: c}]}}",
            ".fault.match.headers[1].name: a is taken by item 0",
        ),
    ]);
}

#[test]
fn of_fallbacks() {
    check(&[
        ("fallback: {}", ".fallback: say exactly one of service and response"),
        (
            "fallback: {service: a, response: {}}",
            ".fallback: say exactly one of service and response",
        ),
        (
            "fallback: {service: 'a.b.c'}",
            ".fallback.service: expected a service such as api, api.shop or api.shop:80, found \"a.b.c\"",
        ),
        (
            "fallback: {service: 'a:0'}",
            ".fallback.service: expected a service such as api, api.shop or api.shop:80, found \"a:0\"",
        ),
        (
            "fallback: {response: {status: 204, body: x}}",
            ".fallback.response.body: status 204 has none; remove one of both",
        ),
        (
            "fallback: {response: {headers: {Content-Length: '1', a: 1, 'b c': d, e: f, E: f}}}",
            ".fallback.response.headers.Content-Length: content-length is written by the sidecar; remove it\n.fallback.response.headers.a: expected a header's value, of visible ASCII, found 1; put it in quotes\n.fallback.response.headers: expected a header's name such as x-user, found \"b c\"\n.fallback.response.headers.E: e is given twice",
        ),
    ]);
}

/// `many` items of a list, each made from its number.
fn many(many: usize, item: impl Fn(usize) -> String) -> String {
    (0..many).map(item).collect::<Vec<_>>().join(", ")
}

#[test]
fn of_what_is_too_much() {
    let target = |n: usize| format!("{{kind: Service, name: s{n}}}");
    let status = |n: usize| (n + 400).to_string();
    let method = |n: usize| format!("a.B/M{n}");
    let regex = |n: usize| format!("{{type: RegularExpression, name: h{n}, value: '['}}");
    let header = |n: usize| format!("h{n}: a");
    type Row<'a> = (&'a str, usize, &'a dyn Fn(usize) -> String, &'a str, &'a str);
    let rows: [Row<'_>; 6] = [
        ("targetRefs: [", 64, &target, "]", ".targetRefs: has 65 targets; one policy may have 64"),
        (
            "retry: {statusCodes: [",
            100,
            &status,
            "]}",
            ".retry.statusCodes: has 101 statuses; one policy may have 100",
        ),
        (
            "retry: {methods: [",
            1_000,
            &method,
            "]}",
            ".retry.methods: has 1001 methods; one policy may have 1000",
        ),
        (
            "fault: {abort: {percent: 1, reset: true}, match: {headers: {",
            64,
            &header,
            "}}}",
            ".fault.match.headers: has 65 headers to match; one policy may have 64",
        ),
        (
            "fallback: {response: {headers: {",
            100,
            &header,
            "}}}",
            ".fallback.response.headers: has 101 headers; one policy may have 100",
        ),
        (
            "fallback: {response: {body: ",
            64 << 10,
            &|_| String::new(),
            "}}",
            ".fallback.response.body: has 65537 bytes; it may have 65536",
        ),
    ];
    for (before, most, item, after, why) in rows {
        let text = |n: usize| match before.ends_with("body: ") {
            true => format!("{HEAD}  {before}{}{after}\n", "x".repeat(n)),
            false => format!("{HEAD}  {before}{}{after}\n", many(n, item)),
        };
        read(&text(most)).expect(why);
        let faults = read(&text(most + 1)).expect_err(why);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(why), "{faults:?} lacks {why}");
    }
    // Counted before one of them is compiled.
    let fault = format!(
        "{HEAD}  fault: {{abort: {{percent: 1, reset: true}}, match: {{headers: [{}]}}}}\n",
        many(65, regex)
    );
    assert_eq!(read(&fault).expect_err("too many").len(), 1);
}
