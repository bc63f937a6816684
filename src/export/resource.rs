//! Who the spans are of: what every message says once about the workload, in OpenTelemetry's words
//! for resources. `service.name` is what readers group by, so that all instances of one app should
//! have the same.

use opentelemetry_proto::tonic::resource::v1;

use super::facts::{Fact, key_values};

/// A workload as collectors know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `service.name`: what its instances have in common.
    pub service: String,
    pub namespace: String,
    /// `service.instance.id`: the one instance.
    pub instance: String,
    pub zone: Option<String>,
    /// The instance is a pod.
    pub is_pod: bool,
}

impl Resource {
    fn facts(&self) -> Vec<(&'static str, Fact<'_>)> {
        let mut facts = vec![
            ("service.name", Fact::from(&*self.service)),
            ("service.namespace", Fact::from(&*self.namespace)),
            ("service.instance.id", Fact::from(&*self.instance)),
            ("telemetry.sdk.name", Fact::from("outrigger")),
            ("telemetry.sdk.language", Fact::from("rust")),
            ("telemetry.sdk.version", Fact::from(env!("CARGO_PKG_VERSION"))),
        ];
        if let Some(zone) = &self.zone {
            facts.push(("cloud.availability_zone", Fact::from(&**zone)));
        }
        if self.is_pod {
            facts.push(("k8s.namespace.name", Fact::from(&*self.namespace)));
            facts.push(("k8s.pod.name", Fact::from(&*self.instance)));
        }
        facts
    }

    pub(super) fn message(&self) -> v1::Resource {
        v1::Resource { attributes: key_values(self.facts()), ..v1::Resource::default() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn example() -> Resource {
        Resource {
            service: "web".into(),
            namespace: "shop".into(),
            instance: "web-1".into(),
            zone: Some("eu-1a".into()),
            is_pod: true,
        }
    }

    #[test]
    fn a_pod_is_one() {
        let names = |resource: &Resource| {
            resource.facts().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
        };
        let common = "service.name service.namespace service.instance.id telemetry.sdk.name \
                      telemetry.sdk.language telemetry.sdk.version";
        let pod = format!("{common} cloud.availability_zone k8s.namespace.name k8s.pod.name");
        assert_eq!(names(&example()), pod);
        assert_eq!(names(&Resource { zone: None, is_pod: false, ..example() }), common);
    }
}
