//! What the fields of a `RateLimitPolicy` are for.
//!
//! Limits of several policies add up; of concurrency the nearest policy counts.

pub(in super::super) const RATE_LIMIT_POLICY: &[(&str, &str)] = &[
    ("", "How often a workload may be called; each sidecar counts for itself."),
    (
        "selector",
        "Which workloads of the namespace it is about; without one, all of them; in the namespace outrigger-system, those of the whole mesh.",
    ),
    ("selector.matchLabels", "The labels that a workload has, all of them."),
    ("ports", "The app's ports that it is about; all of them unless said."),
    ("ports[]", "A port of the app."),
    (
        "limits",
        "A request must keep each limit that is about it; where one refuses it, none is charged.",
    ),
    ("limits[]", "So many requests in so much time, for each key."),
    (
        "limits[].key",
        "What is counted apart: total (nothing), identity, ip (the connection's source), header:<name>, claim:<name> of a token that an AccessPolicy verifies, apiKey. Requests without the key share one bucket.",
    ),
    ("limits[].requests", "How many requests, in per."),
    ("limits[].per", "The time for so many requests, at most a day."),
    (
        "limits[].burst",
        "How many of them may come at once; as many as requests unless said. What was used comes back evenly over per.",
    ),
    ("limits[].match", "The requests that count; every request unless said."),
    ("limits[].match.methods", "Methods of HTTP; gRPC is POST."),
    ("limits[].match.methods[]", "A method such as GET."),
    (
        "limits[].match.paths",
        "Normalised paths without query, as in an AccessPolicy; a path that servers may read in two ways counts in either.",
    ),
    ("limits[].match.paths[]", "A path such as /api/* or /users/{id}."),
    (
        "concurrency",
        "How many requests a port answers at once; as many as come unless a policy says it. The nearest policy counts: ports, then selector, then namespace, then mesh.",
    ),
    (
        "concurrency.limit",
        "adaptive: found from the latency of the app, so that it is busy and nobody waits for long; or a number.",
    ),
    ("concurrency.min", "The adaptive limit is never lower; 8 unless said."),
    ("concurrency.max", "The adaptive limit is never higher; 2000 unless said."),
    (
        "concurrency.priorities",
        "Who goes first when there are more; the first that holds counts, without one a request is normal. Questions about health go before all others.",
    ),
    ("concurrency.priorities[]", "The priority of some requests."),
    ("concurrency.priorities[].match", "All of its fields must hold, and of a list any item."),
    ("concurrency.priorities[].match.methods", "Methods of HTTP; gRPC is POST."),
    ("concurrency.priorities[].match.methods[]", "A method such as GET."),
    ("concurrency.priorities[].match.paths", "Normalised paths without query."),
    ("concurrency.priorities[].match.paths[]", "A path such as /api/* or /users/{id}."),
    (
        "concurrency.priorities[].match.headers",
        "Headers by name, each with a value or several: text, text*, *text or * for any. Callers write them as they like.",
    ),
    ("concurrency.priorities[].priority", "high, normal or low: the lowest is shed first."),
];
