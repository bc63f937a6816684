//! What a policy may say, whom it is about, and which of several counts.

use proptest::prelude::*;

use super::level::{Level, mtls, mtls_elsewhere};
use super::*;
use crate::resources::{Origin, Resource, manifest, parse_documents};

fn read(metadata: &str, spec: &str) -> Result<AccessPolicy, Vec<String>> {
    let head = "apiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n";
    let text = format!("{head}metadata: {{{metadata}}}\nspec: {spec}\n");
    let read = parse_documents(&text, &Origin::file("f.yaml"), "shop");
    let read = read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    match <[Resource; 1]>::try_from(read) {
        Ok([Resource::AccessPolicy(policy)]) => Ok((*policy).clone()),
        other => panic!("{text}: {other:?}"),
    }
}

fn policy(metadata: &str, spec: &str) -> AccessPolicy {
    read(metadata, spec).expect(spec)
}

#[test]
fn everything_is_read_and_printed_back() {
    let spec = "{selector: {matchLabels: {app: api}}, ports: [9090, 8080], mtls: permissive}";
    let full = policy("name: api", spec);
    assert_eq!(full.selector, [("app".to_owned(), "api".to_owned())].into());
    assert_eq!((&full.ports[..], full.mtls), (&[8080, 9090][..], Some(Mtls::Permissive)));
    let rules = policy("name: c", EVERYTHING);
    let words = (rules.mode, rules.default, rules.audit, rules.rules.len());
    assert_eq!(words, (Some(Mode::Observe), Some(Action::Deny), Some(Audit::All), 2));
    for policy in [full, policy("name: a", "{}"), policy("name: b", "{mtls: strict}"), rules] {
        let written = manifest::of(&Resource::AccessPolicy(policy.clone().into())).to_string();
        let again = parse_documents(&written, &Origin::file("again"), "other").expect(&written);
        assert_eq!(again, [Resource::AccessPolicy(policy.into())]);
    }
}

const EVERYTHING: &str = "
  jwt:
    - issuer: https://idp.example
      audiences: [api]
      jwks: {url: 'https://idp.example/jwks.json', caFile: ca.pem}
      from: [{header: x-jwt, prefix: 'T '}, {cookie: t}, {query: t}, {header: authorization}]
      forward: true
      claimHeaders: {x-user: sub, X-Roles: realm_access.roles}
    - {issuer: b, jwks: {file: keys.json}}
    - issuer: c
      introspection:
        {url: 'http://127.0.0.1:81/i', clientId: me, clientSecretFile: s, caFile: c, cacheFor: 1m30s}
  apiKeys:
    header: x-api-key
    sha256: {a: f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7}
  mode: observe
  default: deny
  audit: all
  rules:
    - action: allow
      from:
        - identities: ['*', 'spiffe://cluster.local/ns/shop/sa/web']
          namespaces: [shop]
          ipBlocks: [10.0.0.0/8, 'fd00::/8', 192.168.0.1]
          claims: {roles: [admin, ops], sub: ann}
          apiKeys: [partner]
        - {identities: [], namespaces: [far]}
      to:
        - methods: [GET, PURGE]
          paths: [/, '/*', '/api/*', '/users/{id}', '/a%2Fb;c/']
          hosts: [api.example, '*.shop.example']
          headers: {x-env: prod, x-v: ['1.*', '*-beta', '*']}
    - {action: deny}
";

