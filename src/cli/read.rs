//! `outrigger validate`: reads resource files as a sidecar would, and shows what is wrong with
//! them, or what they say.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::{complain, emit, refuse};
use crate::resources::{self, Resource, manifest};

/// What is read, and what is shown of it.
#[derive(Args, Debug)]
pub(super) struct Validate {
    /// Files and folders of resources
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace of resources that name none
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Print what was read
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

impl Validate {
    /// Reads and shows.
    pub(super) fn run(&self) -> ExitCode {
        match resources::read(&self.paths, &self.namespace) {
            Err(faults) => refuse(&faults),
            Ok(resources) => {
                unread(&resources).for_each(|what| complain(&format!("warning: {what}")));
                emit(&match self.format {
                    None => count(&resources),
                    Some(format) => show(&resources, format),
                })
            }
        }
    }
}

/// What is taken and does not all that it says.
fn unread(resources: &[Resource]) -> impl Iterator<Item = String> {
    resources.iter().flat_map(|resource| {
        let Resource::AccessPolicy(policy) = resource else { return Vec::new() };
        let of = |what| format!("{}: AccessPolicy {}: {what}", policy.metadata.at, policy.title());
        policy.unread_rules().map(of).collect()
    })
}

fn count(resources: &[Resource]) -> String {
    match resources.len() {
        1 => "1 resource, no faults\n".into(),
        many => format!("{many} resources, no faults\n"),
    }
}

/// A table has a line for each; the others print manifests that read back to the same.
fn show(resources: &[Resource], format: Format) -> String {
    if let Format::Table = format {
        let rows: Vec<Value> = resources.iter().map(row).collect();
        return output::render(&json!({ "resources": rows }), Some("resources"), format);
    }
    let items: Vec<Value> = resources.iter().map(manifest::of).collect();
    output::render(&json!({"apiVersion": "v1", "kind": "List", "items": items}), None, format)
}

fn row(resource: &Resource) -> Value {
    let metadata = resource.metadata();
    json!({
        "kind": resource.kind(),
        "namespace": metadata.namespace,
        "name": metadata.name,
        "ports": manifest::ports(resource),
        "from": metadata.at.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Origin;

    const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec:
  selector: {app: web}
  clusterIP: 10.0.0.7
  ports: [{name: http, port: 80, targetPort: app, appProtocol: http}, {name: raw, port: 81}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, labels: {app: web}}
spec:
  address: 127.0.0.1
  serviceAccount: web
  zone: 'true'
  weight: 3
  ports: [{name: app, port: 8080, meshPort: 18080, protocol: http2}]
";

    #[test]
    fn what_is_printed_reads_back_to_the_same() {
        let at = Origin::file("shop.yaml");
        let read = resources::parse_documents(SHOP, &at, "default").expect("sound");
        for format in [Format::Yaml, Format::Json] {
            let text = show(&read, format);
            let again = resources::parse_documents(&text, &at, "other").expect("sound");
            assert_eq!(again, read, "{text}");
        }
    }

    #[test]
    fn a_table_names_the_line() {
        let at = Origin::file("shop.yaml");
        let read = resources::parse_documents(SHOP, &at, "default").expect("sound");
        let text = show(&read, Format::Table);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("web") && lines[1].contains("80,81"), "{text}");
        assert!(lines[3].ends_with("shop.yaml:15"), "{text}");
    }
}
