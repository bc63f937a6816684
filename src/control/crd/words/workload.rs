//! What the fields of a `Workload` are for.
//!
//! Pods need none of these: the control plane knows them by themselves.

pub(in super::super) const WORKLOAD: &[(&str, &str)] = &[
    ("", "What the instance is and where it is reached. Services select it by its labels."),
    ("address", "Its IP address, or a host name, which is resolved again as its record lives."),
    (
        "serviceAccount",
        "Whose identity it must prove. Without one it is not meshed and is reached in plaintext.",
    ),
    ("zone", "Where it runs: callers of the same zone prefer it."),
    ("weight", "Its share beside other endpoints of a service; 1 unless said."),
    ("ports", "The ports that have a name, a protocol or a mesh port of their own."),
    ("ports[]", "One port of the app."),
    ("ports[].name", "What a Service's targetPort may call it."),
    ("ports[].port", "The app's own port."),
    (
        "ports[].meshPort",
        "Where its sidecar takes the traffic of this port, when that is another one.",
    ),
    ("ports[].protocol", "What is spoken there; found out by looking unless said."),
];
