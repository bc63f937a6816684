//! Manifests as texts: YAML or JSON in, documents out, each fault with its line.
//!
//! Read as `kubectl` reads them, by the older YAML, so that `defaultMode: 0644` keeps its meaning.
//! Either every pod of a text is injected or skipped, or nothing is printed.

use serde_json::{Map, Number, Value};

use super::manifest::{self, Findings};
use super::{Path, Settings, json};
use crate::resources::{self, Fault, Node, Origin, schema, yaml};

/// The documents of a text, injected.
#[derive(Debug, Default, PartialEq)]
pub struct Printed {
    pub documents: Vec<Value>,
    /// What people should know, a line each: what was left alone and why.
    pub remarks: Vec<String>,
}

/// Injects every pod in every document of a text, which `source` names.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn documents(text: &str, source: &Origin, settings: &Settings) -> Result<Printed, Vec<Fault>> {
    let (mut printed, mut faults) = (Printed::default(), Vec::new());
    for (node, mut document) in read(text, source)? {
        let mut findings = Findings::default();
        manifest::inject_all(&mut document, settings, &mut findings);
        for (path, name, reason) in findings.skipped {
            let at = origin(&node, &path);
            printed.remarks.push(format!("{at}: {name}: skipped, {reason}"));
        }
        for (name, remark) in findings.remarks {
            printed.remarks.push(format!("{}: {name}: {remark}", origin(&node, &remark.path)));
        }
        faults.extend(findings.refusals.into_iter().map(|refusal| Fault {
            at: origin(&node, &refusal.path).clone(),
            path: json::field(&refusal.path),
            message: refusal.message,
        }));
        printed.documents.push(document);
    }
    if faults.is_empty() { Ok(printed) } else { Err(faults) }
}

/// Every document of a text that holds anything, with its places and without.
pub(super) fn read(text: &str, source: &Origin) -> Result<Vec<(Node, Value)>, Vec<Fault>> {
    let nodes = yaml::parse_as(text, source, schema::kubernetes)?.into_iter();
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for node in nodes.filter(|node| !node.is_null()) {
        match plain(&node, &mut Vec::new()) {
            Ok(document) => documents.push((node, document)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

/// Where a field stands, or the nearest thing above it that is there.
fn origin<'n>(node: &'n Node, path: &[String]) -> &'n Origin {
    let Some((step, rest)) = path.split_first() else { return &node.at };
    match &node.value {
        resources::Value::Map(entries) => match entries.iter().find(|(key, _)| key.name == *step) {
            // The key's line: a map begins a line below it.
            Some((key, _)) if rest.is_empty() => &key.at,
            Some((_, inner)) => origin(inner, rest),
            None => &node.at,
        },
        resources::Value::List(items) => {
            let item = step.parse::<usize>().ok().and_then(|index| items.get(index));
            item.map_or(&node.at, |item| origin(item, rest))
        }
        _ => &node.at,
    }
}

fn plain(node: &Node, path: &mut Path) -> Result<Value, Fault> {
    Ok(match &node.value {
        resources::Value::Null => Value::Null,
        resources::Value::Bool(value) => Value::Bool(*value),
        resources::Value::Int(value) => Value::from(*value),
        resources::Value::Float(value) => number(*value).map(Value::Number).ok_or_else(|| {
            let message = "is a number that JSON, and so Kubernetes, can't say; quote it".into();
            Fault { at: node.at.clone(), path: json::field(path), message }
        })?,
        resources::Value::String(text) => Value::from(text.as_str()),
        resources::Value::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                list.push(plain(item, path)?);
                path.pop();
            }
            Value::Array(list)
        }
        resources::Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                path.push(key.name.clone());
                map.insert(key.name.clone(), plain(value, path)?);
                path.pop();
            }
            Value::Object(map)
        }
    })
}

/// `1e3` is a whole number to Kubernetes. Beyond 2^53 a fraction can't be told from none.
fn number(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}
