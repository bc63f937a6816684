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
    (
        "mode",
        "enforce: done as it says, which is the default. observe: rules and default are decided and recorded, and refuse nobody; who must prove an identity must so all the same.",
    ),
    (
        "default",
        "What is done with those for whom no rule holds: allow or deny. Unless a policy says it: deny where any rule at the port allows somebody, else allow.",
    ),
    (
        "audit",
        "Which decisions are written to the audit log: none, which is the default, denied or all.",
    ),
    (
        "rules",
        "Who may do what, or may not. They add up with those of all other policies about the port: deny beats allow, then any allow, then default.",
    ),
    ("rules[]", "A rule holds for a request when an entry of from and an entry of to do."),
    ("rules[].action", "What is done with those for whom it holds: allow or deny."),
    ("rules[].from", "Who calls; every caller unless said."),
    ("rules[].from[]", "All of its fields must hold, and of a list any item."),
    (
        "rules[].from[].identities",
        "SPIFFE ids that the caller has proven; * is anybody of the mesh.",
    ),
    ("rules[].from[].identities[]", "A SPIFFE id, or *."),
    ("rules[].from[].namespaces", "Namespaces of proven identities."),
    ("rules[].from[].namespaces[]", "A namespace."),
    (
        "rules[].from[].ipBlocks",
        "Blocks of addresses that the connection comes from; headers are never asked.",
    ),
    ("rules[].from[].ipBlocks[]", "A block such as 10.0.0.0/8, or one address."),
    (
        "rules[].from[].claims",
        "Claims of the caller's token: by name a value or several. This version reads no tokens: such a rule allows nobody and denies everybody.",
    ),
    (
        "rules[].from[].apiKeys",
        "Names of keys that the caller has. This version reads no keys: such a rule allows nobody and denies everybody.",
    ),
    ("rules[].from[].apiKeys[]", "The name of a key."),
    (
        "rules[].to",
        "What is called; everything unless said. Only HTTP has any of it: of opaque bytes it is never allowed and always denied.",
    ),
    ("rules[].to[]", "All of its fields must hold, and of a list any item."),
    ("rules[].to[].methods", "Methods of HTTP; gRPC is POST."),
    ("rules[].to[].methods[]", "A method such as GET."),
    (
        "rules[].to[].paths",
        "Normalised paths without query: /a/b is just that, {name} stands for one segment, * at the end for all that follows.",
    ),
    ("rules[].to[].paths[]", "A path such as /api/* or /users/{id}."),
    ("rules[].to[].hosts", "Hosts that the request names, whatever the port."),
    ("rules[].to[].hosts[]", "A host name, or *.example.com for those below it."),
    (
        "rules[].to[].headers",
        "Headers by name, each with a value or several: text, text*, *text or * for any.",
    ),
];
