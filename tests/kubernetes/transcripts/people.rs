//! What a scenario does in place of people, kubelets and controllers.
//!
//! Through the stage's own client, so that it is on record as everything else is, and told apart from
//! what our code asks for.

use kube::Client;
use serde_json::{Value, json};

use crate::harness::running;

pub struct People(pub Client);

impl People {
    /// One call of the API, with a body of this type.
    ///
    /// # Errors
    /// As the client says it.
    pub async fn call(
        &self,
        (method, kind): (&str, &str),
        path: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = http::Request::builder().method(method).uri(path);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.header("content-type", kind).body(bytes).expect("a request");
        self.0.request(request).await
    }

    /// A call that must succeed.
    async fn done(&self, what: (&str, &str), path: &str, body: &Value) -> Value {
        let answer = self.call(what, path, body).await;
        answer.unwrap_or_else(|error| panic!("{} {path}: {error}", what.0))
    }

    pub async fn read(&self, path: &str) -> Value {
        self.done(("GET", ""), path, &Value::Null).await
    }

    /// Makes an object.
    pub async fn create(&self, path: &str, object: &Value) -> Value {
        self.done(("POST", JSON), path, object).await
    }

    pub async fn replace(&self, path: &str, object: &Value) -> Value {
        self.done(("PUT", JSON), path, object).await
    }

    pub async fn merge(&self, path: &str, change: &Value) -> Value {
        self.done(("PATCH", "application/merge-patch+json"), path, change).await
    }

    /// Removes it at once: there is no kubelet to let a pod end.
    pub async fn delete(&self, path: &str) {
        self.done(("DELETE", JSON), path, &json!({"gracePeriodSeconds": 0})).await;
    }

    /// A namespace with these labels.
    pub async fn namespace(&self, name: &str, labels: &Value) -> Value {
        let object = json!({"metadata": {"name": name, "labels": labels}});
        self.create("/api/v1/namespaces", &object).await
    }

    /// A pod of [`crate::harness::pod`], running at this address.
    pub async fn run_pod(&self, namespace: &str, pod: &Value, ip: &str) -> Value {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let made = self.create(&path, pod).await;
        let name = made["metadata"]["name"].as_str().expect("a name");
        self.merge(&format!("{path}/{name}/status"), &running(&[ip])).await
    }
}

const JSON: &str = "application/json";
