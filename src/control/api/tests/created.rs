//! When a resource was made, and how routes and policies fare.

use super::*;
use crate::control::api::standings::{Newest, Standings};
use crate::control::api::view::Id;

const ROUTE: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: web}]
  rules: [{backendRefs: [{name: v2, port: 80}]}]
";

fn policy(name: &str, created: &str) -> String {
    format!(
        "---
apiVersion: outrigger.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}, namespace: shop{created}}}
spec: {{targetRefs: [{{kind: Service, name: web}}], timeouts: {{request: 1s}}}}
"
    )
}

async fn created(bench: &Bench, kind: &str, name: &str) -> String {
    let held = bench.find(kind, "shop", name).await.expect("there");
    let manifest: serde_json::Value = serde_json::from_str(&held.manifest).expect("JSON");
    let since = manifest["metadata"]["creationTimestamp"].as_str().expect("a time").to_owned();
    let second = jiff::Timestamp::from_second(held.created_ms / 1000).expect("a time");
    assert_eq!(since, second.to_string());
    since
}

#[tokio::test]
async fn the_control_plane_says_when_something_was_made() {
    let bench = Bench::new();
    let claimed = policy("p", ", creationTimestamp: \"1999-01-01T00:00:00Z\"");
    assert_eq!(bench.applied(&claimed).await, [Action::Created]);
    let since = created(&bench, "TrafficPolicy", "p").await;
    assert!(since.as_str() > "2020" && since.len() == "2020-01-01T00:00:00Z".len(), "{since}");
    assert_eq!(bench.applied(&policy("p", "")).await, [Action::Unchanged]);
    assert_eq!(bench.applied(&claimed).await, [Action::Unchanged]);
    let changed = claimed.replace("1s", "2s");
    let answer = bench.apply(&changed).await;
    assert_eq!(actions(&answer.changes), [Action::Updated]);
    let (before, after) = (&answer.changes[0].before, &answer.changes[0].after);
    assert!(!before.contains("Timestamp") && !after.contains("Timestamp"), "{before} {after}");
    assert_eq!(created(&bench, "TrafficPolicy", "p").await, since);
    bench.register("web-1").await;
    assert_eq!(created(&bench, "Workload", "web-1").await, "1970-01-01T00:00:00Z");
}

#[tokio::test]
async fn what_is_stored_says_it_and_what_sidecars_are_told_too() {
    let bench = Bench::new();
    bench.applied(&format!("{WEB}{}", policy("p", ""))).await;
    let since = created(&bench, "TrafficPolicy", "p").await;
    let again = Catalog::new(TrustDomain::default(), 2, &bench.store.records());
    let name = crate::model::ServiceName::parse("web.shop:80", "").expect("a name");
    let reading = again.read(&[name], &[], "shop");
    let served = reading.services[0].1.clone().expect("it is there");
    assert_eq!(served.manifests.len(), 1);
    // To the millisecond, which people are not shown.
    let millis = bench.find("TrafficPolicy", "shop", "p").await.expect("there").created_ms;
    let exact = jiff::Timestamp::from_millisecond(millis).expect("a time").to_string();
    assert!(since.len() == 20 && exact.starts_with(&since[..19]), "{since} {exact}");
    assert!(served.manifests[0].contains(&exact), "{:?}", served.manifests);
}

#[tokio::test]
async fn what_a_route_lacks_keeps_nobody_from_applying_it_and_is_said() {
    let bench = Bench::new();
    let status =
        async |kind: &str, name: &str| bench.find(kind, "shop", name).await.expect("there").status;
    bench.applied(ROUTE).await;
    let said = status("HTTPRoute", "web").await;
    for part in ["there is no Service web of namespace shop", "there is no v2.shop:80"] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
    bench.applied(&format!("{WEB}{}", service("v2", "10.0.0.8", 80))).await;
    assert_eq!(status("HTTPRoute", "web").await, "accepted");
    assert_eq!(status("Service", "web").await, "");
    bench.applied(&format!("{}{}", policy("a", ""), policy("b", ""))).await;
    let listed = bench.list("TrafficPolicy", "shop").await.expect("a list");
    let said: Vec<&str> = listed.iter().map(|each| each.status.as_str()).collect();
    assert_eq!(said[0], "accepted");
    assert!(said[1].contains("the older shop/a wins"), "{said:?}");
    let keys = vec![key("Service", "shop", "v2")];
    let gone = v1::DeleteRequest { keys, ..v1::DeleteRequest::default() };
    assert_eq!(bench.delete(gone).await.expect("it may go").faults, []);
    assert!(status("HTTPRoute", "web").await.contains("no v2.shop:80"));
}

