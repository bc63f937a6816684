//! A cluster's objects, written through its API: services, pods that run, slices, policies.
//!
//! There is no kubelet and no controller: what those would write is written here, as they write it.

use std::cell::RefCell;
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::iter;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use outrigger::control::crd;
use serde_json::{Value, json};

use super::super::NAMESPACE;
use super::super::harness;
use super::super::plane::service;
use super::{AT_ONCE, PODS_EACH, SERVICES};

/// Every so many services one has a policy.
const POLICY_EACH: usize = 10;

/// The cluster's API, as its administrator.
pub struct Api {
    client: Client,
    /// As they were made, by their number.
    pods: RefCell<Vec<Value>>,
}

impl Api {
    pub async fn connect(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("it was written");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let client = Client::try_from(config.expect("sound")).expect("a client");
        Self { client, pods: RefCell::default() }
    }

    async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request =
            http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.to_string().into_bytes()).expect("a request");
        let done = self.client.request(request).await;
        done.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// All services with their pods, and a policy here and there.
    pub async fn populate(&self) {
        for name in [NAMESPACE, "outrigger-system"] {
            let namespace = json!({"metadata": {"name": name}});
            self.done("POST", "/api/v1/namespaces", &namespace).await;
        }
        for kind in crd::all() {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            self.done("POST", path, &kind).await;
        }
        let pods: Vec<Vec<Value>> =
            iter(0..SERVICES).map(|index| self.serve(index)).buffered(AT_ONCE).collect().await;
        // The pod of a number is that of the number modulo the services, so that the first thousand
        // are of as many services.
        let pod = |number: usize| pods[number % SERVICES][number / SERVICES].clone();
        *self.pods.borrow_mut() = (0..SERVICES * PODS_EACH).map(pod).collect();
        iter((0..SERVICES).step_by(POLICY_EACH))
            .for_each_concurrent(AT_ONCE, |index| self.govern(index))
            .await;
    }

    /// A service, its account, its pods and its slice.
    async fn serve(&self, index: usize) -> Vec<Value> {
        let name = service(index);
        let core = format!("/api/v1/namespaces/{NAMESPACE}");
        let account = json!({"metadata": {"name": name}});
        self.done("POST", &format!("{core}/serviceaccounts"), &account).await;
        self.done("POST", &format!("{core}/services"), &harness::service(&name)).await;
        let mut pods = Vec::new();
        for nth in 0..PODS_EACH {
            let pod_name = format!("{name}-{nth}");
            let pod = harness::pod(&pod_name, &name);
            self.done("POST", &format!("{core}/pods"), &pod).await;
            let ip = address(index, nth);
            let started = json!({"name": "outrigger-proxy", "image": "i", "imageID": "i",
                "ready": true, "started": true, "restartCount": 0});
            let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "initContainerStatuses": [started]}});
            pods.push(self.done("PATCH", &format!("{core}/pods/{pod_name}/status"), &status).await);
        }
        let all: Vec<&Value> = pods.iter().collect();
        self.done("POST", &slices(), &harness::slice(&name, &name, &all)).await;
        pods
    }

    async fn govern(&self, index: usize) {
        let name = service(index);
        let policy = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {"name": name},
            "spec": {"targetRefs": [{"kind": "Service", "name": name}],
                "retry": {"on": ["connect-failure", "gateway-error"]}},
        });
        let path = format!("/apis/outrigger.dev/v1alpha1/namespaces/{NAMESPACE}/trafficpolicies");
        self.done("POST", &path, &policy).await;
    }

    /// The name of a pod.
    pub fn pod(&self, number: usize) -> String {
        let pod = &self.pods.borrow()[number];
        pod["metadata"]["name"].as_str().expect("it was made").to_owned()
    }

    /// A token for a pod's sidecar, as the kubelet asks for it.
    pub async fn token(&self, number: usize) -> String {
        let meta = self.pods.borrow()[number]["metadata"].clone();
        let bound =
            json!({"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]});
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["outrigger"], "expirationSeconds": 3600,
                "boundObjectRef": bound},
        });
        let account = service(number % SERVICES);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let made = self.done("POST", &path, &request).await;
        made["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// The first so many of its pods serve a service from now on.
    pub async fn serve_with(&self, index: usize, members: usize) {
        let name = service(index);
        let slice = {
            let pods = self.pods.borrow();
            let members: Vec<&Value> =
                (0..members).map(|nth| &pods[nth * SERVICES + index]).collect();
            harness::slice(&name, &name, &members)
        };
        self.done("PUT", &format!("{}/{name}", slices()), &slice).await;
    }
}

fn slices() -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices")
}

fn address(index: usize, nth: usize) -> String {
    let number = index * PODS_EACH + nth;
    format!("10.100.{}.{}", number / 250, number % 250 + 1)
}
