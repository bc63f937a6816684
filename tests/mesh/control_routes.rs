//! Routes and policies on their way from whoever applies them to running sidecars.

use std::time::{Duration, Instant};

use outrigger::wire::v1::configuration_client::ConfigurationClient;
use outrigger::wire::v1::{ApplyRequest, Document};

use crate::harness::{App, ControlPlane, eventually, service};

const WEB: &str = "web.default:80";
const V2: &str = "v2.default:80";

/// What half of them take at most, also on a machine that builds and tests at the same time.
const BOUND: Duration = Duration::from_secs(1);

fn route(backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: web, namespace: default}}\n\
         spec:\n  parentRefs: [{{group: '', kind: Service, name: web}}]\n\
         \x20 rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]\n"
    )
}

fn policy(millis: usize) -> String {
    format!(
        "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
         metadata: {{name: web, namespace: default}}\n\
         spec: {{targetRefs: [{{kind: Service, name: web}}], timeouts: {{request: {millis}ms}}}}\n"
    )
}

#[test]
fn a_policy_is_with_a_running_sidecar_at_once() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let caller = plane.caller("client-1", &[WEB]);
    eventually("the service is known", || caller.endpoints(WEB) == Some(0));
    let operator = plane.operator();
    let mut took: Vec<Duration> = (1..=10)
        .map(|round| {
            let before = caller.link()["version"].clone();
            let documents = vec![Document { source: "p".into(), text: policy(round * 1000) }];
            let request = operator.request(ApplyRequest { documents, ..ApplyRequest::default() });
            let begun = Instant::now();
            let applied = operator
                .call(async |channel| ConfigurationClient::new(channel).apply(request).await);
            assert_eq!(applied.expect("an answer").faults, []);
            eventually("the policy is there", || caller.link()["version"] != before);
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("from the call to the sidecar: {:?} to {:?}", took[0], took[took.len() - 1]);
    assert!(took[took.len() / 2] < BOUND, "{took:?}");
}

#[test]
fn what_a_route_sends_to_comes_with_it_and_nobody_else_is_told() {
    let mut plane = ControlPlane::start(&[]);
    plane.apply(&format!("{}---\n{}", service("web"), service("v2")));
    let app = App::ok();
    let _one = plane.instance("v2-1", app.address);
    let caller = plane.caller("client-1", &[WEB]);
    eventually("the service is known", || caller.endpoints(WEB) == Some(0));
    assert_eq!(caller.endpoints(V2), None, "nobody asked for it");
    plane.apply(&route("v2"));
    eventually("the backend is known", || caller.endpoints(V2) == Some(1));
    let listed = plane.done(&["get", "httproutes"]);
    assert!(listed.contains("accepted") && listed.contains("PARENTS"), "{listed}");
    let other = App::ok();
    let _two = plane.instance("v2-2", other.address);
    eventually("it is followed", || caller.endpoints(V2) == Some(2));
    plane.restart();
    eventually("the session is back", || caller.is_connected());
    plane.apply(&route("late"));
    let listed = plane.done(&["get", "httproute", "web"]);
    assert!(listed.contains("there is no late.default:80"), "{listed}");
    plane.apply(&service("late"));
    eventually("what was missing is known", || caller.endpoints("late.default:80") == Some(0));
    let yaml = plane.done(&["get", "httproute", "web", "-o", "yaml"]);
    assert!(yaml.contains("creationTimestamp: "), "{yaml}");
    let said = plane.try_apply(&yaml);
    assert!(said.out.contains("unchanged"), "{said:?}");
}
