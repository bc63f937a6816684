//! How large a route may be. The Gateway API's own bounds (16 rules of 64 matches) are what people
//! lean on Envoy to escape; these are far above them, arbitrary, and only keep one resource from
//! taking the memory of every sidecar that reads it.

use crate::resources::decode::Decoder;
use crate::resources::node::{Node, Value};

/// Items of all lists together: hostnames, rules, matches, headers, backends.
const MAX_ITEMS: usize = 10_000;

/// Each may take a mebibyte when it is compiled.
const MAX_REGEXES: usize = 100;

/// Looked at before anything is compiled.
pub(super) fn check(spec: &Node, decoder: &mut Decoder) -> Option<()> {
    let mut size = Size::default();
    size.add(spec);
    let bounds = [
        (size.items, MAX_ITEMS, "items in its lists"),
        (size.regexes, MAX_REGEXES, "regular expressions"),
    ];
    let over = bounds.into_iter().find(|(found, allowed, _)| found > allowed);
    let Some((found, allowed, what)) = over else { return Some(()) };
    decoder.fault(&spec.at, format!("has {found} {what}; one route may have {allowed}: split it"));
    None
}

#[derive(Default)]
struct Size {
    items: usize,
    regexes: usize,
}

impl Size {
    fn add(&mut self, node: &Node) {
        match &node.value {
            Value::List(items) => {
                self.items += items.len();
                items.iter().for_each(|item| self.add(item));
            }
            Value::Map(entries) => entries.iter().for_each(|(_, node)| self.add(node)),
            Value::String(text) if text == "RegularExpression" => self.regexes += 1,
            _ => {}
        }
    }
}
