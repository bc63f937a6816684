//! What a policy may say, what it comes to, and what is said about one that can't be used.

use std::time::Duration;

use proptest::prelude::*;

use super::words::{percent_of, written};
use super::*;
use crate::model::*;
use crate::resources::{Fault as Wrong, Origin, Resource, manifest, parse_documents};

mod faults;

fn read(text: &str) -> Result<TrafficPolicy, Vec<String>> {
    let read = parse_documents(text, &Origin::file("f.yaml"), "shop");
    let read = read.map_err(|faults| faults.iter().map(Wrong::to_string).collect::<Vec<_>>())?;
    match <[Resource; 1]>::try_from(read) {
        Ok([Resource::TrafficPolicy(policy)]) => Ok(*policy),
        other => panic!("{text}: {other:?}"),
    }
}

fn policy(spec: &str) -> TrafficPolicy {
    read(&format!("{HEAD}{spec}")).expect(spec)
}

const HEAD: &str =
    "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: api}\nspec:\n";

const EVERYTHING: &str = r#"
  targetRefs: [{kind: Service, name: api}, {group: core, kind: Service, name: web, sectionName: http}]
  loadBalancing:
    policy: ringHash
    hashOn: {cookie: {name: sticky, path: /, ttl: 1h}}
    locality: "off"
    warmup: 30s
    panicThreshold: 50
  limits: {maxConnections: 1, maxRequests: 2, maxPendingRequests: 3, queueTimeout: 4s, maxRequestsPerConnection: 5}
  circuitBreaker:
    on: [5xx, per-try-timeout, unavailable, DEADLINE_EXCEEDED]
    consecutiveFailures: 7
    failureRate: {threshold: 40, window: 20s, minimumRequests: 30}
    slowCalls: {threshold: 80, slowerThan: 2s}
    openFor: 1s
    maxOpenFor: 2s
    halfOpenRequests: 255
    minReadyEndpoints: 0
  retry:
    maxRetries: 0
    on: [reset, retriable-4xx]
    statusCodes: [503, "520-529"]
    grpcCodes: [unavailable, RESOURCE_EXHAUSTED]
    methods: [POST, shop.v1.Orders/Place, GET]
    perTryTimeout: 2s
    backoff: {strategy: exponential, base: 1s, max: 1s500ms, jitter: none}
    budget: {ratio: 150, minPerSecond: 0}
    bodyLimit: 1MiB
  hedge: {after: p95, maxExtra: 4}
  timeouts: {request: 15s, responseHeaders: 10s, idle: 1m, connect: 250ms}
  fault:
    delay: {percent: 12.5, duration: 200ms}
    abort: {percent: 0.0001, grpcStatus: 14}
    match: {headers: [{name: X-A, value: b}, {name: x-c, type: RegularExpression, value: "d+"}]}
  fallback: {service: static}
  headerCase: preserve
  tls: {originate: {sni: Api.Example, caFile: /etc/ca.pem}}
"#;

#[test]
fn everything_is_read() {
    let said = policy(EVERYTHING);
    let target = |name: &str, section: Option<&str>| TargetRef {
        kind: TargetKind::Service,
        name: name.into(),
        section: section.map(str::to_owned),
    };
    assert_eq!(said.targets, [target("api", None), target("web", Some("http"))]);
    let cookie = HashOn::Cookie {
        name: "sticky".into(),
        path: Some("/".into()),
        ttl: Some(Duration::from_secs(3600)),
    };
    let balancing = Balancing {
        policy: BalancingPolicy::RingHash(cookie),
        prefers_zone: false,
        warmup: Some(Duration::from_secs(30)),
        panic_threshold: Some(50),
    };
    assert_eq!(said.load_balancing, Some(balancing));
    let limits = Limits {
        max_connections: 1,
        max_requests: 2,
        max_pending_requests: 3,
        queue_timeout: Duration::from_secs(4),
        max_requests_per_connection: 5,
    };
    assert_eq!(said.limits, Some(limits));
    let timeouts = Timeouts {
        request: Some(Duration::from_secs(15)),
        backend_request: None,
        response_headers: Some(Duration::from_secs(10)),
        connect: Duration::from_millis(250),
        idle: Duration::from_secs(60),
    };
    assert_eq!(said.timeouts, Some(timeouts));
    assert_eq!(said.hedge, Some(Hedge { after: HedgeAfter::P95, max_extra: 4 }));
    assert_eq!(said.keeps_header_case, Some(true));
    let ca_file = Some(std::path::Path::new("/etc/ca.pem").into());
    let originate = Originate { sni: Some("api.example".into()), ca_file };
    assert_eq!(said.tls, Some(Tls::Originate(originate)));
    let fallback = ServiceName { name: "static".into(), namespace: "shop".into(), port: 0 };
    assert_eq!(said.fallback, Some(FallbackSpec::Service(fallback)));
}

