//! An entry of `from`: who calls.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::rule::{Identity, Source, named, named_texts, one_or_some, texts, values};
use crate::model::SpiffeId;
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::names::dns_label;
use crate::resources::node::{Key, Node, quote};
use crate::resources::scalar::{parsed, text_of};

const IDENTITY: &str =
    "a SPIFFE id such as spiffe://cluster.local/ns/default/sa/web, or * for anybody of the mesh";
const BLOCK: &str = "a block of addresses such as 10.0.0.0/8 or fd00::/8";

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Source> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let identities = fields.optional("identities", |n, d| values(n, d, identity));
    let namespaces = fields.optional("namespaces", |n, d| values(n, d, dns_label));
    let ip_blocks = fields.optional("ipBlocks", |n, d| values(n, d, block));
    let claims = fields.optional("claims", |n, d| named(n, d, claim));
    let api_keys = fields.optional("apiKeys", |n, d| values(n, d, key_name));
    fields.close();
    let source = Source {
        identities: identities.unwrap_or_default(),
        namespaces: namespaces.unwrap_or_default(),
        ip_blocks: ip_blocks.unwrap_or_default(),
        claims: claims.unwrap_or_default(),
        api_keys: api_keys.unwrap_or_default(),
    };
    if decoder.is_clean() && source == Source::default() {
        decoder.fault(&node.at, "says nothing of a caller; leave out `from` to mean every caller");
        return None;
    }
    Some(source)
}

fn identity(node: &Node, decoder: &mut Decoder) -> Option<Identity> {
    let text = text_of(node, decoder, IDENTITY)?;
    if text == "*" {
        return Some(Identity::Any);
    }
    match SpiffeId::parse(text) {
        Ok(id) => Some(Identity::Id(id)),
        Err(_) => {
            decoder.expected(IDENTITY, node);
            None
        }
    }
}

/// One address is a block of its own. A connection's source is never an IPv4 address written as an
/// IPv6 one, so such a block would hold for nobody.
fn block(node: &Node, decoder: &mut Decoder) -> Option<IpNet> {
    let read = |text: &str| text.parse().ok().or_else(|| Some(text.parse::<IpAddr>().ok()?.into()));
    let block: IpNet = parsed(node, decoder, BLOCK, read)?;
    if let IpNet::V6(of_six) = block
        && let Some(four) = of_six.addr().to_ipv4_mapped()
    {
        let length = of_six.prefix_len().checked_sub(96);
        let cure = length.and_then(|length| Ipv4Net::new(four, length).ok());
        let cure = cure.map_or("IPv4 blocks".to_owned(), |four| four.to_string());
        decoder.fault(&node.at, format!("holds for nobody: write {cure}"));
        return None;
    }
    if block.addr() != block.network() {
        let (written, cure) = (quote(&block.to_string()), block.trunc());
        decoder.fault(&node.at, format!("{written} has bits beyond its length: write {cure}"));
        return None;
    }
    Some(block)
}

fn claim(key: &Key, node: &Node, decoder: &mut Decoder) -> Option<(String, Vec<String>)> {
    let values = one_or_some(node, decoder, |node, decoder| {
        parsed(node, decoder, "a claim's value", |text| (!text.is_empty()).then(|| text.to_owned()))
    });
    Some((key.name.clone(), values?))
}

fn key_name(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let legal = |text: &str| (1..=253).contains(&text.len());
    parsed(node, decoder, "the name of a key", |text| legal(text).then(|| text.to_owned()))
}

pub(super) fn spec(source: &Source) -> Value {
    let Source { identities, namespaces, ip_blocks, claims, api_keys } = source;
    let ids: Vec<&str> = identities.iter().map(Identity::as_str).collect();
    object([
        ("identities", (!ids.is_empty()).then(|| json!(ids))),
        ("namespaces", texts(namespaces)),
        ("ipBlocks", texts(ip_blocks)),
        ("claims", named_texts(claims)),
        ("apiKeys", texts(api_keys)),
    ])
}

impl Identity {
    /// As policies write it.
    pub fn as_str(&self) -> &str {
        match self {
            Identity::Any => "*",
            Identity::Id(id) => id.as_str(),
        }
    }
}
