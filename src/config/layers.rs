//! Four layers to one tree: flags over environment over file over defaults.
//! Maps are laid over each other key by key; lists and single values replace
//! what is below; nothing (`null`) leaves it. Each value keeps its origin, so a
//! fault or a printed line names the layer it came from.

use std::path::{Component, Path, PathBuf};

use super::Flag;
use super::fields::{self, FIELDS, OF_PEOPLE, PREFIX, Shape};
use crate::resources::{
    Fault, Key, Node, Origin, Value, decode::Decoder, nearest, suggestion, text, yaml,
};

/// What holds when nothing else is said. The workload's name comes on top.
const DEFAULTS: &str = "
workload: {namespace: default, serviceAccount: default}
trustDomain: cluster.local
outbound: {unknown: pass}
admin: {listen: '127.0.0.1:15000'}
drain: {minimum: 5s, deadline: 25s}
telemetry:
  accessLog: {format: json, sample: 1.0}
  traces: {sampleRatio: 0.01, slowerThan: 1s, propagation: [w3c, b3]}
log: {level: info, format: text}
";

/// The built-in layer.
pub(super) fn defaults(host_name: &str) -> Node {
    let documents = yaml::parse(DEFAULTS, &Origin::Default).unwrap_or_default();
    let mut tree = documents.into_iter().next().unwrap_or(Node::null(Origin::Default));
    set(&mut tree, "workload.name", Node::text(host_name, Origin::Default));
    tree
}

/// The file's layer. Its relative paths become relative to where we run.
pub(super) fn file(path: &Path, decoder: &mut Decoder) -> Option<Node> {
    let at = Origin::path(path);
    let text = text(path).map_err(|fault| decoder.extend([fault])).ok()?;
    let yaml::Stream { documents, faults } = yaml::read(&text, &at);
    decoder.extend(faults);
    if let Some(second) = documents.get(1) {
        decoder.fault(&second.at, "a configuration is one document; remove the `---`");
    }
    let mut tree = documents.into_iter().next()?;
    if !matches!(tree.value, Value::Map(_) | Value::Null) {
        decoder.expected("a map", &tree);
        return None;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for (field, shape) in FIELDS {
        if matches!(shape, Shape::Path | Shape::Paths)
            && let Some(node) = field.split('.').try_fold(&mut tree, field_mut)
        {
            rebase(node, folder);
        }
    }
    Some(tree)
}

pub(super) fn field_mut<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Value::Map(entries) = &mut node.value else {
        return None;
    };
    entries.iter_mut().find(|(key, _)| key.name == name).map(|(_, node)| node)
}

fn rebase(node: &mut Node, folder: &Path) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| rebase(item, folder)),
        Value::String(text) if !text.is_empty() => *text = join(folder, text),
        _ => {}
    }
}

/// Joins without the `./` that people write; `..` stays, it may cross a link.
fn join(folder: &Path, text: &str) -> String {
    let joined = folder.join(text);
    let clean: PathBuf = joined.components().filter(|c| *c != Component::CurDir).collect();
    let slash = if text.ends_with('/') { "/" } else { "" };
    match clean.to_string_lossy() {
        empty if empty.is_empty() => ".".into(),
        root if root == "/" => "/".into(),
        path => format!("{path}{slash}"),
    }
}

/// The environment's layer.
pub(super) fn environment(
    variables: impl Iterator<Item = (String, String)>,
    decoder: &mut Decoder,
) -> Node {
    let mut ours: Vec<(String, String)> = variables
        .filter(|(name, _)| name.starts_with(PREFIX) && !OF_PEOPLE.contains(&name.as_str()))
        .filter(|(name, text)| !is_service_link(name, text))
        .collect();
    // A section's variable sorts before those of its fields, which go over it.
    ours.sort();
    let mut layer = Node::null(Origin::Default);
    for (name, text) in ours {
        let at = Origin::Environment(name.as_str().into());
        match fields::by_variable(&name) {
            Some((path, shape)) => apply(&mut layer, path, shape, &text, at, decoder),
            None => {
                // Compared without the prefix, which would make all names alike.
                let known = fields::variables().filter_map(|name| name.strip_prefix(PREFIX));
                let cure = match nearest(&name[PREFIX.len()..], known) {
                    Some(near) => format!("did you mean `{PREFIX}{near}`?"),
                    None => "remove it".into(),
                };
                decoder.fault(&at, format!("sets nothing; {cure}"));
            }
        }
    }
    layer
}

