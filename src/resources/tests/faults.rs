//! Input → the exact lines that a person reads.

use super::read_text;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n";
const WORKLOAD: &str =
    "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\nmetadata: {name: web-1}\nspec:\n";

/// In the lines expected, NAME and KNOWN stand for what is always the same.
fn check(prefix: &str, rows: &[(&str, &str)]) {
    let name = "expected a name of at most 63 lower-case letters, digits and inner `-`, found";
    let known = "known are Service, Workload, HTTPRoute, GRPCRoute, TrafficPolicy, AccessPolicy, \
        RateLimitPolicy";
    for (text, expected) in rows {
        let text = format!("{prefix}{text}");
        let faults = read_text(&text).expect_err(&text);
        let expected = expected.replace("NAME", name).replace("KNOWN", known);
        let expected: Vec<_> = expected.lines().map(|line| format!("f.yaml:{line}")).collect();
        assert_eq!(faults, expected, "{text}");
    }
}

#[test]
fn of_documents() {
    check(
        "",
        &[
            ("5\n", "1: expected a map, found 5"),
            ("- a\n", "1: expected a map, found a list"),
            (
                "kind: Service\n",
                "1: missing field `apiVersion`\n1: missing field `metadata`\n1: missing field `spec`",
            ),
            ("apiVersion: v1\n", "1: missing field `kind`"),
            ("apiVersion: v1\nkind: 7\n", "2: kind: expected text, found 7; put it in quotes"),
            ("apiVersion: v1\nkind: Pod\n", "2: kind: unknown kind Pod; KNOWN"),
            (
                "apiVersion: v1\nkind: service\n",
                "2: kind: unknown kind service; did you mean `Service`?",
            ),
            (
                "apiVersion: v2\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\n",
                "1: apiVersion: kind Service has apiVersion v1",
            ),
            (
                "apiVersion: v1\nkind: Workload\nmetadata: {name: a}\nspec: {address: '::1'}\n",
                "1: apiVersion: kind Workload has apiVersion outrigger.dev/v1alpha1",
            ),
            (
                "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}\nspecs: 1\n",
                "5: unknown field `specs`; did you mean `spec`?",
            ),
            ("apiVersion: v1\nkind: List\n", "1: missing field `items`"),
            (
                "apiVersion: v1\nkind: List\nitems:\n- 5\n- {apiVersion: v1, kind: Pods}\n",
                "4: items[0]: expected a map, found 5\n5: items[1].kind: unknown kind Pods; KNOWN",
            ),
            ("apiVersion: v1\nkind: List\nitems: 5\n", "3: items: expected a list, found 5"),
            (
                "a: 1\n---\nb: [\n---\nkind: 'x\n",
                "1: missing field `apiVersion`\n1: missing field `kind`\n4: is not valid YAML: the `[` of line 3 may lack its `]`\n5: is not valid YAML: while scanning a quoted scalar, found unexpected end of stream; close the quote",
            ),
        ],
    );
}

#[test]
fn of_metadata() {
    let prefix = "apiVersion: v1\nkind: Service\nspec: {clusterIP: None}\n";
    check(
        prefix,
        &[
            ("metadata: {}\n", "4: metadata: missing field `name`"),
            ("metadata:\n", "1: missing field `metadata`"),
            ("metadata: web\n", "4: metadata: expected a map, found \"web\""),
            ("metadata: {name: Web}\n", "4: metadata.name: NAME \"Web\""),
            ("metadata: {name: a.b}\n", "4: metadata.name: NAME \"a.b\""),
            (
                "metadata: {name: 12}\n",
                "4: metadata.name: expected a name of at most 63 lower-case letters, digits and inner `-`, found 12; put it in quotes",
            ),
            ("metadata: {name: a, namespace: a/b}\n", "4: metadata.namespace: NAME \"a/b\""),
            (
                "metadata: {name: a, label: {}}\n",
                "4: metadata: unknown field `label`; did you mean `labels`?",
            ),
            (
                "metadata: {name: a, labels: [x]}\n",
                "4: metadata.labels: expected a map of labels, found a list",
            ),
            (
                "metadata:\n  name: a\n  labels:\n    v: 1\n    w: a b\n    x!: y\n",
                "7: metadata.labels.v: expected a value of at most 63 letters, digits, inner `-`, `_` and `.`, found 1; put it in quotes\n8: metadata.labels.w: expected a value of at most 63 letters, digits, inner `-`, `_` and `.`, found \"a b\"\n9: metadata.labels: `x!` is not a label's name",
            ),
        ],
    );
}

