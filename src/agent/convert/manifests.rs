//! Manifests that answers carry, read as strictly as a person's: a field that this sidecar does not
//! know is a reason not to use the manifest, since ignoring it would promise something.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::resources::{
    AccessPolicy, Fault, Origin, RateLimitPolicy, Resource, parse_documents, quote,
};

/// Those of one update; what hangs on many services is read once.
#[derive(Default)]
pub struct Manifests {
    read: HashMap<String, Result<Arc<Resource>, String>>,
}

impl Manifests {
    /// # Errors
    /// Which resource it is, and everything that is wrong with it.
    pub fn read(&mut self, manifest: String) -> Result<Arc<Resource>, String> {
        let read = self.read.entry(manifest);
        read.or_insert_with_key(|manifest| attachable(manifest).map(Arc::new)).clone()
    }
}

/// # Errors
/// Which resource it is, and everything that is wrong with it.
pub fn access_policy(manifest: &str) -> Result<Arc<AccessPolicy>, String> {
    match one(manifest)? {
        Resource::AccessPolicy(policy) => Ok(policy),
        _ => Err(format!("{}: it is no access policy", title(manifest))),
    }
}

/// # Errors
/// Which resource it is, and everything that is wrong with it.
pub fn rate_limit_policy(manifest: &str) -> Result<Arc<RateLimitPolicy>, String> {
    match one(manifest)? {
        Resource::RateLimitPolicy(policy) => Ok(policy),
        _ => Err(format!("{}: it is no rate-limit policy", title(manifest))),
    }
}

fn attachable(manifest: &str) -> Result<Resource, String> {
    match one(manifest)? {
        Resource::Service(_)
        | Resource::Workload(_)
        | Resource::AccessPolicy(_)
        | Resource::RateLimitPolicy(_) => {
            Err(format!("{}: it can't hang on a service", title(manifest)))
        }
        resource @ (Resource::HttpRoute(_)
        | Resource::GrpcRoute(_)
        | Resource::TrafficPolicy(_)) => Ok(resource),
    }
}

fn one(manifest: &str) -> Result<Resource, String> {
    let read = parse_documents(manifest, &Origin::file("attachment"), "default");
    let mut read = read.map_err(|faults| {
        let say = |Fault { at: _, path, message }: &Fault| match path.as_str() {
            "" => message.clone(),
            path => format!("{path}: {message}"),
        };
        let faults: Vec<String> = faults.iter().map(say).collect();
        format!("{}: {}", title(manifest), faults.join("; "))
    })?;
    let resource = read.pop().filter(|_| read.is_empty());
    resource.ok_or_else(|| format!("{}: it is not one resource", title(manifest)))
}

/// `HTTPRoute web.shop`, as far as it can be read.
fn title(manifest: &str) -> String {
    let value: Value = serde_json::from_str(manifest).unwrap_or_default();
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let metadata = &value["metadata"];
    match (word(&value["kind"]), word(&metadata["name"]), word(&metadata["namespace"])) {
        (Some(kind), Some(name), Some(namespace)) => format!("{kind} {name}.{namespace}"),
        _ => quote(manifest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_names_the_resource_and_every_fault() {
        let rows = [
            (
                r#"{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                    "metadata": {"name": "web", "namespace": "shop"},
                    "spec": {"parentRefs": [{"kind": "Service", "group": "", "name": "web"}],
                             "rules": [{"newer": 1}], "newest": 2}}"#,
                &["HTTPRoute web.shop: ", "spec.rules[0]", "`newer`", "`newest`"][..],
            ),
            (
                r#"{"apiVersion": "v1", "kind": "Service",
                    "metadata": {"name": "web", "namespace": "shop"},
                    "spec": {"ports": [{"port": 80}]}}"#,
                &["Service web.shop: it can't hang on a service"],
            ),
            (
                r#"{"apiVersion": "outrigger.dev/v1alpha1", "kind": "AccessPolicy",
                    "metadata": {"name": "web", "namespace": "shop"}, "spec": {}}"#,
                &["AccessPolicy web.shop: it can't hang on a service"],
            ),
            ("", &["\"\": it is not one resource"]),
        ];
        let mut manifests = Manifests::default();
        for (manifest, parts) in rows {
            let said = manifests.read(manifest.to_owned()).expect_err("it can't be used");
            for part in parts {
                assert!(said.contains(part), "{said} lacks {part}");
            }
        }
    }

    #[test]
    fn access_policies_are_read_as_strictly_and_are_nothing_else() {
        let policy = |fields: &str| {
            let head = r#"{"apiVersion": "outrigger.dev/v1alpha1", "kind": "AccessPolicy",
                "metadata": {"name": "web", "namespace": "shop"}, "spec": "#;
            access_policy(&format!("{head}{{{fields}}}}}"))
        };
        assert_eq!(policy(r#""mtls": "permissive""#).expect("sound").title(), "shop/web");
        let newer = policy(r#""mtls": "permissive", "newer": 1"#).expect_err("not all of it");
        assert!(newer.starts_with("AccessPolicy web.shop: ") && newer.contains("newer"), "{newer}");
        let other = access_policy("{}").expect_err("nothing");
        assert!(other.contains("missing field `kind`"), "{other}");
    }

    #[test]
    fn one_that_comes_twice_is_read_once() {
        let route = r#"{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"parentRefs": [{"kind": "Service", "group": "", "name": "web"}],
                     "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}"#;
        let mut manifests = Manifests::default();
        let mut read = || manifests.read(route.to_owned()).expect("sound");
        assert!(Arc::ptr_eq(&read(), &read()));
    }
}
