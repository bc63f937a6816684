//! Reasons whose cure is in the mesh itself: its sidecars, certificates and interception.

use super::Advice;

pub const DRAINING: Advice = Advice {
    happened: "The sidecar leaves within seconds and takes nothing new; the app saw nothing. Callers \
               in the mesh try another endpoint.",
    look: "Rollouts and restarts at that moment. A caller that sees it had nowhere else to go.",
    change: "Run more than one instance, and replace them one after the other. A longer drain lets \
             callers hear earlier that it leaves.",
    settings: &["drain.minimum", "drain.deadline"],
    metrics: &["outrigger_endpoints"],
};

pub const NOT_READY: Advice = Advice {
    happened: "The sidecar has no certificate yet, or was not told yet of what it was asked for.",
    look: "`/ready` says what is missing. With a control plane: the sidecar's log, and \
           `outrigger proxy services`, say how it stands with that.",
    change: "Wait for readiness before sending (`outrigger-proxy wait`, a native sidecar). If it \
             stays so, mend the way to the control plane: address, trust anchors, token.",
    settings: &["controlPlane", "identity"],
    metrics: &[
        "outrigger_control_plane_connected",
        "outrigger_certificate_expiry_timestamp_seconds",
    ],
};

pub const LOOP_DETECTED: Advice = Advice {
    happened: "The connection's destination is this sidecar itself, so that it would come back for \
               ever.",
    look: "The log names the client and the destination: somebody calls the sidecar's own ports, or \
           the interception rules are half installed.",
    change: "Call the app's port, not 15001 or 15006. Install the rules anew: \
             `outrigger-proxy init`.",
    settings: &["inbound.listen", "outbound.listen"],
    metrics: &[],
};

pub const TLS_HANDSHAKE_FAILED: Advice = Advice {
    happened: "A caller's TLS handshake was refused, so that there is nobody to answer.",
    look: "The log says which side did not like what. Compare both certificates with \
           `outrigger proxy certs`, and both clocks.",
    change: "What the log names: a caller of another mesh, a certificate that ended, a client that \
             has none. After a root was rotated, a sidecar that was away needs its new bundle.",
    settings: &["trustDomain", "identity", "controlPlane"],
    metrics: &["outrigger_certificate_expiry_timestamp_seconds"],
};

pub const UPSTREAM_TLS_FAILURE: Advice = Advice {
    happened: "The TLS handshake with the endpoint failed; the app saw nothing.",
    look: "The sentence says why. `outrigger proxy certs` on both sides: dates, roots; for TLS to a \
           service outside the mesh, its name and its root.",
    change: "Renew the certificate that ended, or trust the root that signed it. Outside the mesh: \
             `tls.originate` needs the right `sni` and `caFile`.",
    settings: &["tls.originate", "identity"],
    metrics: &[
        "outrigger_certificate_expiry_timestamp_seconds",
        "outrigger_certificate_rotations_total",
    ],
};

pub const PEER_IDENTITY_REFUSED: Advice = Advice {
    happened: "The endpoint proved to be somebody else than the mesh announced at that address, so \
               that nothing was sent to it.",
    look: "The sentence names both identities. An address that was given to another pod lately heals \
           by itself within seconds.",
    change: "Correct the `serviceAccount` of the Workload, or the account that the instance runs as. \
             If neither is wrong, somebody answers who should not.",
    settings: &["serviceAccount"],
    metrics: &["outrigger_endpoints"],
};

pub const REVOKED: Advice = Advice {
    happened: "The peer's certificate or identity was revoked, and its connection was closed.",
    look: "`outrigger ca revocations` lists what is revoked, and until when.",
    change: "If it was meant so, nothing. Else have the workload join again with a new token; a \
             revoked identity may do so when its revocation has ended.",
    settings: &[],
    metrics: &["outrigger_certificate_rotations_total"],
};

pub const DRAIN_DEADLINE: Advice = Advice {
    happened: "The sidecar left, and cut what was still open when its time was over.",
    look: "What stays open so long: `outrigger proxy connections` while it drains.",
    change: "Let the app close its long connections when it is told to end, or allow more time, \
             below the pod's own grace period.",
    settings: &["drain.deadline"],
    metrics: &["outrigger_connections_active"],
};

pub const INTERNAL: Advice = Advice {
    happened: "The sidecar failed at something that should always work.",
    look: "The sidecar's log at that moment.",
    change: "It is a defect of the proxy: report it with that part of the log.",
    settings: &[],
    metrics: &["outrigger_task_panics_total"],
};
