//! The init container `outrigger-init`: it makes the interception rules of the pod's network, before
//! anything else runs there, and is gone. Alone in the pod it may administer the network, and that
//! is all it may. What its flags mean is in `outrigger-proxy init --help`.

use serde_json::{Value, json};

use super::annotations::Wishes;

pub(super) const NAME: &str = "outrigger-init";

pub(super) fn container(wishes: &Wishes) -> Value {
    let mode = if wishes.transparent { "tproxy" } else { "redirect" };
    let mut args: Vec<&str> = vec!["init", "--outbound-port", "15001", "--inbound-port", "15006"];
    args.extend(["--uid", "2102", "--mode", mode]);
    for (flag, value) in &wishes.lists {
        args.extend([*flag, value]);
    }
    // Its resources are the sidecar's, so that a pod whose requests are its limits stays one.
    json!({
        "name": NAME,
        "image": wishes.image,
        "args": args,
        "resources": wishes.resources,
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}
