//! Reasons that a route, a policy or a limit wants.

use super::Advice;

pub const NO_ROUTE: Advice = Advice {
    happened: "The mesh has no service of that name, or none of the rules of its routes matches the \
               request.",
    look: "`outrigger explain SERVICE --method … --path …` says which rule would match and why not; \
           `outrigger proxy routes` lists them.",
    change: "Correct the name or Host, or add a rule. A service with routes has no other way in: add \
             a last rule without matches if everything else should pass.",
    settings: &["HTTPRoute", "GRPCRoute"],
    metrics: &[],
};

pub const NO_BACKENDS: Advice = Advice {
    happened: "The rule that matched sends to no backend, or to a service that does not exist.",
    look: "`outrigger proxy routes` marks backends that are missing; in Kubernetes the route's status \
           says `BackendNotFound`.",
    change: "Create the service, or correct the rule's `backendRefs`.",
    settings: &["backendRefs"],
    metrics: &[],
};

pub const OVERFLOW_CONNECTIONS: Advice = Advice {
    happened: "This sidecar has as many connections to the service as it may have. The limit keeps \
               one slow service from taking what others need.",
    look: "Latency first: the same load on a slower service needs more connections. \
           `outrigger proxy policies` shows how the limits stand.",
    change: "Make the service faster or add instances; raise the limit if it was meant to be higher.",
    settings: &["limits.maxConnections"],
    metrics: &["outrigger_limit_in_use"],
};

pub const OVERFLOW_PENDING: Advice = Advice {
    happened: "As many requests wait for a connection to the service already as may wait.",
    look: "Whether connections are slow to make, or all of them are busy: \
           `outrigger proxy endpoints` and `outrigger proxy policies`.",
    change: "Raise `limits.maxConnections` before the queue: a longer queue only answers later.",
    settings: &["limits.maxPendingRequests", "limits.maxConnections"],
    metrics: &["outrigger_limit_in_use"],
};

pub const OVERFLOW_REQUESTS: Advice = Advice {
    happened: "This sidecar has as many requests to the service under way as it may have.",
    look: "The service's latency: requests pile up when it rises. `outrigger proxy policies` shows \
           how the limits stand.",
    change: "Make the service faster or add instances; raise the limit if it was meant to be higher.",
    settings: &["limits.maxRequests"],
    metrics: &["outrigger_limit_in_use"],
};

pub const QUEUE_TIMEOUT: Advice = Advice {
    happened: "The request waited for a connection to the service for as long as it may.",
    look: "The same as for a full queue: whether connections are slow to make, or all of them are busy.",
    change: "Raise `limits.maxConnections`, or make the service faster. A longer wait helps only \
             against short bursts.",
    settings: &["limits.queueTimeout", "limits.maxConnections"],
    metrics: &["outrigger_limit_in_use"],
};

pub const MTLS_REQUIRED: Advice = Advice {
    happened: "The caller came in plaintext, and the workload takes mutual TLS only.",
    look: "The caller's address in the access log. `outrigger check` lists pods without a sidecar, \
           `outrigger check --strict-ready` who still comes in plaintext.",
    change: "Give the caller a sidecar, or allow plaintext to that one port by an AccessPolicy with \
             `mtls: permissive`.",
    settings: &["AccessPolicy", "mtls"],
    metrics: &["outrigger_access_decisions_total", "outrigger_connections_total"],
};

pub const IDLE_TIMEOUT: Advice = Advice {
    happened: "Nothing moved on the connection or stream, in either direction, for the idle time.",
    look: "Whether the protocol is silent by design (a pool, a subscription) or one side hangs.",
    change: "Have the client send keepalives, or allow longer silence.",
    settings: &["timeouts.idle"],
    metrics: &["outrigger_connections_active"],
};

pub const FAULT_INJECTED: Advice = Advice {
    happened: "A policy wants a share of the requests to fail, and this was one of them.",
    look: "`outrigger explain SERVICE` names the policy.",
    change: "Remove `fault` from that policy when the experiment is over.",
    settings: &["fault"],
    metrics: &[],
};

pub const DENIED: Advice = Advice {
    happened: "A rule or the default of an AccessPolicy keeps the caller out, or it is of another \
               trust domain.",
    look: "The access log has the caller's identity as `peer`; `outrigger explain --port 8080 --peer \
           ID` at the called workload names the policy and the rule, `outrigger proxy policies` all \
           that holds for its callers.",
    change: "Allow what that identity does by a rule, or move the caller to the account that may. \
             Callers of other trust domains are never let in.",
    settings: &["AccessPolicy", "rules", "default", "mode", "trustDomain"],
    metrics: &["outrigger_access_decisions_total"],
};

pub const DESTINATION_DENIED: Advice = Advice {
    happened: "The workload called an address that the mesh does not know, and its sidecar lets \
               nothing out that is unknown.",
    look: "The log names the address; `outrigger proxy services` lists what is known.",
    change: "Make the destination a service of the mesh (a Service with Workloads, or one that is \
             external), or let unknown destinations pass.",
    settings: &["outbound.unknown"],
    metrics: &[],
};

pub const PERMISSION_WITHDRAWN: Advice = Advice {
    happened: "An open connection was closed because the newest policy no longer lets its caller in.",
    look: "Which AccessPolicy changed at that moment: `outrigger get accesspolicies -o yaml`.",
    change: "If it was meant so, nothing: the caller gets `denied` when it comes again. Else allow \
             it again.",
    settings: &["AccessPolicy"],
    metrics: &["outrigger_access_decisions_total"],
};

pub const RATE_LIMITED: Advice = Advice {
    happened: "The caller made more requests than the workload's rate limit allows.",
    look: "`Retry-After` and the `RateLimit-*` headers of the answer say when there is room again.",
    change: "Call less often, or raise the limit. Retries that ignore `Retry-After` stay outside.",
    settings: &["RateLimitPolicy"],
    metrics: &["outrigger_rate_limited_total"],
};
