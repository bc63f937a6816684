//! `from`: where a token stands. And which headers may be named there, and under `claimHeaders`.

use http::header::{self, HeaderName};

use super::TokenPlace;
use crate::resources::access_policy::rule::at_most;
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::node::{Node, Origin, Value as Read, quote};
use crate::resources::scalar::{parsed, text_of};

/// More is a slip of the pen. Arbitrary.
const MOST_PLACES: usize = 10;

pub(super) fn places(node: &Node, decoder: &mut Decoder) -> Option<Vec<TokenPlace>> {
    at_most(MOST_PLACES, "places", node, decoder)?;
    if matches!(&node.value, Read::List(items) if items.is_empty()) {
        let message = "names no place; leave out `from` to mean `Bearer ` in `authorization`";
        decoder.fault(&node.at, message);
        return None;
    }
    list(node, decoder, place)
}

fn place(node: &Node, decoder: &mut Decoder) -> Option<TokenPlace> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let name = fields.optional("header", own_header);
    let prefix = fields.optional("prefix", prefix);
    let cookie = fields.optional("cookie", |n, d| token(n, d, "the name of a cookie"));
    let query = fields.optional("query", |n, d| token(n, d, "the name of a query parameter"));
    let said = ["header", "cookie", "query"].iter().filter(|of| !fields.is_absent(of)).count();
    if fields.is_absent("header") && !fields.is_absent("prefix") {
        fields.fault("prefix", "is about `header`, which is missing");
    }
    fields.close();
    if said != 1 {
        decoder.fault(&node.at, "expected one of `header`, `cookie` and `query`");
    }
    let of_header = name.map(|name| {
        let prefix = prefix.unwrap_or_else(|| TokenPlace::usual_prefix(&name).to_owned());
        TokenPlace::Header { name, prefix }
    });
    of_header.or(cookie.map(TokenPlace::Cookie)).or(query.map(TokenPlace::Query))
}

/// Names that are the same however they are written.
fn token(node: &Node, decoder: &mut Decoder, what: &str) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    parsed(node, decoder, what, |text| {
        (!text.is_empty() && text.bytes().all(is_plain)).then(|| text.to_owned())
    })
}

fn prefix(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let is_legal =
        |text: &str| text.len() <= 64 && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    parsed(node, decoder, "what stands before the token, such as \"Bearer \"", |text| {
        is_legal(text).then(|| text.to_owned())
    })
}

/// A header in which something stands for the sidecar, or that it writes.
pub(in super::super) fn own_header(node: &Node, decoder: &mut Decoder) -> Option<HeaderName> {
    let text = text_of(node, decoder, "the name of a header")?;
    usable(text, &node.at, decoder)
}

/// What frames a request or is said by sidecars alone is nobody's.
pub(super) fn usable(text: &str, at: &Origin, decoder: &mut Decoder) -> Option<HeaderName> {
    let Ok(name) = text.parse::<HeaderName>() else {
        decoder.fault(at, format!("{} is not the name of a header", quote(text)));
        return None;
    };
    let framing = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::COOKIE,
    ];
    let why = if name == header::COOKIE {
        "has many values: write `cookie` with the name of one"
    } else if framing.contains(&name) || name.as_str().starts_with("x-outrigger-") {
        "has a meaning of its own: take another header"
    } else {
        return Some(name);
    };
    decoder.fault(at, format!("{name} {why}"));
    None
}

impl TokenPlace {
    /// Where tokens stand unless it is said (RFC 6750, 2.1).
    pub fn bearer() -> Self {
        let name = header::AUTHORIZATION;
        let prefix = Self::usual_prefix(&name).to_owned();
        TokenPlace::Header { name, prefix }
    }

    fn usual_prefix(name: &HeaderName) -> &'static str {
        if *name == header::AUTHORIZATION { "Bearer " } else { "" }
    }
}
