//! Reasons whose cure is mostly in the service that was called.

use super::Advice;

pub const NO_ENDPOINTS: Advice = Advice {
    happened: "The service exists and nobody serves it: no workload matches its selector, or none is \
               registered and ready.",
    look: "`outrigger proxy endpoints` at the caller's sidecar, `outrigger get workloads` at the \
           control plane; in Kubernetes the pods' readiness.",
    change: "Start the workload, correct the Service's selector, or mend the readiness probe. A \
             fallback answers meanwhile.",
    settings: &["fallback", "selector"],
    metrics: &["outrigger_endpoints"],
};

pub const CIRCUIT_OPEN: Advice = Advice {
    happened: "Every endpoint of the service failed so often that its circuit opened, so that the \
               request was refused at once instead of waiting for another failure.",
    look: "`outrigger proxy endpoints` shows each endpoint's last error and when it is tried again; \
           the log said why when the circuit opened. The cause is there, not here.",
    change: "Mend what the last error names. If failures of this kind should not count, change what \
             opens the circuit; `minReadyEndpoints` keeps the last endpoints in use, and a fallback \
             answers while all are out.",
    settings: &["circuitBreaker.on", "circuitBreaker.minReadyEndpoints", "circuitBreaker.openFor"],
    metrics: &["outrigger_endpoints", "outrigger_circuit_transitions_total"],
};

pub const OVERLOADED: Advice = Advice {
    happened: "The workload has more requests at once than it can answer in good time, and its \
               sidecar shed this one so that the others are answered.",
    look: "The workload's latency and processor time before the shedding began.",
    change: "Add instances, or make the slow requests cheaper. Callers that retry without a budget \
             make it worse.",
    settings: &["RateLimitPolicy", "concurrency"],
    metrics: &["outrigger_concurrency", "outrigger_shed_total"],
};

pub const CONNECT_FAILURE: Advice = Advice {
    happened: "No connection to the endpoint could be made, or the app said over HTTP/2 that it did \
               not take the request: it saw nothing of it, or did nothing about it. \
               It was tried elsewhere as often as the policy allows.",
    look: "The sentence names the address and what the system said: refused means that nobody \
           listens there, a timeout that the network swallows it, REFUSED_STREAM or GOAWAY that \
           the app is full or about to stop. `outrigger proxy endpoints` shows \
           whether one endpoint or all are so.",
    change: "Start the app, correct its port, or open the network to the sidecar's port. Where \
             connections are slow to make, allow longer than `timeouts.connect`, 1 s.",
    settings: &["timeouts.connect", "retry.maxRetries"],
    metrics: &["outrigger_endpoints", "outrigger_retries_total"],
};

pub const UPSTREAM_RESET: Advice = Advice {
    happened: "The connection to the service broke before its answer was through, so that nobody \
               knows whether the app had acted.",
    look: "The app's own log and its restarts at that moment (out of memory is the usual one); the \
           access log names the endpoint.",
    change: "Mend the crash, or have the app finish its requests before it leaves. Requests that may \
             be sent twice can be retried: add `reset` to `retry.on`.",
    settings: &["retry.on", "retry.methods"],
    metrics: &["outrigger_retries_total"],
};

pub const UPSTREAM_PROTOCOL_ERROR: Advice = Advice {
    happened: "The service answered with something that breaks the rules of HTTP.",
    look: "The sentence says what; ask the app directly, past the mesh, to see the same answer.",
    change: "Mend the app, or declare what its port really speaks: HTTP/1 to a gRPC port looks like \
             this.",
    settings: &["appProtocol", "inbound.ports"],
    metrics: &[],
};

pub const PER_TRY_TIMEOUT: Advice = Advice {
    happened: "Each attempt took longer than one may, and none may follow.",
    look: "The service's latency beside `retry.perTryTimeout`; `attempts` in the access log.",
    change: "Make the service faster or let an attempt take longer. An attempt that is cut off still \
             costs the service its work.",
    settings: &["retry.perTryTimeout", "retry.maxRetries"],
    metrics: &["outrigger_request_duration_seconds", "outrigger_retries_total"],
};

pub const RESPONSE_TIMEOUT: Advice = Advice {
    happened: "The service did not begin its answer within the time that the policy allows.",
    look: "`upstream_ms` of the requests that did succeed: near the limit means that it is too tight, \
           far below that some hang.",
    change: "Find what the slow requests wait for, or allow more.",
    settings: &["timeouts.responseHeaders"],
    metrics: &["outrigger_request_duration_seconds"],
};

pub const REQUEST_TIMEOUT: Advice = Advice {
    happened: "The request took longer in all, retries and pauses included, than it may.",
    look: "`attempts` and `upstream_ms` in the access log: one slow attempt, or many failed ones. \
           `outrigger explain SERVICE` names the resource that sets the time.",
    change: "Make the service faster, allow more, or retry less within the same time. A route's own \
             timeout wins over a policy's.",
    settings: &["timeouts.request", "retry.maxRetries"],
    metrics: &["outrigger_request_duration_seconds", "outrigger_retries_total"],
};
