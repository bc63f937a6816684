//! What holds across fields, in the API server's expression language (CEL), with the sentence that
//! the decoder says for the same.
//!
//! Only what can be said plainly: a rule that is missing here is still the decoder's, and what it
//! finds stands in the object's status. The language doesn't see fields without a type (`tls`).

use serde_json::{Value, json};

/// Where a schema has its rules.
pub(super) const KEY: &str = "x-kubernetes-validations";

/// Something that must be true of a place.
#[derive(Debug)]
pub(super) struct Rule {
    /// As in [`crate::resources::sketch::Sketch`].
    pub(super) at: &'static str,
    holds: &'static str,
    otherwise: &'static str,
}

impl Rule {
    pub(super) fn json(&self) -> Value {
        json!({"rule": self.holds, "message": self.otherwise})
    }
}

pub(super) const RATE_LIMIT_POLICY: &[Rule] = &[Rule {
    at: "",
    holds: "has(self.limits) || has(self.concurrency)",
    otherwise: "limits is missing, and so is concurrency: the policy limits nothing",
}];

pub(super) const TRAFFIC_POLICY: &[Rule] = &[
    Rule {
        at: "",
        holds: "!has(self.targetRefs) || self.targetRefs.all(target, target.kind == 'Service') || \
                !(has(self.loadBalancing) || has(self.limits) || has(self.circuitBreaker) || \
                has(self.headerCase))",
        otherwise: "loadBalancing, limits, circuitBreaker and headerCase concern the service's connections, \
                    which a route has no say in: target the Service, in a policy of its own",
    },
    Rule {
        at: "targetRefs",
        holds: "self.size() > 0",
        otherwise: "names nothing; leave it out in a policy for the whole namespace",
    },
    Rule {
        at: "targetRefs[]",
        holds: "!has(self.group) || (self.kind == 'Service' ? self.group in ['', 'core'] : \
                self.group == 'gateway.networking.k8s.io')",
        otherwise: "Service is of group \"\", HTTPRoute and GRPCRoute of group gateway.networking.k8s.io",
    },
    Rule {
        at: "loadBalancing",
        holds: "has(self.hashOn) == (has(self.policy) && self.policy in ['ringHash', 'maglev'])",
        otherwise: "ringHash and maglev need hashOn, which says what the key of a request is; no other policy takes it",
    },
    Rule {
        at: "loadBalancing.hashOn",
        holds: "[has(self.header), has(self.cookie), has(self.query), has(self.path), has(self.sourceIp)]\
                .filter(given, given).size() == 1",
        otherwise: "name exactly one of header, cookie, query, path, sourceIp",
    },
    Rule {
        at: "circuitBreaker",
        holds: "duration(has(self.openFor) ? self.openFor : '5s') <= \
                duration(has(self.maxOpenFor) ? self.maxOpenFor : '1m')",
        otherwise: "openFor (5s unless said) is longer than maxOpenFor (1m unless said)",
    },
    Rule {
        at: "retry.backoff",
        holds: "!has(self.max) || !has(self.strategy) || self.strategy == 'exponential'",
        otherwise: "fixed pauses don't grow; remove max",
    },
    Rule {
        at: "retry.budget",
        holds: "(has(self.ratio) && self.ratio > 0) || (has(self.minPerSecond) && self.minPerSecond > 0) \
                || !has(self.ratio) || !has(self.minPerSecond)",
        otherwise: "allows no retry at all; write maxRetries: 0 instead",
    },
    Rule {
        at: "fault",
        holds: "!has(self.match) || has(self.delay) || has(self.abort)",
        otherwise: "match says for which requests, but not what: add delay or abort",
    },
    Rule {
        at: "fault.abort",
        holds: "[has(self.httpStatus), has(self.grpcStatus), has(self.reset)].filter(given, given).size() == 1",
        otherwise: "say exactly one of httpStatus, grpcStatus, reset",
    },
    Rule {
        at: "fallback",
        holds: "has(self.service) != has(self.response)",
        otherwise: "say exactly one of service and response",
    },
];

pub(super) const WORKLOAD: &[Rule] = &[Rule {
    at: "",
    holds: "has(self.serviceAccount) || !has(self.ports) || self.ports.all(port, !has(port.meshPort))",
    otherwise: "meshPort needs serviceAccount: without one nothing is meshed",
}];