#[test]
fn of_services() {
    check(
        SERVICE,
        &[
            (
                "  selector: {a: b}\n",
                "5: spec.ports: a service needs at least one port, unless clusterIP is None",
            ),
            (
                "  ports: []\n",
                "5: spec.ports: a service needs at least one port, unless clusterIP is None",
            ),
            ("  ports: {port: 80}\n", "5: spec.ports: expected a list, found a map"),
            (
                "  ports:\n  - port: http\n",
                "6: spec.ports[0].port: expected a number from 1 to 65535, found \"http\"",
            ),
            (
                "  ports:\n  - port: '80'\n",
                "6: spec.ports[0].port: expected a number from 1 to 65535, found \"80\"; remove the quotes",
            ),
            (
                "  ports: [{port: 0}]\n",
                "5: spec.ports[0].port: expected a number from 1 to 65535, found 0",
            ),
            (
                "  ports: [{port: 65536}]\n",
                "5: spec.ports[0].port: expected a number from 1 to 65535, found 65536",
            ),
            (
                "  ports: [{port: 8.5}]\n",
                "5: spec.ports[0].port: expected a number from 1 to 65535, found 8.5",
            ),
            ("  ports: [{targetPort: 80}]\n", "5: spec.ports[0]: missing field `port`"),
            (
                "  ports: [{port: 80, targetPort: true}]\n",
                "5: spec.ports[0].targetPort: expected a number from 1 to 65535, found true",
            ),
            (
                "  ports: [{port: 80, targetPort: Web}]\n",
                "5: spec.ports[0].targetPort: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"Web\"",
            ),
            (
                "  ports: [{port: 80}, {port: 81}]\n",
                "5: spec.ports: every port needs a name when there are several",
            ),
            (
                "  ports:\n  - {name: a, port: 80}\n  - {name: a, port: 81}\n",
                "7: spec.ports[1].name: a is taken by item 0",
            ),
            (
                "  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n",
                "7: spec.ports[1].port: 80 is taken by item 0",
            ),
            (
                "  ports: [{port: 80, protocol: UDP}]\n",
                "5: spec.ports[0].protocol: only TCP is supported, found \"UDP\"",
            ),
            (
                "  ports: [{port: 80, appProtocol: htp}]\n",
                "5: spec.ports[0].appProtocol: expected one of http, http2, grpc, tcp, https, tls, kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss, found \"htp\"; did you mean `http`?",
            ),
            (
                "  ports: [{port: 80, nodePort: 30000}]\n",
                "5: spec.ports[0].nodePort: is not supported: the mesh would not act on it; remove it",
            ),
            (
                "  ports: [{port: 80, prot: TCP}]\n",
                "5: spec.ports[0]: unknown field `prot`; did you mean `port`?",
            ),
            (
                "  clusterIP: none\n  ports: [{port: 80}]\n",
                "5: spec.clusterIP: expected an IP address, found \"none\"",
            ),
            (
                "  clusterIP: 10.0.0.1\n  clusterIPs: [10.0.0.2]\n  ports: [{port: 80}]\n",
                "6: spec.clusterIPs: its first entry must be what clusterIP says",
            ),
            ("  clusterIPs: [None, 10.0.0.2]\n", "5: spec.clusterIPs: None stands alone"),
            (
                "  clusterIP: None\n  type: LoadBalancer\n",
                "6: spec.type: only ClusterIP is supported, found \"LoadBalancer\"",
            ),
            (
                "  clusterIP: None\n  sessionAffinity: Host\n",
                "6: spec.sessionAffinity: expected one of None, ClientIP, found \"Host\"",
            ),
            (
                "  clusterIP: None\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}\n",
                "6: spec.sessionAffinityConfig.clientIP.timeoutSeconds: only 10800 is supported, \
                 found 60",
            ),
            (
                "  clusterIP: None\n  publishNotReadyAddresses: true\n",
                "6: spec.publishNotReadyAddresses: only false is supported, found true",
            ),
            (
                "  clusterIP: None\n  externalName: a.b\n",
                "6: spec.externalName: is not supported: the mesh would not act on it; remove it",
            ),
            (
                "  clusterIP: None\n  selektor: {}\n",
                "6: spec: unknown field `selektor`; did you mean `selector`?",
            ),
        ],
    );
}

