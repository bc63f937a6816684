//! What is shown can be given back, and what is stored can be read.

use std::time::Duration;

use super::*;
use crate::control::api::apply;
use crate::control::catalog::Snapshot;
use crate::resources::Resource;

/// Everything that is shown, as one text.
async fn everything(bench: &Bench) -> String {
    let all = bench.list("", "").await.expect("a list");
    all.iter().map(|resource| format!("---\n{}\n", resource.manifest)).collect()
}

#[tokio::test]
async fn everything_given_back_is_unchanged_registered_workloads_too() {
    let bench = Bench::new();
    bench.applied(&format!("{WEB}{}", workload("web-0"))).await;
    bench.register("web-1").await;
    // Both an applied and a registered one: the applied one is shown.
    let held = workload("web-2").replace("1.1", "1.2");
    bench.applied(&held).await;
    bench.register("web-2").await;
    let (commits, all) = (bench.store.commits(), everything(&bench).await);
    assert_eq!(bench.applied(&all).await, [Action::Unchanged; 4]);
    assert_eq!(bench.store.commits(), commits);
    let answer = bench.apply(&all.replace("10.0.1.1", "10.0.1.9")).await;
    assert_eq!(answer.faults.len(), 1, "{:?}", answer.faults);
    let message = &answer.faults[0].message;
    assert!(message.contains("web-1") && message.contains("leave it out"), "{message}");
}

#[test]
fn what_could_not_be_read_back_is_not_stored() {
    let text = "apiVersion: outrigger.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: p, namespace: shop}
spec: {timeouts: {request: 1s}}
";
    let origin = Origin::file("p.yaml");
    let mut wanted = parse_documents(text, &origin, "default").expect("sound");
    let sound = apply::apply(&wanted, &Snapshot::default(), 0).expect("sound");
    assert_eq!(sound.writes.len(), 1);
    let Resource::TrafficPolicy(policy) = &mut wanted[0] else { panic!("{wanted:?}") };
    policy.timeouts.as_mut().expect("said").request = Some(Duration::ZERO);
    let faults = apply::apply(&wanted, &Snapshot::default(), 0).expect_err("it can't be read");
    let said = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.starts_with("p.yaml:1: TrafficPolicy p of namespace shop"), "{said}");
    assert!(said.contains("timeouts.request") && said.contains("nothing was stored"), "{said}");
}

/// A rule that says nothing is printed with the match that it stands for.
#[tokio::test]
async fn a_route_that_grows_past_its_bounds_is_refused() {
    let bench = Bench::new();
    let rules = "{}, ".repeat(9_999);
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web, namespace: shop}}
spec: {{parentRefs: [{{group: '', kind: Service, name: web}}], rules: [{rules}]}}
"
    );
    let answer = bench.apply(&route).await;
    assert_eq!(answer.faults.len(), 1, "{:?}", answer.faults);
    let message = &answer.faults[0].message;
    assert!(message.contains("read back") && message.contains("split it"), "{message}");
    assert_eq!(bench.store.commits(), 0);
}
