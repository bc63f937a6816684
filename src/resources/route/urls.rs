//! Filters on what is asked for: answers that send the caller elsewhere, and requests that go on
//! under another host or path.

use std::sync::Arc;

use http::StatusCode;
use http::uri::{Authority, Scheme};

use super::matches::path_text;
use super::parents::precise;
use crate::model::{PathChange, Redirect, Rewrite};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::node::{Node, Value};
use crate::resources::scalar::{choice, port, text_of};

/// A `requestRedirect`; it must change something, or the caller would come back for ever.
pub(super) fn redirect(node: &Node, decoder: &mut Decoder, prefixed: bool) -> Option<Redirect> {
    let mut fields = Fields::open(node, decoder)?;
    let scheme = fields.optional("scheme", scheme);
    let hostname = fields.optional("hostname", precise);
    let path = fields.optional("path", |node, decoder| path_change(node, decoder, prefixed));
    let port = fields.optional("port", port);
    let status = fields.optional("statusCode", status);
    let same = ["scheme", "hostname", "path", "port"].iter().all(|name| fields.is_absent(name));
    fields.close();
    if same {
        let message = "redirects to the same place: give scheme, hostname, path or port";
        decoder.fault(&node.at, message);
    }
    Some(Redirect { scheme, hostname, path, port, status: status.unwrap_or(StatusCode::FOUND) })
}

fn scheme(node: &Node, decoder: &mut Decoder) -> Option<Scheme> {
    let https = choice(&[("http", false), ("https", true)])(node, decoder)?;
    Some(if https { Scheme::HTTPS } else { Scheme::HTTP })
}

fn status(node: &Node, decoder: &mut Decoder) -> Option<StatusCode> {
    const STATUSES: [StatusCode; 5] = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let is = |code: i64| STATUSES.into_iter().find(|status| i64::from(status.as_u16()) == code);
    let status = if let Value::Int(code) = node.value { is(code) } else { None };
    if status.is_none() {
        decoder.expected("one of 301, 302, 303, 307, 308", node);
    }
    status
}

/// A `urlRewrite`.
pub(super) fn rewrite(node: &Node, decoder: &mut Decoder, prefixed: bool) -> Option<Rewrite> {
    let mut fields = Fields::open(node, decoder)?;
    let authority = fields
        .optional("hostname", |node, decoder| precise(node, decoder)?.parse::<Authority>().ok());
    let path = fields.optional("path", |node, decoder| path_change(node, decoder, prefixed));
    fields.close();
    Some(Rewrite { authority, path })
}

/// `prefixed`: every match of the rule has a prefix that could be replaced.
fn path_change(node: &Node, decoder: &mut Decoder, prefixed: bool) -> Option<PathChange> {
    let mut fields = Fields::open(node, decoder)?;
    let words = choice(&[("ReplaceFullPath", true), ("ReplacePrefixMatch", false)]);
    let full = fields.required("type", words)?;
    let change = if full {
        fields.refused(&["replacePrefixMatch"], "is for the type ReplacePrefixMatch");
        fields.required("replaceFullPath", path_text).map(PathChange::Full)
    } else {
        fields.refused(&["replaceFullPath"], "is for the type ReplaceFullPath");
        fields.required("replacePrefixMatch", replacement).map(PathChange::Prefix)
    };
    if !full && !prefixed {
        let message =
            "ReplacePrefixMatch needs a path of type PathPrefix in every match of the rule";
        fields.fault("type", message);
    }
    fields.close();
    change
}

/// Nothing at all takes the prefix away.
fn replacement(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    match text_of(node, decoder, "a path such as /api")? {
        "" => Some("".into()),
        _ => path_text(node, decoder),
    }
}