/// Each is refused in one sentence that names the field, and says what to write.
#[test]
fn rules_that_can_not_be_kept_are_refused_with_their_cure() {
    let long = vec!["a"; 101].join(", ");
    let rows = [
        ("rules: []", "spec.rules: names no rule; leave out `rules`, or write `default: deny`"),
        ("rules: {action: deny}", "spec.rules: expected a list"),
        ("rules: [{}]", "spec.rules[0]: missing field `action`"),
        ("rules:", "spec.rules: has no value: give it one, or leave the whole field out"),
        ("rules: [{action: allow, from: }]", "spec.rules[0].from: has no value"),
        ("rules: [{action: deny, to: [{methods: [GET], paths: }]}]", "paths: has no value"),
        ("selector: , mtls: strict", "spec.selector: has no value"),
        ("rules: [{action: block}]", "spec.rules[0].action: expected one of allow, deny"),
        ("rules: [{action: deny, froms: []}]", "did you mean `from`?"),
        ("rules: [{action: deny, from: []}]", "spec.rules[0].from: names nobody; leave out `from`"),
        ("rules: [{action: allow, from: [{}]}]", "spec.rules[0].from[0]: says nothing of a caller"),
        (
            "rules: [{action: allow, from: [{identities: []}]}]",
            "spec.rules[0].from[0]: says nothing of a caller",
        ),
        ("rules: [{action: allow, to: []}]", "spec.rules[0].to: names nothing; leave out `to`"),
        (
            "rules: [{action: allow, to: [{paths: []}]}]",
            "spec.rules[0].to[0]: says nothing of a re",
        ),
        ("rules: [{action: allow, from: [{identities: [web]}]}]", "expected a SPIFFE id such as"),
        (
            "rules: [{action: allow, from: [{identities: ['spiffe://a/ns/b/sa/*']}]}]",
            "spec.rules[0].from[0].identities[0]: expected a SPIFFE id",
        ),
        ("rules: [{action: allow, from: [{namespaces: ['*']}]}]", "expected a name of at most 63"),
        ("rules: [{action: allow, from: [{ipBlocks: [10.0.0.0/33]}]}]", "expected a block of addr"),
        ("rules: [{action: allow, from: [{ipBlocks: [10.0.0.1/8]}]}]", "write 10.0.0.0/8"),
        ("rules: [{action: allow, from: [{ipBlocks: ['::ffff:10.0.0.0/104']}]}]", "10.0.0.0/8"),
        ("rules: [{action: allow, from: [{claims: [a]}]}]", "expected a map"),
        ("rules: [{action: allow, from: [{claims: {a: []}}]}]", "claims.a: names no value"),
        ("rules: [{action: allow, from: [{claims: {a: 1}}]}]", "put it in quotes"),
        ("rules: [{action: allow, to: [{methods: [get]}]}]", "expected a method such as GET"),
        ("rules: [{action: allow, to: [{paths: [api]}]}]", "it must begin with `/`"),
        ("rules: [{action: allow, to: [{paths: ['/a//b']}]}]", "it must not have `//`"),
        ("rules: [{action: allow, to: [{paths: [/a/../b]}]}]", "the segment `..`"),
        ("rules: [{action: allow, to: [{paths: ['/a*']}]}]", "write /api/*"),
        ("rules: [{action: allow, to: [{paths: ['/*/a']}]}]", "at the end: write /api/*"),
        ("rules: [{action: allow, to: [{paths: ['/{}']}]}]", "write /users/{id}"),
        ("rules: [{action: allow, to: [{paths: ['/a{id}']}]}]", "write /users/{id}"),
        ("rules: [{action: allow, to: [{paths: ['/%61']}]}]", "write a in place of %61"),
        ("rules: [{action: allow, to: [{paths: ['/%2f']}]}]", "write %2F in place of %2f"),
        ("rules: [{action: allow, to: [{paths: ['/%']}]}]", "two hexadecimal digits"),
        ("rules: [{action: allow, to: [{paths: ['/a?b=c']}]}]", "the query, which rules don't see"),
        ("rules: [{action: allow, to: [{paths: ['/é']}]}]", "write it percent-encoded"),
        ("rules: [{action: allow, to: [{hosts: [API.example]}]}]", "in lower case, without port"),
        ("rules: [{action: allow, to: [{hosts: ['a:80']}]}]", "in lower case, without port"),
        ("rules: [{action: allow, to: [{hosts: ['*']}]}]", "in lower case, without port"),
        ("rules: [{action: allow, to: [{headers: {host: a}}]}]", "hosts are matched by `hosts`"),
        ("rules: [{action: allow, to: [{headers: {x-outrigger-peer: a}}]}]", "write `identities`"),
        ("rules: [{action: allow, to: [{headers: {connection: a}}]}]", "is not passed on"),
        ("rules: [{action: allow, to: [{headers: {'a b': a}}]}]", "not the name of a header"),
        ("rules: [{action: allow, to: [{headers: {x: 'a*b'}}]}]", "a star only at one end"),
        ("rules: [{action: allow, to: [{headers: {x: ''}}]}]", "expected a header's value"),
        (&format!("rules: [{{action: allow, to: [{{methods: [{long}]}}]}}]"), "100 is the most"),
    ];
    for (spec, part) in rows {
        let faults = read("name: api", &format!("{{{spec}}}")).expect_err(spec);
        assert!(faults.len() == 1 && faults[0].contains(part), "{spec}: {faults:?}");
    }
    let many = "{action: deny}, ".repeat(1_001);
    let faults = read("name: api", &format!("{{rules: [{many}]}}")).expect_err("too many");
    assert!(faults[0].contains("has 1001 rules; 1000 is the most"), "{faults:?}");
}