#[test]
fn circuits_and_retries_are_read() {
    let said = policy(EVERYTHING);
    let circuit = Circuit {
        on: CircuitOn {
            connect_failure: false,
            reset: false,
            per_try_timeout: true,
            gateway_error: false,
            server_error: true,
            grpc: GrpcCodes::default().with(14).with(4),
        },
        consecutive_failures: 7,
        failure_rate: Some(FailureRate {
            threshold_percent: 40,
            window: Duration::from_secs(20),
            minimum_requests: 30,
        }),
        slow_calls: Some(SlowCalls { threshold_percent: 80, slower_than: Duration::from_secs(2) }),
        open_for: Duration::from_secs(1),
        max_open_for: Duration::from_secs(2),
        half_open_requests: 255,
        min_ready_endpoints: 0,
    };
    assert_eq!(said.circuit, Some(circuit));
    let retry = Retry {
        max_retries: 0,
        on: RetryOn {
            connect_failure: false,
            refused_stream: false,
            reset_before_response: false,
            reset: true,
            server_error: false,
            gateway_error: false,
            retriable_4xx: true,
        },
        status_codes: [503..=503, 520..=529].into(),
        grpc_codes: GrpcCodes::default().with(14).with(8),
        methods: Methods::List {
            http: [http::Method::POST, http::Method::GET].into(),
            grpc: ["/shop.v1.Orders/Place".into()].into(),
        },
        per_try_timeout: Some(Duration::from_secs(2)),
        backoff: Backoff {
            strategy: BackoffStrategy::Exponential,
            base: Duration::from_secs(1),
            max: Duration::from_millis(1500),
            full_jitter: false,
        },
        budget: RetryBudget { ratio_percent: 150, min_per_second: 0 },
        body_limit_bytes: 1 << 20,
    };
    assert_eq!(said.retry, Some(retry));
    let header = |name, value| HeaderMatch { name: http::HeaderName::from_static(name), value };
    let fault = Fault {
        delay: Some(Delay { share: Share(125_000), duration: Duration::from_millis(200) }),
        abort: Some(Abort { share: Share(1), with: AbortWith::Grpc(14) }),
        headers: vec![
            header("x-a", ValueMatch::Exact("b".into())),
            header("x-c", ValueMatch::Regex("d+".into())),
        ],
    };
    assert_eq!(said.fault, Some(fault));
}

#[test]
fn a_part_that_is_written_has_the_defaults_of_its_own() {
    let empty = policy(
        "  {loadBalancing: {}, limits: {}, circuitBreaker: {}, retry: {}, timeouts: {}, fault: {}}",
    );
    assert_eq!(empty.load_balancing, Some(Balancing::default()));
    assert_eq!(empty.limits, Some(Limits::default()));
    assert_eq!(empty.circuit, Some(Circuit::default()));
    assert_eq!(empty.retry, Some(Retry::default()));
    assert_eq!(empty.timeouts, Some(Timeouts::default()));
    assert_eq!(empty.fault, Some(Fault::default()));
    assert_eq!((empty.hedge, empty.fallback, empty.tls), (None, None, None));
    let one = policy("  retry: {maxRetries: 1}").retry;
    assert_eq!(one, Some(Retry { max_retries: 1, ..Retry::default() }));
    let nothing = policy("  {}");
    assert_eq!((nothing.retry, nothing.targets.len()), (None, 0));
}

