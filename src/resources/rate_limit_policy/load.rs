//! `concurrency`: how many requests a port of the workload answers at once, and who goes first when
//! more come.
//!
//! Called load, since that is what it keeps off the app. Bounds are for the limit that is found by
//! itself; a number stays as it is written.

use http::{HeaderName, Method};
use serde_json::{Value, json};

use crate::resources::access_policy::operation::method;
use crate::resources::access_policy::pattern::{PathPattern, TextPattern, path, text};
use crate::resources::access_policy::rule::{named, named_texts, one_or_some, some, texts, values};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::manifest::object;
use crate::resources::node::{Key, Node, Value as Read, quote};
use crate::resources::scalar::choice;
use crate::resources::traffic_policy::words::whole;

/// How many requests at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    pub most: Most,
    /// The first that holds for a request counts; without one it is normal.
    pub priorities: Vec<PriorityRule>,
}

/// The limit of requests under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    Fixed(u32),
    /// As latency has it, within these, both included.
    Adaptive {
        min: u32,
        max: u32,
    },
}

/// Who is shed first when more requests come than may be under way: the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    /// A question about health. No policy gives it.
    Probe,
}

/// What the priority of a request is. All fields that say something must hold, and of a list any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriorityRule {
    pub methods: Vec<Method>,
    pub paths: Vec<PathPattern>,
    pub headers: Vec<(HeaderName, Vec<TextPattern>)>,
    pub priority: Priority,
}

impl Priority {
    pub const ALL: [Priority; 4] =
        [Priority::Low, Priority::Normal, Priority::High, Priority::Probe];

    /// As policies, pages and metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Probe => "probe",
        }
    }
}

/// Fewer and the latency of a handful of requests decides over all. Arbitrary.
const MIN: u32 = 8;
/// As many as one sidecar would have under way at ten thousand requests a second and 0.2 s each.
/// Arbitrary.
const MAX: u32 = 2_000;
/// Beyond any app. Arbitrary.
const MOST: i64 = 100_000;
/// Each is compared with every request. Arbitrary.
const MOST_RULES: usize = 50;

const ADAPTIVE: &[(&str, ())] = &[("adaptive", ())];
const PRIORITIES: &[(&str, Priority)] = &[
    (Priority::High.as_str(), Priority::High),
    (Priority::Normal.as_str(), Priority::Normal),
    (Priority::Low.as_str(), Priority::Low),
];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Concurrency> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let limit = fields.required("limit", limit);
    let min = fields.optional("min", whole(1..=MOST));
    let max = fields.optional("max", whole(1..=MOST));
    let priorities = fields.optional("priorities", |node, decoder| {
        some(MOST_RULES, "priorities", "names none; leave out `priorities`", node, decoder)?;
        list(node, decoder, rule)
    });
    let bounds =
        (min.unwrap_or(MIN.min(max.unwrap_or(MIN))), max.unwrap_or(MAX.max(min.unwrap_or(MAX))));
    match (limit, bounds) {
        (Some(Some(_)), _) if min.is_some() || max.is_some() => {
            let field = if min.is_some() { "min" } else { "max" };
            fields.fault(field, "is for `limit: adaptive`: a number stays as it is");
        }
        (_, (least, most)) if least > most => {
            fields.fault("min", format!("{least} is more than `max`, {most}"));
        }
        _ => {}
    }
    fields.close();
    let adaptive = Most::Adaptive { min: bounds.0, max: bounds.1 };
    let most = limit?.map_or(adaptive, Most::Fixed);
    Some(Concurrency { most, priorities: priorities.unwrap_or_default() })
}

/// A number, or `None` for `adaptive`.
fn limit(node: &Node, decoder: &mut Decoder) -> Option<Option<u32>> {
    match node.value {
        Read::Int(_) => whole(1..=MOST)(node, decoder).map(Some),
        _ => choice(ADAPTIVE)(node, decoder).map(|()| None),
    }
}

fn rule(node: &Node, decoder: &mut Decoder) -> Option<PriorityRule> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let matches = fields.required("match", matches);
    let priority = fields.required("priority", choice(PRIORITIES));
    fields.close();
    Some(PriorityRule { priority: priority?, ..matches? })
}

fn matches(node: &Node, decoder: &mut Decoder) -> Option<PriorityRule> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let methods = fields.optional("methods", |n, d| values(n, d, method));
    let paths = fields.optional("paths", |n, d| values(n, d, path));
    let headers = fields.optional("headers", |n, d| named(n, d, header));
    fields.close();
    let found = PriorityRule {
        methods: methods.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
        priority: Priority::default(),
    };
    if decoder.is_clean() && found == PriorityRule::default() {
        decoder.fault(&node.at, "says nothing of a request");
        return None;
    }
    Some(found)
}

fn header(key: &Key, node: &Node, decoder: &mut Decoder) -> Option<(HeaderName, Vec<TextPattern>)> {
    let Ok(name) = key.name.parse() else {
        decoder.fault(&key.at, format!("{} is not the name of a header", quote(&key.name)));
        return None;
    };
    Some((name, one_or_some(node, decoder, text)?))
}

pub(super) fn spec(Concurrency { most, priorities }: &Concurrency) -> Value {
    let (limit, bounds) = match most {
        Most::Fixed(limit) => (json!(limit), None),
        Most::Adaptive { min, max } => (json!("adaptive"), Some((min, max))),
    };
    let priorities: Vec<Value> = priorities.iter().map(rule_spec).collect();
    object([
        ("limit", Some(limit)),
        ("min", bounds.map(|(min, _)| json!(min))),
        ("max", bounds.map(|(_, max)| json!(max))),
        ("priorities", (!priorities.is_empty()).then(|| Value::from(priorities))),
    ])
}

fn rule_spec(PriorityRule { methods, paths, headers, priority }: &PriorityRule) -> Value {
    let which = object([
        ("methods", texts(methods)),
        ("paths", texts(paths)),
        ("headers", named_texts(headers)),
    ]);
    object([("match", Some(which)), ("priority", Some(json!(priority.as_str())))])
}