#[test]
fn rules_that_ask_for_tokens_are_named() {
    let token = "{rules: [{action: allow}, {action: allow, from: [{claims: {a: b}}]}, \
                 {action: deny, from: [{apiKeys: [c]}]}]}";
    let said: Vec<String> = policy("name: a", token).unread_rules().collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with("rules[1] asks for a token's claims"), "{said:?}");
    assert!(said[0].contains("no `jwt`: it allows nobody, unless another"), "{said:?}");
    assert!(said[1].starts_with("rules[2]") && said[1].contains("denies everybody"), "{said:?}");
    assert_eq!(policy("name: b", EVERYTHING).unread_rules().count(), 0);
    assert!(
        policy("name: b", EVERYTHING).is_of_tokens() && policy("name: a", token).is_of_tokens()
    );
    assert!(!policy("name: a", "{rules: [{action: deny}]}").is_of_tokens());
}

/// Each is refused in one sentence, which shows nothing that is secret.
#[test]
fn tokens_and_keys_that_can_not_be_judged_are_refused_with_their_cure() {
    let jwt = |fields: &str| format!("{{jwt: [{{issuer: a, {fields}}}]}}");
    let file = "jwks: {file: k}";
    let hash = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    let keys =
        |header: &str, keys: &str| format!("{{apiKeys: {{header: {header}, sha256: {keys}}}}}");
    let secret = r#"{"keys":[{"kty":"oct","k":"hunter2"}]}"#;
    let rows = [
        ("{jwt: []}".to_owned(), "spec.jwt: names no issuer; leave out `jwt`"),
        ("{jwt: [{jwks: {file: k}}]}".to_owned(), "spec.jwt[0]: missing field `issuer`"),
        ("{jwt: [{issuer: '', jwks: {file: k}}]}".to_owned(), "issuer: expected an issuer"),
        (jwt("forward: true"), "spec.jwt[0].jwks: is missing: write `jwks: {url: …}`"),
        (jwt("jwks: {}"), "spec.jwt[0].jwks: expected one of `url`, `inline` and `file`"),
        (jwt("jwks: {file: a, inline: '{}'}"), "can't be used: it is no JWK set"),
        (jwt("jwks: {file: a, url: 'https://a/'}"), "expected one of `url`, `inline`"),
        (jwt("jwks: {file: a, caFile: b}"), "caFile: is about `url`, which is missing"),
        (jwt("jwks: {url: 'http://idp.example/'}"), "by anybody on the way: write https"),
        (jwt("jwks: {url: 'https://u:hunter2@a/'}"), "expected a URL such as https://idp"),
        (jwt(&format!("jwks: {{inline: '{secret}'}}")), "holds a private or shared key"),
        (jwt("jwks: {inline: '{\"keys\":[]}'}"), "can't be used: it has no keys"),
        (jwt("jwks: {inline: {keys: []}}"), "expected a JWK set, as JSON in a text"),
        (jwt(&format!("{file}, audiences: []")), "leave out `audiences` to take"),
        (jwt(&format!("{file}, audiences: [a, a]")), "a is taken by item 0"),
        (jwt(&format!("{file}, from: []")), "leave out `from` to mean `Bearer `"),
        (jwt(&format!("{file}, from: [{{}}]")), "from[0]: expected one of `header`, `cookie`"),
        (jwt(&format!("{file}, from: [{{cookie: a, query: b}}]")), "expected one of `header`"),
        (jwt(&format!("{file}, from: [{{cookie: a, prefix: b}}]")), "is about `header`"),
        (jwt(&format!("{file}, from: [{{cookie: 'a;b'}}]")), "expected the name of a cookie"),
        (jwt(&format!("{file}, from: [{{header: cookie}}]")), "write `cookie` with the name"),
        (jwt(&format!("{file}, from: [{{header: host}}]")), "host has a meaning of its own"),
        (jwt(&format!("{file}, claimHeaders: {{x-outrigger-peer: sub}}")), "of its own"),
        (jwt(&format!("{file}, claimHeaders: {{'a b': sub}}")), "not the name of a header"),
        (jwt(&format!("{file}, claimHeaders: {{a: b, A: c}}")), "a is named twice"),
        (jwt(&format!("{file}, claimHeaders: {{a: ''}}")), "expected the name of a claim"),
        (
            jwt(&format!(
                "{file}, introspection: {{url: 'https://a/', clientId: b, \
                       clientSecretFile: c}}"
            )),
            "stands beside `jwks`",
        ),
        (
            jwt("introspection: {url: 'https://a/', clientId: b, clientSecretFile: c, \
              clientSecret: hunter2}"),
            "would show a secret: write `clientSecretFile`",
        ),
        (
            jwt("introspection: {url: 'https://a/', clientId: b, clientSecretFile: c, \
              cacheFor: 2h}"),
            "is longer than an hour",
        ),
        (keys("x", "{}"), "spec.apiKeys.sha256: names nobody; leave out `apiKeys`"),
        (keys("x", "{a: hunter2}"), "sha256.a: expected 64 hexadecimal digits, the SHA-256"),
        (keys("x", "{a: 12}"), "expected 64 hexadecimal digits in quotes"),
        (keys("host", &format!("{{a: {hash}}}")), "host has a meaning of its own"),
        (keys("x", &format!("{{a: {hash}, b: {hash}}}")), "b: is the same key as that of a"),
        (
            keys("x", "{a: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}"),
            "is the SHA-256 of nothing",
        ),
        ("{apiKeys: {header: x}}".to_owned(), "spec.apiKeys: missing field `sha256`"),
    ];
    for (spec, part) in rows {
        let faults = read("name: api", &spec).expect_err(&spec);
        assert!(faults.iter().any(|fault| fault.contains(part)), "{spec}: {faults:?}");
        let leaks = |fault: &String| fault.contains("hunter2") && !part.contains("URL");
        assert!(!faults.iter().any(leaks), "{spec}: {faults:?}");
    }
}

