//! Sources → the exact lines that a person reads.

use super::load_all;

#[test]
fn of_the_file() {
    let rows = [
        ("5\n", "sidecar.yaml:1: expected a map, found 5"),
        (
            "a: 1\n---\nb: 1\n",
            "sidecar.yaml:1: unknown field `a`; known here: workload, trustDomain, controlPlane, identity, resources, inbound, outbound, admin, probes, workers, drain, exitWithApp, telemetry, log\nsidecar.yaml:3: a configuration is one document; remove the `---`",
        ),
        (
            "inbound: {lisen: x}\n",
            "sidecar.yaml:1: inbound: unknown field `lisen`; did you mean `listen`?",
        ),
        ("admin: 15000\n", "sidecar.yaml:1: admin: expected a map, found 15000"),
        (
            "admin: {listen: 15000}\n",
            "sidecar.yaml:1: admin.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found 15000; put it in quotes",
        ),
        (
            "admin: {listen: localhost:15000}\n",
            "sidecar.yaml:1: admin.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"localhost:15000\"",
        ),
        (
            "log:\n  level: loud\n",
            "sidecar.yaml:2: log.level: expected one of error, warn, info, debug, trace, found \"loud\"",
        ),
        (
            "log: {level: inof}\n",
            "sidecar.yaml:1: log.level: expected one of error, warn, info, debug, trace, found \"inof\"; did you mean `info`?",
        ),
        (
            "log: {level: info, level: warn}\n",
            "sidecar.yaml:1: log: `level` is given twice; first on line 1",
        ),
        ("workers: 0\n", "sidecar.yaml:1: workers: expected a number from 1 to 256, found 0"),
        (
            "workers: auto\n",
            "sidecar.yaml:1: workers: expected a number from 1 to 256, found \"auto\"",
        ),
        (
            "drain: {minimum: 0s}\n",
            "sidecar.yaml:1: drain.minimum: zero never means off; leave the field out",
        ),
        (
            "drain: {deadline: 10}\n",
            "sidecar.yaml:1: drain.deadline: expected a duration such as 250ms, 1s or 5m, found 10; add the unit",
        ),
        (
            "drain:\n  minimum: 30s\n",
            "sidecar.yaml:2: drain.minimum: must not be longer than drain.deadline",
        ),
        (
            "telemetry: {accessLog: {sample: 1.5}}\n",
            "sidecar.yaml:1: telemetry.accessLog.sample: expected a number from 0.0 to 1.0, found 1.5",
        ),
        (
            "telemetry: {accessLog: {format: yes}}\n",
            "sidecar.yaml:1: telemetry.accessLog.format: expected one of json, text, off, found \"yes\"",
        ),
        (
            "telemetry: {traces: {propagation: [w3c, b4]}}\n",
            "sidecar.yaml:1: telemetry.traces.propagation[1]: expected one of w3c, b3, b3multi, found \"b4\"; did you mean `b3`?",
        ),
        (
            "telemetry: {traces: {propagation: [b3, b3]}}\n",
            "sidecar.yaml:1: telemetry.traces.propagation[1]: is listed twice",
        ),
        (
            "telemetry: {traces: {sampleRatio: 2}}\n",
            "sidecar.yaml:1: telemetry.traces.sampleRatio: expected a number from 0.0 to 1.0, found 2",
        ),
        (
            "telemetry: {traces: {slowerThan: 0s}}\n",
            "sidecar.yaml:1: telemetry.traces.slowerThan: zero never means off; leave the field out",
        ),
        (
            "telemetry:\n  traces:\n    otlpEndpoint: collector:4317\n",
            "sidecar.yaml:3: telemetry.traces.otlpEndpoint: expected a URL such as http://collector.example:4317, found \"collector:4317\"",
        ),
        (
            "telemetry: {traces: {otlpEndpoint: 'http://c/v1/traces', protocol: grpc}}\n",
            "sidecar.yaml:1: telemetry.traces.otlpEndpoint: has a path, which only `protocol: http` has; remove it",
        ),
        (
            "telemetry: {traces: {otlpEndpoint: 'http://c', protocol: zipkin}}\n",
            "sidecar.yaml:1: telemetry.traces.protocol: expected one of grpc, http, found \"zipkin\"",
        ),
        (
            "telemetry: {traces: {protocol: http, headers: {a: b}, caFile: c}}\n",
            "sidecar.yaml:1: telemetry.traces.protocol: says how to speak to otlpEndpoint, which is not there\n\
             sidecar.yaml:1: telemetry.traces.headers: says how to speak to otlpEndpoint, which is not there\n\
             sidecar.yaml:1: telemetry.traces.caFile: verifies otlpEndpoint and zipkinEndpoint, which are not there",
        ),
        (
            "telemetry: {traces: {otlpEndpoint: 'http://c', headers: 'authorization: secret'}}\n",
            "sidecar.yaml:1: telemetry.traces.headers: expected a map of header names and values",
        ),
        (
            "telemetry: {traces: {otlpEndpoint: 'http://c', headers: {host: a, x-n: 1, x-l: \"a\\nb\"}}}\n",
            "sidecar.yaml:1: telemetry.traces.headers: `host` can't be a header of the export\n\
             sidecar.yaml:1: telemetry.traces.headers.x-n: is not a header's value: visible ASCII, in quotes\n\
             sidecar.yaml:1: telemetry.traces.headers.x-l: is not a header's value: visible ASCII, in quotes",
        ),
        (
            "\ncontrolPlane:\n  address: a\n  trustAnchors: ca.pem\n",
            "sidecar.yaml:3: controlPlane.address: expected a host and port such as outrigger.example:15010 or [::1]:15010, found \"a\"",
        ),
        (
            "identity: {certificate: a}\n",
            "sidecar.yaml:1: identity: missing field `key`\nsidecar.yaml:1: identity: missing field `trustBundle`",
        ),
        (
            "identity: {certificate: '', key: b, trustBundle: c}\n",
            "sidecar.yaml:1: identity.certificate: expected a path, found \"\"",
        ),
        (
            "resources: [mesh/, 5]\n",
            "sidecar.yaml:1: resources[1]: expected a path, found 5; put it in quotes",
        ),
        (
            "trustDomain: A.b\n",
            "sidecar.yaml:1: trustDomain: \"A.b\" is not a trust domain: use lower-case letters, digits, dots, dashes and underscores, for example cluster.local",
        ),
        (
            "workload: {namespace: a.b}\n",
            "sidecar.yaml:1: workload.namespace: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"a.b\"",
        ),
        (
            "workload: {labels: {app: 1}}\n",
            "sidecar.yaml:1: workload.labels.app: expected a value of at most 63 letters, digits, inner `-`, `_` and `.`, found 1; put it in quotes",
        ),
        (
            "inbound: {ports: [{listen: '127.0.0.1:1', app: '127.0.0.1:2', protocol: h2}]}\n",
            "sidecar.yaml:1: inbound.ports[0].protocol: expected one of auto, http, http2, grpc, tcp, found \"h2\"",
        ),
        (
            "inbound: {ports: [{listen: '127.0.0.1:1'}]}\n",
            "sidecar.yaml:1: inbound.ports[0]: missing field `app`",
        ),
        (
            "inbound: {ports: [{listen: '127.0.0.1:1', app: '0.0.0.0:2'}]}\n",
            "sidecar.yaml:1: inbound.ports[0].app: must be the one address and port where the app listens",
        ),
        (
            "inbound: {ports: [{name: a, listen: '127.0.0.1:1', app: '127.0.0.1:2'}, {name: a, listen: '127.0.0.1:3', app: '127.0.0.1:4'}]}\n",
            "sidecar.yaml:1: inbound.ports[1].name: a is taken by item 0",
        ),
        (
            "outbound: {upstreams: [{listen: '127.0.0.1:1', service: db}]}\n",
            "sidecar.yaml:1: outbound.upstreams[0].service: \"db\" is not a service: write name.namespace:port, for example db.default:5432",
        ),
        (
            "outbound: {unknown: allow}\n",
            "sidecar.yaml:1: outbound.unknown: expected one of pass, deny, found \"allow\"",
        ),
        (
            "probes: {targets: [{container: A, probe: ready, timeout: 1}]}\n",
            "sidecar.yaml:1: probes.targets[0].http: is missing; say how to ask with http, tcp or grpc\nsidecar.yaml:1: probes.targets[0].container: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"A\"\nsidecar.yaml:1: probes.targets[0].probe: expected one of startup, liveness, readiness, found \"ready\"\nsidecar.yaml:1: probes.targets[0].timeout: expected a duration such as 250ms, 1s or 5m, found 1; add the unit",
        ),
        (
            "probes: {targets: [{container: a, probe: startup, tcp: {port: 0}, grpc: {port: 5, service: 1}}]}\n",
            "sidecar.yaml:1: probes.targets[0].tcp.port: expected a number from 1 to 65535, found 0\nsidecar.yaml:1: probes.targets[0].grpc: one way to ask is enough; tcp is given too\nsidecar.yaml:1: probes.targets[0].grpc.service: expected text, found 1; put it in quotes",
        ),
        (
            "probes: {targets: [{container: a, probe: startup, http: {port: 80, scheme: HTTP, host: 'a:1', headers: [{name: 'a b', value: \"\\n\"}]}}]}\n",
            "sidecar.yaml:1: probes.targets[0].http.scheme: expected one of http, https, found \"HTTP\"; did you mean `http`?\nsidecar.yaml:1: probes.targets[0].http.host: expected a host name or address, found \"a:1\"\nsidecar.yaml:1: probes.targets[0].http.headers[0].name: expected a header's name, found \"a b\"\nsidecar.yaml:1: probes.targets[0].http.headers[0].value: expected a header's value, without control characters, found \"\\n\"",
        ),
        (
            "probes:\n  targets:\n    - {container: a, probe: startup, tcp: {port: 1}}\n    - {container: b, probe: startup, tcp: {port: 1}}\n    - {container: a, probe: startup, tcp: {port: 2}}\n",
            "sidecar.yaml:5: probes.targets[2].probe: startup of a is taken by item 0",
        ),
        (
            "exitWithApp: yes\n",
            "sidecar.yaml:1: exitWithApp: expected true, false or the number of the app's containers, found \"yes\"",
        ),
        (
            "log: {level: [\n",
            "sidecar.yaml:2: is not valid YAML: the `[` of line 1 may lack its `]`",
        ),
    ];
    for (file, expected) in rows {
        let faults = load_all(file, &[], &[]).expect_err(file);
        assert_eq!(faults.join("\n"), expected, "{file}");
    }
}