#[tokio::test]
async fn of_two_that_were_made_within_a_second_the_older_one_wins() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    let made = |name: &str, created_ms: i64| {
        let read = parse_documents(&policy(name, ""), &Origin::Default, "default").expect("sound");
        let manifest = manifest::of(&read[0]);
        let value = StoredResource { manifest, created_ms, enrollment: None }.encode();
        let name = format!("TrafficPolicy/shop/{name}").into();
        let key = Key { shelf: Shelf::Resources, name };
        Write { key, expect: Expect::Any, value: Some(value) }
    };
    let both = vec![made("b", 1_700_000_000_100), made("a", 1_700_000_000_101)];
    bench.store.commit(both).await.expect("nobody minds");
    let a = bench.find("TrafficPolicy", "shop", "a").await.expect("there");
    assert!(a.status.contains("the older shop/b wins"), "{}", a.status);
    assert!(a.manifest.contains("\"2023-11-14T22:13:20Z\""), "{}", a.manifest);
    // Given back, the rounded time changes nothing, and is not taken for the true one.
    assert_eq!(bench.applied(&a.manifest).await, [Action::Unchanged]);
    let changed = a.manifest.replace("\"1s\"", "\"2s\"");
    assert_eq!(bench.applied(&changed).await, [Action::Updated]);
    let a = bench.find("TrafficPolicy", "shop", "a").await.expect("there");
    assert_eq!(a.created_ms, 1_700_000_000_101);
    assert!(a.status.contains("the older shop/b wins"), "{}", a.status);
}

#[tokio::test]
async fn standings_are_computed_once_a_revision() {
    let bench = Bench::new();
    bench.applied(ROUTE).await;
    let (newest, past) = (Newest::default(), bench.catalog.snapshot());
    let first = newest.of(&past);
    assert!(
        Arc::ptr_eq(&first, &newest.of(&past)) && Arc::ptr_eq(&first, &newest.now(&bench.catalog))
    );
    bench.applied(WEB).await;
    let route = Id { kind: "HTTPRoute", namespace: "shop".into(), name: "web".into() };
    let is_lacking = |of: &Standings| of.status(&route).contains("no Service web");
    let second = newest.now(&bench.catalog);
    assert!(is_lacking(&first) && !is_lacking(&second));
    // Who is slow gets what it looks at, and takes nothing from the others.
    assert!(is_lacking(&newest.of(&past)));
    assert!(Arc::ptr_eq(&second, &newest.now(&bench.catalog)));
}

#[tokio::test]
async fn a_policy_that_is_about_nobody_says_so() {
    let bench = Bench::new();
    let policy = |label: &str| {
        format!(
            "---
apiVersion: outrigger.dev/v1alpha1
kind: AccessPolicy
metadata: {{name: only, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: {label}}}}}, mtls: strict}}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {{name: web-9, namespace: shop, labels: {{app: web}}}}
spec: {{address: 10.0.0.9}}
"
        )
    };
    let answer = bench.apply(&policy("wbe")).await;
    let expected = "no workload of namespace shop has the labels app=wbe now, so that it holds for \
                    nobody";
    assert_eq!(answer.changes[0].status, expected);
    let found = bench.find("AccessPolicy", "shop", "only").await.expect("there");
    assert_eq!(found.status, expected);
    let answer = bench.apply(&policy("web")).await;
    assert_eq!(answer.changes[0].status, "accepted");
}