#[test]
fn what_takes_tokens_keeps_out_all_while_nobody_knows_whom_it_is_about() {
    let of = |spec: &str| policy("name: a", spec).cautious().expect("something is left");
    let counts = of("{jwt: [{issuer: a, jwks: {file: k}}], rules: [{action: allow}]}");
    assert_eq!((counts.jwt.len(), counts.rules.len()), (0, 1));
    assert!(counts.rules[0].action == Action::Deny && counts.rules[0].from.is_empty());
    assert_eq!(of("{rules: [{action: allow}]}").rules.len(), 0);
}

#[test]
fn what_may_have_kept_somebody_out_keeps_out_all_until_it_can_be_read() {
    let rows = [
        ("{mtls: permissive, selector: {}}", 0),
        ("{ports: [0]}", 0),
        ("{audit: some}", 0),
        ("{rules: [{action: denied}]}", 1),
        ("{jwt: []}", 1),
        ("{default: dny}", 1),
        ("{newer: 1}", 1),
        ("[]", 1),
    ];
    for (spec, rules) in rows {
        let counts = in_place_of(spec);
        let denies = counts.rules.iter().filter(|rule| rule.action == Action::Deny).count();
        assert_eq!((counts.rules.len(), denies), (rules, rules), "{spec}");
        assert_eq!((counts.mtls, counts.mode), (Some(Mtls::Strict), Some(Mode::Enforce)), "{spec}");
    }
}

#[test]
fn what_can_not_be_kept_is_refused_with_its_cure() {
    let rows = [
        ("{mtls: maybe}", "spec.mtls: expected one of strict, permissive, found \"maybe\""),
        ("{mtls: Strict}", "did you mean"),
        ("{selector: {}}", "spec.selector: missing field `matchLabels`"),
        ("{selector: {matchLabels: {}}}", "names no label; leave out `selector`"),
        ("{selector: {matchLabels: {a: b}, app: a}}", "unknown field `app`"),
        ("{selector: {matchLabels: {a: b}, matchExpressions: []}}", "write `matchLabels`"),
        ("{ports: []}", "spec.ports: names no port; leave out `ports`"),
        ("{ports: [80, 0]}", "spec.ports[1]: expected"),
        ("{ports: [80, http]}", "spec.ports[1]: expected"),
        ("{ports: [80, 80]}", "spec.ports[1]: 80 is taken by item 0"),
        ("{ports: 80}", "spec.ports: expected a list"),
        ("{mode: obsrve}", "did you mean `observe`?"),
        ("{default: allowed}", "did you mean `allow`?"),
        ("{audit: some}", "spec.audit: expected one of none, denied, all"),
        ("{mtsl: strict}", "unknown field `mtsl`; did you mean `mtls`?"),
    ];
    for (spec, part) in rows {
        let faults = read("name: api", spec).expect_err(spec);
        assert!(faults.len() == 1 && faults[0].contains(part), "{spec}: {faults:?}");
    }
    let many: Vec<String> = (1..=101).map(|port| port.to_string()).collect();
    let faults = read("name: api", &format!("{{ports: [{}]}}", many.join(", ")));
    assert!(faults.expect_err("too many")[0].contains("may have 100"));
}

