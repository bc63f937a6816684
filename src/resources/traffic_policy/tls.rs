//! `tls`: how endpoints are reached.
//!
//! A meshed endpoint is never dialled in plaintext by accident: `off` has to be written.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::{Originate, Tls};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::names::host_name;
use crate::resources::node::{Node, Value as Read};
use crate::resources::scalar::parsed;

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Tls> {
    if !matches!(node.value, Read::Map(_)) {
        const WHAT: &str = "mesh, off, or originate: {sni, caFile}";
        return parsed(node, decoder, WHAT, |text| match text {
            "mesh" => Some(Tls::Mesh),
            "off" => Some(Tls::Off),
            _ => None,
        });
    }
    let mut fields = Fields::open(node, decoder)?;
    let originate = fields.required("originate", originate);
    fields.close();
    originate.map(Tls::Originate)
}

fn originate(node: &Node, decoder: &mut Decoder) -> Option<Originate> {
    let mut fields = Fields::open(node, decoder)?;
    let sni = fields.optional("sni", host_name);
    let ca_file = fields.optional("caFile", |node, decoder| {
        parsed(node, decoder, "an absolute path", |text| {
            Some(Arc::from(Path::new(text))).filter(|path: &Arc<Path>| path.is_absolute())
        })
    });
    fields.close();
    Some(Originate { sni: sni.map(Into::into), ca_file })
}

pub(super) fn print(tls: &Tls) -> Value {
    match tls {
        Tls::Mesh => json!("mesh"),
        Tls::Off => json!("off"),
        Tls::Originate(Originate { sni, ca_file }) => {
            let originate = object([
                ("sni", sni.as_ref().map(|name| json!(&**name))),
                ("caFile", ca_file.as_ref().map(|path| json!(path.to_string_lossy()))),
            ]);
            json!({"originate": originate})
        }
    }
}