#[test]
fn of_workloads() {
    check(
        WORKLOAD,
        &[
            ("  zone: a\n", "5: spec: missing field `address`"),
            (
                "  address: 10.0.0\n",
                "5: spec.address: expected an IP address or a host name, without port, found \"10.0.0\"",
            ),
            (
                "  address: web:80\n",
                "5: spec.address: expected an IP address or a host name, without port, found \"web:80\"",
            ),
            (
                "  address: ::1\n  serviceAccount: a/b\n",
                "6: spec.serviceAccount: expected a name of at most 253 lower-case letters, digits, inner `-` and `.`, found \"a/b\"",
            ),
            (
                "  address: ::1\n  weight: 0\n",
                "6: spec.weight: expected a number from 1 to 1000, found 0",
            ),
            (
                "  address: ::1\n  weight: 1001\n",
                "6: spec.weight: expected a number from 1 to 1000, found 1001",
            ),
            (
                "  address: ::1\n  zone: 'a b'\n",
                "6: spec.zone: expected a value of at most 63 letters, digits, inner `-`, `_` and `.`, found \"a b\"",
            ),
            (
                "  address: ::1\n  ports: [{port: 80, meshPort: 81}]\n",
                "6: spec.ports[0].meshPort: needs spec.serviceAccount: without one nothing is meshed",
            ),
            (
                "  address: ::1\n  ports: [{port: 80, protocol: h2}]\n",
                "6: spec.ports[0].protocol: expected one of auto, http, http2, grpc, tcp, found \"h2\"",
            ),
            (
                "  address: ::1\n  ports: [{port: 80}, {port: 80}]\n",
                "6: spec.ports[1].port: 80 is taken by item 0",
            ),
            (
                "  address: ::1\n  serviceAccount: a\n  ports: [{port: 80, meshPort: 9}, {port: 81, meshPort: 9}]\n",
                "7: spec.ports[1].meshPort: 9 is taken by item 0",
            ),
            (
                "  addres: ::1\n",
                "5: spec: missing field `address`\n5: spec: unknown field `addres`; did you mean `address`?",
            ),
        ],
    );
}

#[test]
fn of_one_file_all_at_once() {
    let text = "\
apiVersion: v1
kind: Service
metadata:
  name: Web
  lables: {app: web}
spec:
  ports:
    - {name: http, port: 0}
    - {name: http, port: 81, port: 82}
  type: NodePort
---
kind: [
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: w}
spec: {address: 10.0.0.256, weight: -1}
";
    check(
        "",
        &[(
            text,
            "4: metadata.name: expected a name of at most 63 lower-case letters, digits and inner `-`, found \"Web\"\n5: metadata: unknown field `lables`; did you mean `labels`?\n8: spec.ports[0].port: expected a number from 1 to 65535, found 0\n9: spec.ports[1]: `port` is given twice; first on line 9\n10: spec.type: only ClusterIP is supported, found \"NodePort\"\n13: is not valid YAML: the `[` of line 12 may lack its `]`\n17: spec.address: expected an IP address or a host name, without port, found \"10.0.0.256\"\n17: spec.weight: expected a number from 1 to 1000, found -1",
        )],
    );
}