fn in_place_of(spec: &str) -> AccessPolicy {
    let metadata = policy("name: api, labels: {a: b}", "{}").metadata;
    AccessPolicy::in_place_of(&format!("{{spec: {spec}}}"), metadata)
}

#[test]
fn one_that_can_not_be_read_counts_as_strict_for_what_can_be_read_of_it() {
    let all = "namespace shop";
    let of_app = "workloads with app=api of namespace shop";
    let rows = [
        ("{mtls: permissive, mode: observe}", all),
        ("{selector: {matchLabels: {app: api}}, mtsl: permissive}", of_app),
        ("{selector: {matchLabels: {app: api}, matchExpressions: []}}", of_app),
        ("{selector: {matchLabels: {app: api, b: 1, '-': x}}}", of_app),
        ("{selector: {matchLabels: [app]}}", all),
        ("{selector: {app: api}}", all),
        ("{ports: [81, 80, 80], jwt: []}", "ports 80, 81 of namespace shop"),
        (
            "{ports: [80], selector: {matchLabels: {app: api}}, x: y}",
            "port 80 of workloads with app=api of namespace shop",
        ),
        ("{ports: [80, http]}", all),
        ("{ports: [80, 0]}", all),
        ("{ports: 80}", all),
        ("[]", all),
        ("strict", all),
    ];
    for (spec, scope) in rows {
        let counts = in_place_of(spec);
        assert_eq!((counts.scope().as_str(), counts.mtls), (scope, Some(Mtls::Strict)), "{spec}");
    }
    // A rule that is not indented enough stands beside the spec.
    let metadata = || policy("name: api", "{}").metadata;
    let astray =
        "{kind: AccessPolicy, spec: {mtls: permissive}, rules: [{action: deny}], status: {}}";
    assert_eq!(AccessPolicy::in_place_of(astray, metadata()).rules.len(), 1, "it lets nobody in");
    let counts = AccessPolicy::in_place_of("{spec: [", metadata());
    assert_eq!((counts.scope().as_str(), counts.mtls), (all, Some(Mtls::Strict)));
}

proptest! {
    /// Sidecars read it like any other: one that they could not take would leave them without.
    #[test]
    fn what_counts_in_its_place_can_be_read(
        labels in proptest::collection::vec(("[a-z./-]{1,6}", "[a-z0-9.:-]{0,6}"), 0..4),
        ports in proptest::collection::vec(-1..70_000i64, 0..130),
        are_ports_read in any::<bool>(),
    ) {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k:?}: {v:?}")).collect();
        let ports = if are_ports_read { format!("{ports:?}") } else { "{}".to_owned() };
        let labels = labels.join(", ");
        let counts =
            in_place_of(&format!("{{selector: {{matchLabels: {{{labels}}}}}, ports: {ports}}}"));
        let written = manifest::of(&Resource::AccessPolicy(counts.clone().into())).to_string();
        let again = parse_documents(&written, &Origin::file("again"), "other");
        prop_assert_eq!(again, Ok(vec![Resource::AccessPolicy(counts.into())]));
    }
}

