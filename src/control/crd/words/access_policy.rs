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
        "jwt",
        "Whose tokens count. A token that is not right is refused, whatever the rules say; they add up with those of all other policies about the port.",
    ),
    ("jwt[]", "An issuer, and what is done with its tokens."),
    ("jwt[].issuer", "What the claim iss must be."),
    (
        "jwt[].audiences",
        "Of these the claim aud must have one; without it, tokens for anybody count.",
    ),
    ("jwt[].audiences[]", "An audience."),
    ("jwt[].jwks", "The keys that verify its tokens: one of url, inline and file."),
    ("jwt[].jwks.url", "Where they are fetched, again and again: https, or http of the same host."),
    ("jwt[].jwks.inline", "A JWK set, as JSON."),
    ("jwt[].jwks.file", "A file beside the sidecar, read again when it changes."),
    ("jwt[].jwks.caFile", "Roots to verify the URL's server by, beside the sidecar."),
    ("jwt[].introspection", "In place of jwks: the issuer is asked about each token (RFC 7662)."),
    ("jwt[].introspection.url", "Where it is asked: https, or http of the same host."),
    ("jwt[].introspection.clientId", "Who asks."),
    (
        "jwt[].introspection.clientSecretFile",
        "A file beside the sidecar that holds the secret of who asks.",
    ),
    ("jwt[].introspection.caFile", "Roots to verify the URL's server by, beside the sidecar."),
    (
        "jwt[].introspection.cacheFor",
        "How long an answer holds at most: 30s unless said, 1h at most.",
    ),
    ("jwt[].from", "Where its tokens stand; after Bearer in authorization unless said."),
    ("jwt[].from[]", "One of header, cookie and query."),
    ("jwt[].from[].header", "The name of a header."),
    ("jwt[].from[].prefix", "What stands before the token in the header."),
    ("jwt[].from[].cookie", "The name of a cookie."),
    ("jwt[].from[].query", "The name of a query parameter."),
    ("jwt[].forward", "Whether the app gets the token too; else it is taken out."),
    (
        "jwt[].claimHeaders",
        "Headers for the app, each with the name of a claim; what callers write there is removed.",
    ),
    ("apiKeys", "Whose keys count, and where they stand."),
    ("apiKeys.header", "The header that has the key; the app does not get it."),
    ("apiKeys.sha256", "By the name that rules use, the SHA-256 of each key, in hexadecimal."),
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
        "Claims of the caller's token: by name, with dots into what lies within, a value or several; * is any.",
    ),
    ("rules[].from[].apiKeys", "Names of keys under apiKeys, of which the caller has one."),
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
