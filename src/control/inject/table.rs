//! The annotations that there are: one table for the code that reads them, for what is suggested in
//! place of a wrong name, and for the manual (`deploy/kubernetes/injection.md`), which a test
//! compares with it.

/// What all of ours begin with.
pub(super) const PREFIX: &str = "outrigger.dev/";

/// Name without prefix, values, default, meaning: the table of the manual.
const TABLE: &[[&str; 4]] = &[
    [
        "inject",
        "`enabled`, `disabled`",
        "as the namespace",
        "also a label, which is what the API server selects by",
    ],
    [
        "native-sidecar",
        "`true`, `false`",
        "`true`",
        "`false`: an ordinary container, for clusters before 1.29",
    ],
    [
        "proxy-image",
        "an image",
        "of the control plane's version",
        "the sidecar's image, and `outrigger-init`'s",
    ],
    ["log-level", "`error` to `trace`", "`info`", "the sidecar's own log"],
    ["access-log", "`json`, `text`, `off`", "`json`", "the form of the access log"],
    [
        "otlp-endpoint",
        "a URL",
        "as installed, else none",
        "where spans go, such as `http://collector.observability:4317`; their service is the pod's label `app.kubernetes.io/name` or `app`",
    ],
    [
        "sample-ratio",
        "0.0 to 1.0",
        "as installed, else `0.01`",
        "of the traces that nobody has decided on",
    ],
    ["workers", "1 to 256", "by the CPU limit; 1 without", "data-plane threads"],
    [
        "cpu-request",
        "a quantity",
        "`10m`",
        "of the sidecar and of `outrigger-init`, as the three below",
    ],
    ["cpu-limit", "a quantity", "none", ""],
    ["memory-request", "a quantity", "`16Mi`", ""],
    ["memory-limit", "a quantity", "`128Mi`", ""],
    ["include-inbound-ports", "ports", "all", "only these come through the sidecar"],
    [
        "exclude-inbound-ports",
        "ports",
        "none",
        "these reach the app directly, without mTLS and access rules",
    ],
    ["include-outbound-ports", "ports", "all", "only calls to these go through the sidecar"],
    ["exclude-outbound-ports", "ports", "none", "calls to these leave directly"],
    ["include-outbound-cidrs", "CIDRs", "all", "only calls to these go through the sidecar"],
    ["exclude-outbound-cidrs", "CIDRs", "none", "calls to these leave directly"],
    ["exclude-interfaces", "names", "none", "what goes through these interfaces is left alone"],
    [
        "interception-mode",
        "`redirect`, `tproxy`",
        "`redirect`",
        "`tproxy`: the app sees the client's address; the sidecar then has NET_ADMIN",
    ],
    [
        "skip-init",
        "`true`, `false`",
        "`false`",
        "no `outrigger-init`: a CNI plugin or somebody else makes the rules",
    ],
    [
        "rewrite-probes",
        "`true`, `false`",
        "`true`",
        "`false`: the kubelet asks the app's port itself",
    ],
    [
        "drain-minimum",
        "a duration",
        "`5s`",
        "how long new connections are still taken when the pod ends",
    ],
    [
        "drain-deadline",
        "a duration",
        "25 s, or the grace period less 5 s",
        "what is open then is cut; shorter than the grace period",
    ],
    ["injected", "a version", "", "written by the injector: this pod has its sidecar"],
];

/// The rows of the table, in Markdown.
pub fn table() -> String {
    let row = |[name, values, default, meaning]: &[&str; 4]| {
        let cells = [&format!("`{PREFIX}{name}`"), *values, *default, *meaning].join(" | ");
        format!("| {cells} |\n").replace("|  |", "| |")
    };
    TABLE.iter().map(row).collect()
}

/// All names, without the prefix.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|[name, ..]| *name)
}