#[test]
fn a_policy_is_about_those_that_it_selects() {
    let labels = |text: &str| -> Labels {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let rows = [
        ("name: a", "{}", "shop", "", true, Level::Namespace, "namespace shop"),
        ("name: a", "{}", "other", "", false, Level::Namespace, "namespace shop"),
        (
            "name: a",
            "{selector: {matchLabels: {app: x}}}",
            "shop",
            "app=x zone=1",
            true,
            Level::Selector,
            "workloads with app=x of namespace shop",
        ),
        (
            "name: a",
            "{selector: {matchLabels: {app: x, b: c}}}",
            "shop",
            "app=x",
            false,
            Level::Selector,
            "workloads with app=x,b=c of namespace shop",
        ),
        ("name: a", "{ports: [80]}", "shop", "", true, Level::Ports, "namespace shop"),
        ("name: a, namespace: outrigger-system", "{}", "shop", "", true, Level::Mesh, "the mesh"),
        (
            "name: a, namespace: outrigger-system",
            "{selector: {matchLabels: {app: x}}}",
            "shop",
            "app=x",
            false,
            Level::Selector,
            "workloads with app=x of namespace outrigger-system",
        ),
        (
            "name: a, namespace: outrigger-system",
            "{ports: [80]}",
            "shop",
            "",
            true,
            Level::Ports,
            "the mesh",
        ),
    ];
    for (metadata, spec, namespace, of, concerns, level, subject) in rows {
        let policy = policy(metadata, spec);
        assert_eq!(policy.concerns(namespace, &labels(of)), concerns, "{metadata} {spec}");
        assert_eq!((policy.level(), policy.subject().as_str()), (level, subject));
    }
}

#[test]
fn the_nearest_counts_and_of_equals_the_stricter() {
    let mesh = policy("name: m, namespace: outrigger-system", "{mtls: permissive}");
    let namespace = policy("name: n", "{mtls: strict}");
    let silent = policy("name: s", "{selector: {matchLabels: {a: b}}}");
    let selector = policy("name: l", "{selector: {matchLabels: {a: b}}, mtls: permissive}");
    let port = policy("name: p", "{ports: [80], mtls: strict}");
    let loose = policy("name: q", "{ports: [80, 81], mtls: permissive}");
    let all = [&mesh, &namespace, &silent, &selector, &port, &loose];
    let rows: [(&[usize], u16, &str, Option<&str>); 8] = [
        (&[], 80, "strict", None),
        (&[2], 80, "strict", None),
        (&[0], 80, "permissive", Some("outrigger-system/m")),
        (&[0, 1, 2], 80, "strict", Some("shop/n")),
        (&[0, 1, 2, 3], 80, "permissive", Some("shop/l")),
        (&[0, 1, 3, 4], 80, "strict", Some("shop/p")),
        (&[3, 4, 5], 80, "strict", Some("shop/p")),
        (&[1, 4, 5], 81, "permissive", Some("shop/q")),
    ];
    for (of, port, says, by) in rows {
        let ruling = mtls(of.iter().map(|&at| all[at]), port);
        assert_eq!(ruling.says.as_str(), says, "{of:?}");
        assert_eq!(ruling.by.map(AccessPolicy::title).as_deref(), by, "{of:?}");
    }
    let elsewhere = mtls_elsewhere(all);
    assert_eq!(elsewhere.by.map(AccessPolicy::title).as_deref(), Some("shop/l"));
}

fn any_policy() -> impl Strategy<Value = AccessPolicy> {
    let ports = proptest::collection::btree_set(80..83u16, 0..3);
    let mtls = proptest::option::of(prop_oneof![Just(Mtls::Strict), Just(Mtls::Permissive)]);
    (0..3u8, any::<bool>(), any::<bool>(), ports, mtls).prop_map(
        |(name, of_mesh, selects, ports, mtls)| {
            let namespace = if of_mesh { ", namespace: outrigger-system" } else { "" };
            let mut policy = policy(&format!("name: p{name}{namespace}"), "{}");
            if selects && !of_mesh {
                policy.selector.insert("app".into(), "x".into());
            }
            policy.ports = ports.into_iter().collect();
            policy.mtls = mtls;
            policy
        },
    )
}

proptest! {
    #[test]
    fn order_does_not_matter_and_the_rule_is_kept(
        policies in proptest::collection::vec(any_policy(), 0..8),
        port in 80..84u16,
        turn in 0..8usize,
    ) {
        let ruling = mtls(&policies, port);
        let mut turned: Vec<&AccessPolicy> = policies.iter().rev().collect();
        let by = turn.min(turned.len());
        turned.rotate_left(by);
        let again = mtls(turned, port);
        prop_assert_eq!(ruling.says, again.says);
        prop_assert_eq!(
            ruling.by.map(AccessPolicy::title),
            again.by.map(AccessPolicy::title)
        );
        // The rule, told level by level.
        let said = |level: Level| -> Vec<Mtls> {
            let about = policies.iter().filter(|p| p.ports.is_empty() || p.ports.contains(&port));
            about.filter(|policy| policy.level() == level).filter_map(|p| p.mtls).collect()
        };
        let levels = [Level::Ports, Level::Selector, Level::Namespace, Level::Mesh];
        let nearest = levels.map(said).into_iter().find(|words| !words.is_empty());
        let permissive = nearest.is_some_and(|words| !words.contains(&Mtls::Strict));
        prop_assert_eq!(ruling.says == Mtls::Permissive, permissive);
        if !policies.iter().any(|policy| policy.ports.contains(&port)) {
            prop_assert_eq!(mtls_elsewhere(&policies).says, ruling.says);
        }
    }
}
