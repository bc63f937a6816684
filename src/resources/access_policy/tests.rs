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
    for policy in [full, policy("name: a", "{}"), policy("name: b", "{mtls: strict}")] {
        let written = manifest::of(&Resource::AccessPolicy(policy.clone().into())).to_string();
        let again = parse_documents(&written, &Origin::file("again"), "other").expect(&written);
        assert_eq!(again, [Resource::AccessPolicy(policy.into())]);
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
        ("{mode: observe}", "spec.mode: is not supported by this version"),
        ("{default: allow}", "spec.default: is not supported by this version"),
        ("{audit: all}", "spec.audit: is not supported by this version"),
        ("{rules: [{action: deny}]}", "spec.rules: is not supported by this version"),
        ("{jwt: []}", "spec.jwt: is not supported by this version"),
        ("{apiKeys: {header: x}}", "spec.apiKeys: is not supported by this version"),
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
    let metadata = policy("name: api", "{}").metadata;
    let counts = AccessPolicy::in_place_of("{spec: [", metadata);
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