#[test]
fn shorter_forms() {
    let fault = |spec: &str| policy(spec).fault.expect(spec);
    let named = fault("  fault: {abort: {percent: 1, grpcStatus: UNAVAILABLE}}").abort;
    assert_eq!(named, Some(Abort { share: Share(10_000), with: AbortWith::Grpc(14) }));
    let reset = fault("  fault: {abort: {percent: 100, reset: true}}").abort;
    assert_eq!(reset, Some(Abort { share: Share::ALL, with: AbortWith::Reset }));
    let map = fault("  fault: {delay: {percent: 1, duration: 1s}, match: {headers: {X-A: b}}}");
    let value = ValueMatch::Exact("b".into());
    let name = http::HeaderName::from_static("x-a");
    assert_eq!(map.headers, [HeaderMatch { name, value }]);
    let fixed = policy("  retry: {backoff: {strategy: fixed, base: 2s}}").retry.expect("said");
    assert_eq!(fixed.backoff.base, Duration::from_secs(2));
    let other = policy("  fallback: {service: 'api.other:8080'}").fallback;
    let service = ServiceName::parse("api.other:8080", "x").expect("a name");
    assert_eq!(other, Some(FallbackSpec::Service(service)));
    assert_eq!(policy("  tls: off").tls, Some(Tls::Off));
}

#[test]
fn what_is_printed_reads_back_to_the_same() {
    let rows = [
        EVERYTHING,
        "  {}",
        "  {loadBalancing: {}, limits: {}, circuitBreaker: {}, retry: {}, timeouts: {}, fault: {}}",
        "  loadBalancing: {policy: maglev, hashOn: {header: X-User}}",
        "  loadBalancing: {policy: maglev, hashOn: {query: 'a b'}}",
        "  loadBalancing: {policy: maglev, hashOn: {path: true}}",
        "  loadBalancing: {policy: ringHash, hashOn: {sourceIp: true}}",
        "  loadBalancing: {policy: ringHash, hashOn: {cookie: {name: a}}}",
        "  loadBalancing: {policy: leastRequest}",
        "  loadBalancing: {policy: roundRobin}",
        "  loadBalancing: {policy: random}",
        "  circuitBreaker: {on: []}",
        "  circuitBreaker: {on: [connect-failure, reset, gateway-error, cancelled, unauthenticated]}",
        "  retry: {on: [], methods: any}",
        "  retry: {on: [connect-failure, refused-stream, reset-before-response, 5xx, gateway-error]}",
        "  retry: {backoff: {strategy: fixed, base: 2s}, bodyLimit: 1500}",
        "  hedge: {after: 50ms}",
        "  fault: {abort: {percent: 0, httpStatus: 599}}",
        "  fault: {abort: {percent: 33.3333, reset: true}}",
        "  fallback: {service: 'api.other:8080'}",
        "  fallback: {response: {}}",
        "  fallback: {response: {status: 203, headers: {x-a: b, Retry-After: '1'}, body: \"a\\nb\"}}",
        "  {headerCase: lower, tls: mesh}",
        "  tls: off",
        "  tls: {originate: {}}",
        "  {targetRefs: [{kind: HTTPRoute, name: a.b, sectionName: c}, {kind: GRPCRoute, name: d}], retry: {}}",
    ];
    for spec in rows {
        let said = policy(spec);
        let printed = manifest::of(&Resource::TrafficPolicy(Box::new(said.clone()))).to_string();
        assert_eq!(read(&printed), Ok(said), "{spec}\n{printed}");
    }
}

proptest! {
    #[test]
    fn durations_and_shares_are_printed_as_they_are_read(
        millis in 1u64..300_000_000_000,
        millionths in 0u32..=1_000_000,
    ) {
        let duration = Duration::from_millis(millis);
        let (text, percent) = (written(duration), percent_of(Share(millionths)));
        let spec = format!("  fault: {{delay: {{percent: {percent}, duration: {text}}}}}");
        let delay = Delay { share: Share(millionths), duration };
        prop_assert_eq!(policy(&spec).fault.expect("said").delay, Some(delay));
    }
}