#[test]
fn between_fields() {
    let rows = [
        (
            "outbound:\n  listen: 127.0.0.1:15000\n",
            "sidecar.yaml:2: outbound.listen: 127.0.0.1:15000 is also admin.listen (default)",
        ),
        (
            "inbound:\n  listen: ['[::]:1', '127.0.0.1:1']\n",
            "sidecar.yaml:2: inbound.listen[1]: 127.0.0.1:1 overlaps [::]:1 of inbound.listen[0] (sidecar.yaml:2)",
        ),
        (
            "inbound: {listen: '0.0.0.0:15000'}\n",
            "sidecar.yaml:1: inbound.listen: 0.0.0.0:15000 overlaps 127.0.0.1:15000 of admin.listen (default)",
        ),
        (
            "outbound:\n  upstreams:\n  - {listen: '127.0.0.1:1', service: 'a:1'}\n  - {listen: '127.0.0.1:1', service: 'b:1'}\n",
            "sidecar.yaml:4: outbound.upstreams[1].listen: 127.0.0.1:1 is also outbound.upstreams[0].listen (sidecar.yaml:3)",
        ),
        (
            "inbound:\n  ports:\n  - listen: 127.0.0.1:1\n    app: 127.0.0.1:15000\n",
            "sidecar.yaml:4: inbound.ports[0].app: 127.0.0.1:15000 is the sidecar's own listener admin.listen: requests would go round; name the app's port",
        ),
        (
            "inbound:\n  listen: 0.0.0.0:8080\n  ports: [{listen: '127.0.0.1:1', app: '127.0.0.1:8080'}]\n",
            "sidecar.yaml:3: inbound.ports[0].app: 127.0.0.1:8080 is the sidecar's own listener inbound.listen: requests would go round; name the app's port",
        ),
        (
            "inbound: {listen: '0.0.0.0:81'}\nprobes:\n  listen: '[::]:15020'\n  targets:\n  - {container: a, probe: startup, http: {port: 15020}}\n  - {container: a, probe: liveness, tcp: {port: 81}}\n  - {container: a, probe: readiness, grpc: {port: 15000}}\n",
            "sidecar.yaml:5: probes.targets[0].http.port: 15020 is the sidecar's own probes.listen (sidecar.yaml:3); name the app's port\nsidecar.yaml:6: probes.targets[1].tcp.port: 81 is the sidecar's own inbound.listen (sidecar.yaml:1); name the app's port\nsidecar.yaml:7: probes.targets[2].grpc.port: 15000 is the sidecar's own admin.listen (default); name the app's port",
        ),
        (
            "probes: {listen: '0.0.0.0:15000'}\n",
            "sidecar.yaml:1: probes.listen: 0.0.0.0:15000 overlaps 127.0.0.1:15000 of admin.listen (default)",
        ),
    ];
    for (file, expected) in rows {
        let faults = load_all(file, &[], &[]).expect_err(file);
        assert_eq!(faults.join("\n"), expected, "{file}");
    }
    let fine = [
        "inbound: {listen: ['127.0.0.1:0', '127.0.0.1:0']}\n",
        "inbound: {listen: ['[::1]:1', '127.0.0.1:1']}\n",
        "inbound: {listen: ['[::1]:1', '0.0.0.0:1']}\n",
        "inbound: {ports: [{listen: '10.0.0.1:8080', app: '127.0.0.1:8080'}]}\n",
        "inbound: {ports: [{listen: '10.0.0.1:8080', app: '127.0.0.1:8080'}]}\nprobes: {targets: [{container: a, probe: startup, tcp: {port: 8080}}]}\n",
    ];
    for file in fine {
        assert_eq!(load_all(file, &[], &[]).err(), None, "{file}");
    }
}