/// Kubernetes announces every Service of a namespace to its pods this way, and
/// one may be called `outrigger-…`.
fn is_service_link(name: &str, text: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && text.contains("://"))
        || name.split_once("_PORT_").is_some_and(|(_, rest)| numbered(rest))
}

/// The flags' layer; a later flag goes over an earlier one.
pub(super) fn flags(flags: &[Flag], decoder: &mut Decoder) -> Node {
    let mut layer = Node::null(Origin::Default);
    for Flag { name, path, text } in flags {
        let at = Origin::Flag(name.as_str().into());
        match fields::by_path(path) {
            Some(shape) => apply(&mut layer, path, shape, text, at, decoder),
            None => {
                let cure = suggestion(path, fields::paths(), || "; remove it".into());
                decoder.fault(&at, format!("there is no field `{path}`{cure}"));
            }
        }
    }
    layer
}

fn apply(
    layer: &mut Node,
    path: &str,
    shape: Shape,
    text: &str,
    at: Origin,
    decoder: &mut Decoder,
) {
    match value(shape, text, &at) {
        Ok(node) => set(layer, path, node),
        Err(faults) => decoder.extend(faults.into_iter().map(|fault| {
            let dot = if fault.path.is_empty() || fault.path.starts_with('[') { "" } else { "." };
            Fault { path: format!("{path}{dot}{}", fault.path), ..fault }
        })),
    }
}

fn value(shape: Shape, text: &str, at: &Origin) -> Result<Node, Vec<Fault>> {
    let text = text.trim();
    let quoted = text.starts_with(['"', '\'']);
    let listed = text.starts_with('[') && text.ends_with(']');
    let verbatim = match shape {
        Shape::Text | Shape::Path => !quoted,
        Shape::Texts | Shape::Paths => !quoted && !listed,
        Shape::Yaml => false,
    };
    if verbatim && shape == Shape::Texts && text.contains(',') {
        let items = text.split(',').map(|item| Node::text(item.trim(), at.clone()));
        return Ok(Node { value: Value::List(items.collect()), at: at.clone() });
    }
    if verbatim {
        return Ok(Node::text(text, at.clone()));
    }
    let mut documents = yaml::parse(text, at)?.into_iter();
    match (documents.next(), documents.next()) {
        (one, None) => Ok(one.unwrap_or_else(|| Node::null(at.clone()))),
        (_, Some(_)) => Err(vec![Fault::new(at.clone(), "must be a single YAML value")]),
    }
}

/// Lays one value over a tree, making the maps that lead to it.
fn set(tree: &mut Node, path: &str, node: Node) {
    let upper = path.rsplit('.').fold(node, |node, name| {
        let at = node.at.clone();
        let key = Key { name: name.to_owned(), at: at.clone() };
        Node { value: Value::Map(vec![(key, node)]), at }
    });
    overlay(tree, upper);
}

/// Lays `upper` over `lower`. A map can't hide a value that should have been a
/// map: that one stays, to be reported.
pub(super) fn overlay(lower: &mut Node, upper: Node) {
    if upper.is_null() {
        return;
    }
    match (&mut lower.value, upper.value) {
        (Value::Map(below), Value::Map(above)) => {
            for (key, node) in above {
                match below.iter_mut().find(|(known, _)| known.name == key.name) {
                    Some((_, under)) => overlay(under, node),
                    None => below.push((key, node)),
                }
            }
            // What a section lacks is missing where someone wrote the section.
            if lower.at == Origin::Default {
                lower.at = upper.at;
            }
        }
        (below, Value::Map(_)) if !matches!(below, Value::Null) => {}
        (_, value) => *lower = Node { value, at: upper.at },
    }
}
