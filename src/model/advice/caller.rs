//! Reasons whose cure is mostly the caller's.

use super::Advice;

pub const BAD_REQUEST: Advice = Advice {
    happened: "The request breaks the rules of HTTP, or what came is not HTTP where the port or the \
               service declares it. It was refused before anybody could read it in two ways.",
    look: "The answer's body names the rule. The access log has the caller's address and, under \
           mutual TLS, its identity.",
    change: "Mend the client, or the library that writes its requests. Where the port does not speak \
             HTTP, declare what it speaks.",
    settings: &["appProtocol", "inbound.ports"],
    metrics: &[],
};

pub const HEADERS_TOO_LARGE: Advice = Advice {
    happened: "The request line and headers are larger than 64 KiB together, or there are more than \
               100 of them.",
    look: "Cookies and tokens are the usual cause: the caller's own log of what it sends says which \
           header grew.",
    change: "Send less: fewer cookies, smaller tokens. The limit is fixed, because every connection \
             may take so much memory.",
    settings: &[],
    metrics: &[],
};

pub const HEADER_TIMEOUT: Advice = Advice {
    happened: "A connection began a request and did not finish its headers within 10 s.",
    look: "Callers that freeze, slow networks, and clients that open connections in advance and \
           write half a request; the access log has their addresses.",
    change: "Mend the client. The limit is fixed: without it slow clients would hold every \
             connection.",
    settings: &[],
    metrics: &["outrigger_connections_active"],
};

pub const BODY_TIMEOUT: Advice = Advice {
    happened: "The request's body stopped arriving, and nothing moved for the idle time.",
    look: "The caller of the access log's entry; `bytes_in` says how far it came.",
    change: "Mend the client or its network. Where pauses are normal, let the idle time be longer.",
    settings: &["timeouts.idle"],
    metrics: &["outrigger_bytes_total"],
};

pub const FLOOD: Advice = Advice {
    happened: "A connection sent so many frames that carry nothing, or began so many requests only to \
               take them back or spoil them, that it was closed: 1,000 at once more than what it did \
               of use makes up for, and 1,000 in each second after that; of a sidecar it takes twice \
               as many requests.",
    look: "The access log and the log name the address, and under mutual TLS the identity.",
    change: "Find out what that client does. If it is an attack, keep it out with a NetworkPolicy or \
             revoke its identity.",
    settings: &[],
    metrics: &["outrigger_connections_total"],
};

pub const CLIENT_CLOSED: Advice = Advice {
    happened: "The caller went away before its answer was through. Nothing was sent back, and the \
               app was told at once.",
    look: "`duration_ms` in the access log: when it is the same each time, the caller's own timeout \
           ended it. `upstream_ms` says how long the service needed.",
    change: "Make the service faster, or the caller more patient. People who leave a page are no \
             fault.",
    settings: &["timeouts.request"],
    metrics: &["outrigger_request_duration_seconds"],
};

pub const DEADLINE_PASSED: Advice = Advice {
    happened: "The time that the caller gave the request (`grpc-timeout`, or \
               `x-outrigger-deadline-ms`) was over before there was an answer.",
    look: "The caller's access log has the whole time; each hop's `duration_ms` says where it went.",
    change: "Make the slow hop faster, or have the first caller allow more. No setting here can \
             lengthen what a caller gave.",
    settings: &["timeouts.request"],
    metrics: &["outrigger_request_duration_seconds"],
};

pub const TOKEN_MISSING: Advice = Advice {
    happened: "The workload's access policy wants a token, and the request has none.",
    look: "The policy's `jwt.from` says where a token is looked for.",
    change: "Send the token, or let the path in without one by a rule that asks for no claims.",
    settings: &["AccessPolicy"],
    metrics: &["outrigger_access_decisions_total"],
};

pub const TOKEN_INVALID: Advice = Advice {
    happened: "The request's token was refused: signature, issuer, audience or time is wrong.",
    look: "`WWW-Authenticate` in the answer says which; compare it with the token's own claims.",
    change: "Get a new token from the issuer that the policy names, for its audience. Check both \
             clocks: 60 s of difference are allowed.",
    settings: &["AccessPolicy"],
    metrics: &["outrigger_access_decisions_total"],
};