#[test]
fn of_the_environment() {
    let rows = [
        ("OUTRIGGER_ADMIN_LISTEN", "x", ": sets nothing; did you mean `OUTRIGGER_ADMIN__LISTEN`?"),
        ("OUTRIGGER_ADMIN_PORT", "15000", ": sets nothing; remove it"),
        ("OUTRIGGER_COLOUR_OF_LOGS", "1", ": sets nothing; remove it"),
        (
            "OUTRIGGER_ADMIN__LISTEN",
            "",
            ": admin.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"\"",
        ),
        ("OUTRIGGER_ADMIN", "on", ": admin: expected a map, found \"on\""),
        ("OUTRIGGER_ADMIN", "{lsten: x}", ": admin: unknown field `lsten`; did you mean `listen`?"),
        ("OUTRIGGER_WORKERS", "two", ": workers: expected a number from 1 to 256, found \"two\""),
        (
            "OUTRIGGER_WORKERS",
            "'2'",
            ": workers: expected a number from 1 to 256, found \"2\"; remove the quotes",
        ),
        ("OUTRIGGER_RESOURCES", "[mesh/, {a: 1}]", ": resources[1]: expected a path, found a map"),
        (
            "OUTRIGGER_WORKLOAD__LABELS",
            "a=b",
            ": workload.labels: expected a map of labels, found \"a=b\"",
        ),
        ("OUTRIGGER_WORKLOAD__LABELS", "{a: b, a: c}", ": workload.labels: `a` is given twice"),
        (
            "OUTRIGGER_WORKLOAD__LABELS",
            "{a: @b}",
            ": workload.labels: is not valid YAML: unexpected character: `@'; quote the text",
        ),
        (
            "OUTRIGGER_WORKLOAD__LABELS",
            "a: b\n---\na: c",
            ": workload.labels: must be a single YAML value",
        ),
        (
            "OUTRIGGER_IDENTITY__KEY",
            "k",
            ": identity: missing field `certificate`\nenvironment OUTRIGGER_IDENTITY__KEY: identity: missing field `trustBundle`",
        ),
        (
            "OUTRIGGER_CONTROL_PLANE__TOKEN_FILE",
            "t",
            ": controlPlane: missing field `address`\nenvironment OUTRIGGER_CONTROL_PLANE__TOKEN_FILE: controlPlane: missing field `trustAnchors`",
        ),
    ];
    for (name, text, expected) in rows {
        let faults = load_all("", &[(name, text)], &[]).expect_err(name);
        assert_eq!(faults.join("\n"), format!("environment {name}{expected}"), "{name}={text}");
    }
}

