//! What the fields of an `AccessPolicy` are for.
//!
//! Of several policies the nearest level counts: port, then selector, then namespace, then mesh.

pub(in super::super) const ACCESS_POLICY: &[(&str, &str)] = &[
    ("", "What a workload asks of those who call it."),
    (
        "selector",
        "Which workloads of the namespace it is about; without one, all of them; in the namespace outrigger-system, those of the whole mesh.",
    ),
    ("selector.matchLabels", "The labels that a workload has, all of them."),
    ("ports", "The app's ports that it is about; all of them unless said."),
    ("ports[]", "A port of the app."),
    (
        "mtls",
        "strict: only callers with an identity of the mesh. permissive: plaintext is let in too.",
    ),
];