#[test]
fn of_flags() {
    let rows = [
        (
            "--admin-listen",
            "admin.listen",
            "x",
            "--admin-listen: admin.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"x\"",
        ),
        (
            "--set",
            "admin.lisen",
            "x",
            "--set: there is no field `admin.lisen`; did you mean `admin.listen`?",
        ),
        ("--set", "x", "x", "--set: there is no field `x`; remove it"),
        (
            "--drain-deadline",
            "drain.deadline",
            "1s",
            "--drain-deadline: drain.deadline: must not be shorter than drain.minimum",
        ),
        (
            "--log-level",
            "log.level",
            "[info]",
            "--log-level: log.level: expected one of error, warn, info, debug, trace, found \"[info]\"; did you mean `info`?",
        ),
        (
            "--inbound-listen",
            "inbound.listen",
            "[a",
            "--inbound-listen: inbound.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"[a\"",
        ),
        (
            "--inbound-listen",
            "inbound.listen",
            "[a:1, b]",
            "--inbound-listen: inbound.listen[0]: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"a:1\"\n--inbound-listen: inbound.listen[1]: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found \"b\"",
        ),
    ];
    for (name, path, text, expected) in rows {
        let faults = load_all("", &[], &[(name, path, text)]).expect_err(name);
        assert_eq!(faults.join("\n"), expected, "{path}={text}");
    }
}

#[test]
fn of_all_sources_at_once() {
    let file = "\
workload: {nmae: a}
admin:
  listen: 5
drain: {minimum: 1}
inbound:
  ports:
    - {app: '127.0.0.1:0'}
outbound: {unknown: maybe}
log: x
";
    let env = [("OUTRIGGER_LOG__LEVEL", "info"), ("OUTRIGGER_X", "1")];
    let faults = load_all(file, &env, &[("--workers", "workers", "-1")]).expect_err("all are bad");
    let expected = [
        "sidecar.yaml:1: workload: unknown field `nmae`; did you mean `name`?",
        "sidecar.yaml:3: admin.listen: expected an address and port such as 127.0.0.1:15000 or [::1]:15000, found 5; put it in quotes",
        "sidecar.yaml:4: drain.minimum: expected a duration such as 250ms, 1s or 5m, found 1; add the unit",
        "sidecar.yaml:7: inbound.ports[0]: missing field `listen`",
        "sidecar.yaml:7: inbound.ports[0].app: must be the one address and port where the app listens",
        "sidecar.yaml:8: outbound.unknown: expected one of pass, deny, found \"maybe\"",
        "sidecar.yaml:9: log: expected a map, found \"x\"",
        "environment OUTRIGGER_X: sets nothing; remove it",
        "--workers: workers: expected a number from 1 to 256, found -1",
    ];
    assert_eq!(faults, expected);
}

#[test]
fn of_a_missing_file() {
    let path = std::path::Path::new("/nowhere/sidecar.yaml");
    let faults = crate::config::load(Some(path), std::iter::empty(), &[]).expect_err("no file");
    let expected = "/nowhere/sidecar.yaml: can't be read: No such file or directory (os error 2)";
    assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}
